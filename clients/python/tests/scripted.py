"""A server that answers as it is told, over real sockets: one act for each request, in order."""

from __future__ import annotations

import json
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

PATIENCE_S = 20.0
"""How long anything may take before a test fails; no test waits for it to pass."""


@dataclass
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Act = Callable[["Talk"], None]


class Talk:
    """One request and the connection on which it came."""

    def __init__(self, server: ScriptedServer, connection: socket.socket, asked: Asked) -> None:
        self.server = server
        self.connection = connection
        self.asked = asked
        self.keeps = False

    def send(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError:
            pass  # The client has seen enough.

    def reset(self) -> None:
        """Ends the connection as a crash does: with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class ScriptedServer:
    """Runs acts; requests beyond them are answered with 500."""

    def __init__(self, *acts: Act, listening: bool = True) -> None:
        self.acts: List[Act] = list(acts)
        self.asked: List[Asked] = []
        self.waited_too_long = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._open: List[socket.socket] = []
        self._threads: List[threading.Thread] = []
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        if listening:
            self.listen()

    def listen(self) -> None:
        """Until now connections were refused."""
        self._socket.listen()
        self._start(self._accept)

    def wait_for_close(self) -> None:
        """For an act that says nothing: until the test is over, which must not wait for this to pass."""
        self.waited_too_long = self.waited_too_long or not self._closed.wait(PATIENCE_S)

    def close(self) -> None:
        self._closed.set()
        self._shut(self._socket)
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            self._shut(connection)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert not self.waited_too_long, "the client waited for a server that says nothing"

    @staticmethod
    def _shut(each: socket.socket) -> None:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        each.close()

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            number += 1
            with self._lock:
                self._open.append(connection)
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        reader = connection.makefile("rb")
        keeps = True
        try:
            while keeps:
                asked = read_request(reader, number)
                if asked is None:
                    break
                with self._lock:
                    self.asked.append(asked)
                    act = self.acts.pop(0) if self.acts else answer(500, {"title": "no act is left"})
                talk = Talk(self, connection, asked)
                act(talk)
                keeps = talk.keeps
        except OSError:
            pass
        reader.close()
        self._shut(connection)


def read_request(reader: Any, number: int) -> Optional[Asked]:
    line = reader.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers: Dict[str, str] = {}
    while True:
        name, _, value = reader.readline().decode("latin-1").partition(":")
        if not name.strip():
            break
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Asked(line[0], line[1], headers, body, number)


def answer(status: int, value: Any = None, **headers: str) -> Act:
    """Answers with JSON, and keeps the connection."""

    def act(talk: Talk) -> None:
        respond(talk, status, value, headers)

    return act


def respond(talk: Talk, status: int, value: Any = None, headers: Optional[Dict[str, str]] = None) -> None:
    body = b"" if value is None else json.dumps(value).encode()
    form = "application/problem+json" if status >= 400 else "application/json"
    lines = [f"HTTP/1.1 {status} Told", f"content-type: {form}"]
    lines += [] if status == 204 else [f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    talk.keeps = True
    talk.send("\r\n".join([*lines, "", ""]).encode() + body)


def problem(status: int, slug: str, **members: Any) -> Act:
    """Answers with a problem."""
    return answer(status, problem_body(status, slug, **members))


def problem_body(status: int, slug: str, **members: Any) -> Dict[str, Any]:
    kind = f"urn:planwire:problem:{slug}"
    return {"type": kind, "title": f"title of {slug}", "status": status, "detail": "the detail", **members}


def cut(talk: Talk) -> None:
    """Breaks off before the answer."""
    talk.reset()


def raw(*pieces: bytes) -> Act:
    """Sends these bytes and breaks off."""

    def act(talk: Talk) -> None:
        for piece in pieces:
            talk.send(piece)
        talk.connection.shutdown(socket.SHUT_WR)

    return act


def places(first: int = 1, **more: Any) -> Act:
    """Answers a publish: the events stand at these positions."""

    def act(talk: Talk) -> None:
        rows = []
        for offset, event in enumerate(talk.asked.json["events"]):
            position = first + offset
            rows.append(
                {
                    "event_id": event["event_id"],
                    "position": position,
                    "cursor": cursor(position),
                    "seq": position,
                    "duplicate": False,
                    **more,
                }
            )
        respond(talk, 200, {"events": rows})

    return act


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*pieces: bytes, cut_off: bool = False, hang: bool = False) -> Act:
    """A stream of these chunks; then its end, a reset, or silence."""

    def act(talk: Talk) -> None:
        talk.send(STREAM_HEAD)
        for piece in pieces:
            talk.send(chunk(piece))
        if hang:
            talk.server.wait_for_close()
        elif cut_off:
            talk.connection.shutdown(socket.SHUT_WR)
        else:
            talk.send(b"0\r\n\r\n")

    return act


def cursor(position: int) -> str:
    return f"7Q4M2K9A-{position:016x}"


def event_json(position: int, **more: Any) -> Dict[str, Any]:
    """A stored event."""
    return {
        "event_id": f"01JD8C3V5K7QW9X2Y4Z6A8{position:04d}",
        "event_type": "acme.note",
        "plan_id": "p",
        "timestamp": "2026-11-22T14:20:01.123456Z",
        "payload": {"number": position},
        "position": position,
        "cursor": cursor(position),
        "seq": position,
        "root_plan_id": "p",
        "parent_plan_id": None,
        "depth": 0,
        "recorded_at": "2026-11-22T14:20:01.124801Z",
        **more,
    }


def frame(position: int, **more: Any) -> bytes:
    """The frame of an event."""
    event = event_json(position, **more)
    text = json.dumps(event)
    return f"id: {event['cursor']}\nevent: {event['event_type']}\ndata: {text}\n\n".encode()


def hello(position: int = 0, retry_ms: int = 750) -> bytes:
    return f": planwire\nretry: {retry_ms}\nid: {cursor(position)}\n\n".encode()


def heartbeat(position: int) -> bytes:
    return f": hb\nid: {cursor(position)}\n\n".encode()


def end(position: int) -> bytes:
    return f'id: {cursor(position)}\nevent: end\ndata: {{"plan_id":"p"}}\n\n'.encode()


def gap(requested: int, first_kept: int) -> bytes:
    data = json.dumps({"requested": cursor(requested), "first_kept": cursor(first_kept)})
    return f"event: gap\ndata: {data}\n\n".encode()
