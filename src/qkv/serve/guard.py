"""What stands before the application: the key, the size and the time of a body, the count."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qkv.serve.limits import Limits
from qkv.serve.metrics import Metrics
from qkv.serve.refusal import Refusal

OPEN = frozenset({"/", "/health", "/openapi.json"})
"""Paths that need no key."""


class Guard:
    """ASGI middleware: reads each body whole, within the limits, before any of it is looked at.

    key: what `Authorization: Bearer KEY` must hold; None: nothing is asked.
    open_prefixes: beginnings of more paths that need no key: what the page loads.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        key: str | None,
        open_prefixes: tuple[str, ...] = (),
    ) -> None:
        self.app, self.limits, self.metrics, self.key = app, limits, metrics, key
        self.open_prefixes = open_prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._check_key(scope)
            body = await self._body(scope, receive)
            if body is None:
                return  # the client has gone before it was done
            await self.app(scope, _again(body, receive), told)
        except Refusal as refusal:
            await refusal.response()(scope, receive, told)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - started)

    def _check_key(self, scope: Scope) -> None:
        path = scope["path"]
        if self.key is None or path in OPEN or path.startswith(self.open_prefixes):
            return
        given = _header(scope["headers"], b"authorization")
        if not hmac.compare_digest(given, b"Bearer " + self.key.encode()):
            raise Refusal(401, "this server wants its key: Authorization: Bearer KEY")

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        limit = self.limits.body_bytes
        said = _header(scope["headers"], b"content-length")
        if said.isdigit() and int(said) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await _collect(receive, limit)
        except TimeoutError:
            seconds = self.limits.body_seconds
            raise Refusal(
                408, f"the request was not whole after {seconds:g} seconds", seconds
            ) from None


async def _collect(receive: Receive, limit: int) -> bytes | None:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"a request may hold {limit:,} bytes; send the texts in parts", limit)


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")


def _again(body: bytes, receive: Receive) -> Callable[[], Any]:
    """Hand on a body that was read, once; then whatever else comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message
