"""Where a server is, and what every request to it carries."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Dict, Optional
from urllib.parse import urlsplit

from .wire import Request

CONNECT_TIMEOUT_S = 5.0
"""Seconds for a connection to be made."""

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """A server by its address, such as ``http://127.0.0.1:7420``; a path of it stands before every target."""

    host: str
    port: int
    secure: bool
    prefix: str
    token: Optional[str]

    @classmethod
    def of(cls, url: str, token: Optional[str] = None) -> Address:
        """Reads an address. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no address such as http://127.0.0.1:7420")
        if parts.username or parts.query or parts.fragment:
            raise ValueError(f"{url!r} has a user, a query or a fragment")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("the token is not printable ASCII")
        secure = parts.scheme == "https"
        port = parts.port or PORTS[parts.scheme]
        return cls(parts.hostname, port, secure, parts.path.rstrip("/"), token)

    @property
    def authority(self) -> str:
        """The header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = PORTS["https" if self.secure else "http"]
        return host if self.port == usual else f"{host}:{self.port}"

    def headers(self, request: Request) -> Dict[str, str]:
        """The header of a request."""
        headers = {"Host": self.authority, "User-Agent": "planwire-python", **request.headers}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def tls(self) -> Optional[ssl.SSLContext]:
        """How to encrypt, for https."""
        return ssl.create_default_context() if self.secure else None


@dataclass(frozen=True)
class Timeouts:
    """How long a server may be silent, in seconds, before the connection counts as broken."""

    answer_s: float = 30.0
    """Before and within an answer. A server that is busy waits with its answer."""
    silence_s: float = 10.0
    """Within a stream: the server sends something every 3 s, so 10 s without anything is a dead connection."""
    connect_s: float = CONNECT_TIMEOUT_S
    """While connecting."""
