"""HTTP over asyncio streams, as far as a Planwire server speaks it: lengths, chunks, connections that are kept."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, Union

from .address import Address, Timeouts
from .chunked import Chunks
from .errors import ProtocolError
from .http_sync import IDLE_CONNECTIONS_MAX, RECEIVE_BYTES, is_stream
from .wire import RESPONSE_BYTES_MAX, Lost, Opened, Request, Response

HEAD_BYTES_MAX = 64 * 1024
"""Bytes of the head of an answer."""

_FAILURES = (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError, ProtocolError)


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def usable(self) -> bool:
        return not (self.writer.is_closing() or self.reader.at_eof() or self.reader.exception())

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass
class _Head:
    status: int
    headers: Dict[str, str]
    keeps: bool


class AsyncHttp:
    """Sends requests; it belongs to one event loop."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self._address = address
        self._timeouts = timeouts
        self._tls: Optional[ssl.SSLContext] = address.tls()
        self._idle: List[_Connection] = []
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    async def send(self, request: Request) -> Union[Response, Lost]:
        """Sends a request and reads the whole answer."""
        if self._loop is not asyncio.get_running_loop():
            # Connections end with the event loop in which they were made.
            self._loop, self._idle = asyncio.get_running_loop(), []
        connection = self._kept()
        if connection is None:
            try:
                connection = await self.connect()
            except (OSError, asyncio.TimeoutError) as error:
                return Lost(error, sent=False)
        kept = False
        try:
            exchanged = self._exchanged(connection, request)
            response, kept = await asyncio.wait_for(exchanged, self._timeouts.answer_s)
        except _FAILURES as error:
            return Lost(error, sent=True)
        finally:
            if kept and len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
            else:
                connection.close()
        return response

    async def connect(self) -> _Connection:
        """A new connection. Raises OSError, TimeoutError."""
        opening = asyncio.open_connection(
            self._address.host, self._address.port, ssl=self._tls, limit=HEAD_BYTES_MAX
        )
        return _Connection(*await asyncio.wait_for(opening, self._timeouts.connect_s))

    async def begin(self, connection: _Connection, request: Request) -> _Head:
        """Sends a request and reads the head of the answer. Raises what :data:`_FAILURES` names."""
        body = request.body
        lines = [f"{request.method} {self._address.prefix}{request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._address.headers(request).items()]
        lines += [f"Content-Length: {len(body)}"] if body is not None else []
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        connection.writer.write(head if body is None else head + body)
        await connection.writer.drain()
        while True:
            found = _head(await connection.reader.readuntil(b"\r\n\r\n"))
            if found.status >= 200:
                return found

    async def _exchanged(self, connection: _Connection, request: Request) -> Tuple[Response, bool]:
        head = await self.begin(connection, request)
        return Response(head.status, head.headers, await whole(connection.reader, head)), head.keeps

    def _kept(self) -> Optional[_Connection]:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Closes the connections that are kept."""
        while self._idle:
            self._idle.pop().close()


class AsyncStream:
    """An answer that is read piece by piece."""

    def __init__(self, http: AsyncHttp, timeouts: Timeouts) -> None:
        self._http = http
        self._timeouts = timeouts
        self._connection: Optional[_Connection] = None
        self._chunks: Optional[Chunks] = None
        self._closed = False

    async def open(self, request: Request) -> Union[Opened, Response, Lost]:
        """Begins anew with a request."""
        self._drop()
        try:
            connection = await self._http.connect()
        except (OSError, asyncio.TimeoutError) as error:
            return Lost(error, sent=False)
        self._connection = connection
        opened = None
        try:
            opened = await asyncio.wait_for(self._begin(connection, request), self._timeouts.silence_s)
        except _FAILURES as error:
            return Lost(error, sent=True)
        finally:
            # Closed while it was connecting: whoever closed it saw no connection yet.
            if self._closed or not isinstance(opened, Opened):
                self._drop()
        return opened

    async def _begin(self, connection: _Connection, request: Request) -> Union[Opened, Response]:
        head = await self._http.begin(connection, request)
        if head.status == 200 and is_stream(head.headers.get("content-type", "")):
            self._chunks = Chunks() if is_chunked(head) else None
            return Opened(head.headers)
        return Response(head.status, head.headers, await whole(connection.reader, head))

    async def receive(self) -> Union[bytes, Lost]:
        """The next bytes, empty at the end."""
        if self._connection is None:
            return b""
        try:
            while True:
                reading = self._connection.reader.read(RECEIVE_BYTES)
                data = await asyncio.wait_for(reading, self._timeouts.silence_s)
                chunk = data if self._chunks is None else self._chunks.feed(data)
                ended = not data or (self._chunks is not None and self._chunks.done)
                if chunk or ended:
                    break
        except _FAILURES as error:
            self._drop()
            return Lost(error, sent=True)
        if ended:
            self._drop()
        return chunk

    def close(self) -> None:
        """Ends it."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        connection, self._connection, self._chunks = self._connection, None, None
        if connection is not None:
            connection.close()


def _head(text: bytes) -> _Head:
    lines = text.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not (version.startswith("HTTP/1.") and status.isascii() and status.isdigit()):
        raise ProtocolError("the answer is no HTTP")
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        name, found, value = line.partition(":")
        if found:
            headers[name.strip().lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    keeps = version == "HTTP/1.1" and "close" not in connection
    return _Head(int(status), headers, keeps)


def is_chunked(head: _Head) -> bool:
    """Whether the body comes in chunks."""
    return "chunked" in head.headers.get("transfer-encoding", "").lower()


async def whole(reader: asyncio.StreamReader, head: _Head) -> bytes:
    """Reads the body of an answer to its end. Raises EOFError, OSError, :class:`ProtocolError`."""
    if head.status in (204, 304):
        return b""
    if is_chunked(head):
        return await _all_chunks(reader)
    length = head.headers.get("content-length")
    if length is None:
        head.keeps = False
        return await _bounded(reader)
    if not (length.isascii() and length.isdigit()) or int(length) > RESPONSE_BYTES_MAX:
        raise ProtocolError(f"the answer says that it has {length[:40]} bytes")
    return await reader.readexactly(int(length))


async def _all_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks, out = Chunks(), bytearray()
    while not chunks.done:
        data = await reader.read(RECEIVE_BYTES)
        if not data:
            raise EOFError("the answer ended early")
        out += chunks.feed(data)
        _check(len(out))
    return bytes(out)


async def _bounded(reader: asyncio.StreamReader) -> bytes:
    out = bytearray()
    while True:
        data = await reader.read(RECEIVE_BYTES)
        if not data:
            return bytes(out)
        out += data
        _check(len(out))


def _check(length: int) -> None:
    if length > RESPONSE_BYTES_MAX:
        raise ProtocolError(f"the answer has more than {RESPONSE_BYTES_MAX} bytes")
