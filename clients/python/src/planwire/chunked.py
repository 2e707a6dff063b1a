"""The chunked form of a body (RFC 9112, section 7.1), taken apart as it comes."""

from __future__ import annotations

from .errors import ProtocolError

LINE_BYTES_MAX = 4096
"""Bytes of the line before a chunk, and of one behind the last."""


class Chunks:
    """Takes bytes of a connection, gives bytes of the body."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self._state = "size"
        self.done = False
        """Whether the body is complete. At the end of a connection that is not, something is missing."""

    def feed(self, data: bytes) -> bytes:
        """What these bytes hold of the body. Raises :class:`ProtocolError`."""
        out = []
        data = self._rest + data
        self._rest = b""
        while data and not self.done:
            if self._state == "data":
                piece, data = data[: self._left], data[self._left :]
                out.append(piece)
                self._left -= len(piece)
                self._state = "data" if self._left else "behind"
                continue
            line, found, behind = data.partition(b"\r\n")
            if not found:
                self._rest = data
                if len(data) > LINE_BYTES_MAX:
                    raise ProtocolError("a line between the chunks of the answer is too long")
                break
            data = behind
            self._line(line)
        return b"".join(out)

    def _line(self, line: bytes) -> None:
        if self._state == "behind":
            self._state = "size"
            if line:
                raise ProtocolError("a chunk of the answer is longer than it says")
        elif self._state == "size":
            self._left = _size(line)
            self._state = "data" if self._left else "trailer"
        else:
            self.done = not line


def _size(line: bytes) -> int:
    text = line.split(b";")[0].strip()
    try:
        if not text.isalnum():
            raise ValueError
        return int(text, 16)
    except ValueError:
        raise ProtocolError("the answer is not chunked as it says") from None
