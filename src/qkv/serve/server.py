"""The application on a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10
"""A connection has so long to say what it wants; uvicorn itself would wait for ever."""


class Impatient(H11Protocol):
    """HTTP/1.1 that closes a connection whose first request's head does not come."""

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop it."""
        self._deadline.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Takes no new work from the signal on, finishes what it has, then ends."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, because of a signal; a second one does not wait."""
        application: Any = self.config.app
        application.state.house.draining = True
        super().handle_exit(sig, frame)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0: any that is free.

    Raises:
        OSError: the port is taken, or there is no such host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # no Nagle
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)  # whoever reads the address that is printed may connect
    except OSError:
        listening.close()
        raise
    return listening


def serve(app: FastAPI, listening: socket.socket, drain_seconds: float) -> None:
    """Answer until SIGTERM or SIGINT, then finish what was begun, within so many seconds."""
    config = uvicorn.Config(
        app,
        http=Impatient,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=HEAD_SECONDS,
        timeout_graceful_shutdown=round(drain_seconds),
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises what it got again at its end
        signal.signal(number, lambda *_: None)
    asyncio.run(Server(config).serve(sockets=[listening]))
