"""HTTP over blocking sockets: :mod:`http.client`, with connections that are kept for the next request.

A kept connection may have been closed by the server meanwhile. That is noticed where it can be; where it cannot, the
request counts as lost, and :func:`planwire.calls.exchange` sends it again if that is safe. A request that is not safe
to repeat gets a connection of its own.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import threading
from typing import List, Optional, Union

from .address import Address, Timeouts
from .errors import ProtocolError
from .wire import RESPONSE_BYTES_MAX, Lost, Opened, Request, Response

IDLE_CONNECTIONS_MAX = 8
"""Connections that are kept for later."""

RECEIVE_BYTES = 64 * 1024
"""Bytes of a stream that are taken at a time."""

_FAILURES = (OSError, http.client.HTTPException, ProtocolError)


class Http:
    """Sends requests; it may be shared by threads."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self._lock = threading.Lock()
        self._idle: List[http.client.HTTPConnection] = []
        self._address = address
        self._timeouts = timeouts
        self._tls = address.tls()
        self._process = os.getpid()

    def send(self, request: Request) -> Union[Response, Lost]:
        """Sends a request and reads the whole answer."""
        connection = self._kept()
        if connection is None:
            try:
                connection = self.connect(self._timeouts.answer_s)
            except OSError as error:
                return Lost(error, sent=False)
        try:
            answer = self.begin(connection, request)
            response = whole(answer)
        except _FAILURES as error:
            connection.close()
            return Lost(error, sent=True)
        except BaseException:
            connection.close()
            raise
        self._keep(connection, answer)
        return response

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        """A new connection. Raises OSError."""
        host, port, wait_s = self._address.host, self._address.port, self._timeouts.connect_s
        if self._tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=wait_s, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=wait_s)
        connection.connect()
        connection.sock.settimeout(timeout_s)
        return connection

    def begin(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        """Sends a request and reads the head of the answer. Raises OSError, HTTPException."""
        target = self._address.prefix + request.target
        connection.request(request.method, target, request.body, self._address.headers(request))
        return connection.getresponse()

    def close(self) -> None:
        """Closes the connections that are kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        # A bus that was not closed says nothing about it when it goes.
        self.close()

    def _kept(self) -> Optional[http.client.HTTPConnection]:
        while True:
            with self._lock:
                if self._process != os.getpid():
                    # A fork shares the sockets: what is kept belongs to the parent.
                    self._process, self._idle = os.getpid(), []
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not _has_something(connection.sock):
                return connection
            connection.close()

    def _keep(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        if connection.sock is None or answer.will_close:
            connection.close()
            return
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()


class Stream:
    """An answer that is read piece by piece. ``close`` may be called from another thread and wakes the reader."""

    def __init__(self, http_: Http, timeouts: Timeouts) -> None:
        self._http = http_
        self._timeouts = timeouts
        self._lock = threading.Lock()
        self._connection: Optional[http.client.HTTPConnection] = None
        self._socket: Optional[socket.socket] = None
        self._answer: Optional[http.client.HTTPResponse] = None
        self._closed = False

    def open(self, request: Request) -> Union[Opened, Response, Lost]:
        """Begins anew with a request."""
        self._drop()
        try:
            connection = self._http.connect(self._timeouts.silence_s)
        except OSError as error:
            return Lost(error, sent=False)
        with self._lock:
            self._connection, self._socket = connection, connection.sock
            if self._closed:
                _shut(self._socket)
        try:
            answer = self._http.begin(connection, request)
            if answer.status == 200 and is_stream(answer.getheader("content-type", "") or ""):
                self._answer = answer
                return Opened({name.lower(): value for name, value in answer.getheaders()})
            response = whole(answer)
        except _FAILURES as error:
            self._drop()
            return Lost(error, sent=True)
        self._drop()
        return response

    def receive(self) -> Union[bytes, Lost]:
        """The next bytes, empty at the end."""
        if self._answer is None:
            return b""
        try:
            chunk = self._answer.read1(RECEIVE_BYTES)
        except (*_FAILURES, ValueError) as error:
            self._drop()
            return Lost(error, sent=True)
        if not chunk:
            self._drop()
        return chunk

    def close(self) -> None:
        """Ends it; a thread that waits in it gets nothing more."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                _shut(self._socket)

    def _drop(self) -> None:
        with self._lock:
            connection, answer = self._connection, self._answer
            self._connection = self._socket = self._answer = None
        if answer is not None:
            answer.close()
        if connection is not None:
            connection.close()

    def end(self) -> None:
        """Lets go of the connection; only for the thread that reads."""
        self.close()
        self._drop()


def whole(answer: http.client.HTTPResponse) -> Response:
    """Reads an answer to its end. Raises OSError, HTTPException, :class:`ProtocolError`."""
    body = b""
    if (answer.length or 0) <= RESPONSE_BYTES_MAX:
        body = answer.read() if answer.length is not None else answer.read(RESPONSE_BYTES_MAX + 1)
    if (answer.length or 0) + len(body) > RESPONSE_BYTES_MAX:
        raise ProtocolError(f"the answer has more than {RESPONSE_BYTES_MAX} bytes")
    if not body and answer.length is None and not answer.chunked:
        # A head that was cut off reads like this one: no length, and nothing behind it.
        raise http.client.IncompleteRead(body)
    # What is behind the last chunk: without it the connection could not be used again.
    answer.read()
    return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


def is_stream(content_type: str) -> bool:
    """Whether it is that of server-sent events."""
    return content_type.split(";")[0].strip().lower() == "text/event-stream"


def _has_something(socket_: Optional[socket.socket]) -> bool:
    """Whether an idle connection has something to read: then it was closed, or says what nobody asked."""
    if socket_ is None:
        return True
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(socket_, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([socket_], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def _shut(socket_: socket.socket) -> None:
    try:
        socket_.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
