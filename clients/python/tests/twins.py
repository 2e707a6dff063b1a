"""Both clients under one form, so that each promise is tested on each of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Awaitable, Callable, Iterator, List, Optional

from planwire import AsyncEventBus, EventBus, Retry, Timeouts

from .scripted import PATIENCE_S

QUICK = Timeouts(answer_s=10.0, silence_s=10.0, connect_s=10.0)


def half() -> float:
    """Randomness that is none: pauses are three quarters of their whole."""
    return 0.5


class SyncTwin:
    """EventBus as it is. ``on_sleep`` is called instead of waiting; without it there are real, short pauses."""

    name = "sync"

    def __init__(self, url: str, on_sleep: Optional[Callable[[float], None]] = None, **options: Any) -> None:
        options.setdefault("timeouts", QUICK)
        options.setdefault("retry", Retry(random=half))
        self.bus = EventBus(url, sleep=on_sleep, **options)

    def follow(self, *arguments: Any, **options: Any) -> Any:
        return self.bus.follow(*arguments, **options)

    def subscribe(self, handler: Callable[[Any], Any], *arguments: Any, **options: Any) -> Any:
        return self.bus.subscribe(handler, *arguments, **options)

    def list(self, name: str, *arguments: Any, **options: Any) -> List[Any]:
        return list(getattr(self.bus, name)(*arguments, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bus, name)


class AsyncTwin:
    """AsyncEventBus on a loop of its own; each call waits for its end."""

    name = "async"

    def __init__(self, url: str, on_sleep: Optional[Callable[[float], None]] = None, **options: Any) -> None:
        options.setdefault("timeouts", QUICK)
        options.setdefault("retry", Retry(random=half))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

        async def sleep(seconds: float) -> None:
            assert on_sleep is not None
            on_sleep(seconds)
            await asyncio.sleep(0)

        self.bus = AsyncEventBus(url, sleep=sleep if on_sleep else asyncio.sleep, **options)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def whole() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(whole(), self.loop).result(2 * PATIENCE_S)

    def follow(self, *arguments: Any, **options: Any) -> Any:
        return AsyncFollowTwin(self, self.bus.follow(*arguments, **options))

    def subscribe(self, handler: Callable[[Any], Any], *arguments: Any, **options: Any) -> Any:
        return AsyncSubscriptionTwin(self, self.run(self.bus.subscribe(handler, *arguments, **options)))

    def list(self, name: str, *arguments: Any, **options: Any) -> List[Any]:
        async def all_of() -> List[Any]:
            return [each async for each in getattr(self.bus, name)(*arguments, **options)]

        found: List[Any] = self.run(all_of())
        return found

    def close(self) -> None:
        self.run(self.bus.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE_S)
        self.loop.close()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.bus, name)
        return lambda *arguments, **options: self.run(call(*arguments, **options))


class AsyncFollowTwin(Iterator[Any]):
    def __init__(self, twin: AsyncTwin, follow: Any) -> None:
        self.twin = twin
        self.inner = follow

    @property
    def cursor(self) -> Any:
        return self.inner.cursor

    def __next__(self) -> Any:
        async def next_one() -> Any:
            try:
                return await self.inner.__anext__()
            except StopAsyncIteration:
                return None

        found = self.twin.run(next_one())
        if found is None:
            raise StopIteration
        return found

    def close(self) -> None:
        self.twin.loop.call_soon_threadsafe(self.inner.close)


class AsyncSubscriptionTwin:
    def __init__(self, twin: AsyncTwin, inner: Any) -> None:
        self.twin = twin
        self.inner = inner

    @property
    def error(self) -> Any:
        return self.inner.error

    @property
    def cursor(self) -> Any:
        return self.inner.cursor

    def wait(self, _: Optional[float] = None) -> bool:
        self.twin.run(self.inner.wait())
        return True


class Promises:
    """A group of promises; :func:`both` makes a test case of it for each client."""

    twin_class: Any = None
    server: Any
    pauses: List[float]

    def twin(self, url: str, **options: Any) -> Any:
        """A client whose pauses are written down instead of waited for."""
        self.pauses = []
        options.setdefault("on_sleep", self.pauses.append)
        made = self.twin_class(url, **options)
        self.addCleanup(made.close)  # type: ignore[attr-defined]
        return made
