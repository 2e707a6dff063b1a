"""How long a client waits before it tries again, and when it gives up."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Callable, Optional

RETRY_AFTER_S_MAX = 60.0
"""A server that asks for a longer pause is asked again after this one."""


@dataclass(frozen=True)
class Retry:
    """Pauses that double from ``first_s`` to ``max_s``, each cut by up to a half at random.

    ``deadline_s`` is how long a call goes on without success before it raises; None: for ever. ``random`` (0 to 1) and
    ``clock`` (seconds) are parameters for tests.
    """

    first_s: float = 0.1
    max_s: float = 5.0
    deadline_s: Optional[float] = 60.0
    random: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def begin(self) -> Attempts:
        """A new row of attempts."""
        return Attempts(self)


class Attempts:
    """The attempts of one call, or those of a stream since it last gave something."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._begun = retry.clock()
        self._failures = 0

    def pause(self, at_least_s: float = 0.0) -> Optional[float]:
        """Seconds to wait after another failure; None if it is time to give up."""
        retry = self._retry
        # The exponent is bounded: a float of 2 ** 2000 does not exist.
        whole = min(retry.max_s, retry.first_s * 2.0 ** min(self._failures, 60))
        self._failures += 1
        pause = max(whole * (1.0 - retry.random() / 2.0), min(at_least_s, RETRY_AFTER_S_MAX))
        if retry.deadline_s is not None and retry.clock() - self._begun + pause > retry.deadline_s:
            return None
        return pause
