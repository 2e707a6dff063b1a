"""The real server: ``planwire serve`` in a place of its own, killed and started again at the same address."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from typing import Any, Optional

PORTS = (20_000, 30_000)
"""Ports that the operating system gives to nobody by itself, so that a server finds its own again."""


def program() -> Optional[str]:
    """The program; None where there is none."""
    return os.environ.get("PLANWIRE_BIN")


def free_port() -> int:
    chance = random.Random(os.getpid())
    while True:
        port = chance.randrange(*PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class RealServer:
    """A server on a folder that is gone afterwards."""

    def __init__(self, *options: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="planwire-")
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.kills = 0
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        where = f"127.0.0.1:{self.port}"
        arguments = ["--json", "serve", "--listen", where, "--data", os.path.join(self.folder, "data"), *self.options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLANWIRE_")}
        environment.update(HOME=self.folder, **kept())
        self.process = subprocess.Popen(
            [program() or "planwire", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
        )
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline()
        assert json.loads(greeting)["url"].rstrip("/") == self.url, greeting

    def kill(self) -> None:
        """Ends it as a power cut does."""
        self._end(signal.SIGKILL)
        self.kills += 1

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()

    def close(self) -> None:
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RealServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def kept() -> Any:
    """What a measurement of coverage needs."""
    return {name: value for name, value in os.environ.items() if name.startswith("LLVM_PROFILE")}
