"""A handler that is called for events, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Optional

from .errors import GapError
from .event import BaseEvent
from .follow import Follow

log = logging.getLogger("planwire")

Handler = Callable[[BaseEvent], object]
"""What is called with each event."""

OnError = Callable[[Exception], object]
"""What is called with what a handler raised, with a gap, and with what ended a subscription."""


def log_error(error: Exception) -> None:
    """Writes an error to the logger ``planwire``."""
    log.error("subscription: %s", error, exc_info=error)


class Subscription:
    """Calls one handler for each event of a stream, one after the other, until the plan ends or it is stopped."""

    def __init__(self, handler: Handler, follow: Follow, on_error: OnError) -> None:
        self.handler = handler
        self.error: Optional[Exception] = None
        """What ended it; None as long as it runs, and after a proper end."""
        self._follow = follow
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name="planwire-subscription", daemon=True)

    @property
    def cursor(self) -> Optional[str]:
        """Behind the last event that the handler was called with."""
        return self._follow.cursor

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Waits for the end of the stream; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends it. When this returns, the handler is not running, unless it is the handler that calls this."""
        self._follow.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                for event in self._follow:
                    self._call(event)
                return
            except GapError as gap:
                self._report(gap)
            except Exception as error:
                self.error = error
                self._report(error)
                return

    def _call(self, event: BaseEvent) -> None:
        try:
            self.handler(event)
        except Exception as error:
            # The next event comes all the same: one handler's failure is not the log's.
            self._report(error)

    def _report(self, error: Exception) -> None:
        try:
            self._on_error(error)
        except Exception:
            log.exception("on_error failed")
