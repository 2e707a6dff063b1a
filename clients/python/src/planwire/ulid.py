"""Makes event ids: ULIDs, each larger than the one before it in this process.

A ULID is 26 characters of Crockford base32: 48 bits of milliseconds since 1970, then 80 random bits. Within one
millisecond, and when the clock goes back, the next id is the last one plus one.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_BITS = 80
_LIMIT = 1 << 128


def now_ms() -> int:
    """Milliseconds since 1970 by the clock of this machine."""
    return time.time_ns() // 1_000_000


def random_bits() -> int:
    """80 random bits."""
    return int.from_bytes(os.urandom(RANDOM_BITS // 8), "big")


class IdGenerator:
    """Makes ids that rise; it may be shared by threads. Clock and randomness are parameters for tests."""

    def __init__(self, clock_ms: Callable[[], int] = now_ms, bits: Callable[[], int] = random_bits) -> None:
        self._clock_ms = clock_ms
        self._bits = bits
        self._lock = threading.Lock()
        self._last = -1

    def __call__(self) -> str:
        """The next id, 26 characters."""
        with self._lock:
            ms = self._clock_ms()
            if ms > self._last >> RANDOM_BITS:
                # The top random bit stays 0, so that counting up does not run into the milliseconds.
                self._last = (ms << RANDOM_BITS) | (self._bits() >> 1)
            else:
                self._last = (self._last + 1) % _LIMIT
            return encode(self._last)

    def forget(self) -> None:
        """Makes the next id anew: a process that was forked must not count on where its parent was."""
        self._lock = threading.Lock()
        with self._lock:
            self._last = -1


def encode(value: int) -> str:
    """The text of 128 bits."""
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


new_id = IdGenerator()
"""The ids of this process: ``new_id()``."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=new_id.forget)
