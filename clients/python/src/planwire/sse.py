"""Server-sent events (WHATWG HTML, section 9.2), read from bytes as they come.

A frame counts once its blank line is there: half a frame at the end of a connection is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from .errors import ProtocolError

FRAME_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of one frame: an event of 256 KiB, escaped at its worst, four times over."""


@dataclass
class Frame:
    """A frame. Also one without ``data``, such as a heartbeat: it moves the id."""

    id: Optional[str] = None
    event: str = "message"
    data: Optional[str] = None
    retry_ms: Optional[int] = None


class FrameReader:
    """Takes bytes, gives frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._frame = Frame()
        self._data: List[str] = []
        self._empty = True
        self._frame_bytes = 0
        self._first = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> List[Frame]:
        """The frames that are complete with these bytes. Raises :class:`ProtocolError` if one is too large."""
        frames: List[Frame] = []
        for line in self._lines(chunk):
            self._frame_bytes += len(line) + 1
            if line:
                self._field(line.decode("utf-8", "replace"))
            elif not self._empty:
                frames.append(self._taken())
        if self._frame_bytes + len(self._rest) > FRAME_BYTES_MAX:
            raise ProtocolError(f"a frame of the stream has more than {FRAME_BYTES_MAX} bytes")
        return frames

    def _lines(self, chunk: bytes) -> List[bytes]:
        """Takes the lines that are complete with these bytes. Lines end with LF, CR LF or CR."""
        if self._after_cr and chunk:
            chunk = chunk[1:] if chunk.startswith(b"\n") else chunk
            self._after_cr = False
        self._rest += chunk
        # A long line that comes in many pieces is looked through once, not once for each piece.
        if b"\n" not in chunk and b"\r" not in chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        whole = bytes(self._rest)
        if b"\r" in whole:
            whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._first:
            self._first = False
            whole = whole[3:] if whole.startswith(b"\xef\xbb\xbf") else whole
        *lines, rest = whole.split(b"\n")
        self._rest = bytearray(rest)
        return lines

    def _taken(self) -> Frame:
        frame = self._frame
        frame.data = "\n".join(self._data) if self._data else None
        self._frame, self._data, self._empty, self._frame_bytes = Frame(), [], True, 0
        return frame

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        frame = self._frame
        self._empty = False
        if name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            frame.id = value
        elif name == "event":
            frame.event = value
        elif name == "retry" and value.isascii() and value.isdigit():
            frame.retry_ms = int(value[:9])
