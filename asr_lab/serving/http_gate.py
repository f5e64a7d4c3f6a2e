"""In front of the HTTP API: who is let in, how many bytes are read, what is counted and logged."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from asr_lab.serving.http_errors import ApiError
from asr_lab.serving.metrics import Metrics
from asr_lab.serving.realtime_api import KEY_PROTOCOL

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FACTS = "asr_lab.facts"
"""Key of a request's scope: what is logged of it; `speech_s` is set by what answers it."""
FORM_BYTES = 1 << 16
"""Around a form's file: boundaries, and the other fields."""
_GONE = "the client has gone"
_DRAINED_S = 10.0

_log = logging.getLogger(__name__)


class Gate:
    """Lets requests through to an application; each has a line in the log."""

    def __init__(
        self, app: ASGIApp, api_key: str, metrics: Metrics, *, max_bytes: int, open_to_all: Collection[str]
    ) -> None:
        """`open_to_all`: addresses that need no key. Without a key, only requests to this machine's names pass."""
        self._app, self._api_key, self._metrics = app, api_key.encode(), metrics
        self._max_bytes, self._open_to_all = max_bytes, open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts: dict[str, Any] = {"status": 500}
        scope[FACTS] = facts
        began = time.monotonic()
        body = _Body(receive, self._max_bytes)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts["status"] = message["status"]
                await body.drain()  # a client that still sends would not read the answer
            await send(message)

        try:
            if refused := self._refusal(scope):
                await refused.response()(scope, body.receive, sent)
            else:
                await self._app(scope, body.receive, sent)
        except ClientDisconnect:
            facts["status"] = _GONE
        except Exception:
            _log.exception("a request failed")
        finally:
            self._done(scope, scope["method"], began)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[FACTS] = {"status": "ended"}
        began = time.monotonic()
        try:
            if refused := self._refusal(_with_key(scope)):
                scope[FACTS]["status"] = refused.status
                await WebSocket(scope, receive, send).send_denial_response(refused.response())
            else:
                await self._app(scope, receive, send)
        except Exception:
            scope[FACTS]["status"] = "failed"
            _log.exception("a stream failed")
        finally:
            self._done(scope, "WEBSOCKET", began)

    def _done(self, scope: Scope, method: str, began: float) -> None:
        """Count a request, and write its line into the log."""
        facts, passed_s = scope[FACTS], time.monotonic() - began
        speech_s = facts.get("speech_s", 0.0)
        self._metrics.count(method, _route(scope), str(facts["status"]), passed_s, speech_s)
        speech = f", {speech_s:.1f} s of speech" if "speech_s" in facts else ""
        _log.info("%s %s %s: %.2f s%s", method, _route(scope), facts["status"], passed_s, speech)

    def _refusal(self, scope: Scope) -> ApiError | None:
        if scope["path"] in self._open_to_all:
            return None
        wanted = (b"authorization", b"host", b"origin")
        headers = {name: value for name, value in scope["headers"] if name in wanted}
        if not self._api_key:
            address = headers.get(b"host", b"").decode("latin-1")
            host = _host(address)
            origin = headers.get(b"origin", b"").decode("latin-1")
            if scope["type"] == "websocket" and origin and urlsplit(origin).netloc != address:
                message = "without an API key this server takes no stream from a page of another site"
                return ApiError(403, message, code="invalid_origin")
            if host not in LOOPBACK:  # a page of another site, whose name was made to mean this machine
                message = f"without an API key this server answers as {' or '.join(LOOPBACK[:2])} alone"
                return ApiError(403, message, code="invalid_host")
            return None
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self._api_key):
            message = "no API key, or a wrong one; allowed: the header Authorization: Bearer KEY"
            return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        return None


def _with_key(scope: Scope) -> Scope:
    """Return the scope of a WebSocket with the key among its subprotocols, if there is one, as the header."""
    keys = [one.removeprefix(KEY_PROTOCOL) for one in scope.get("subprotocols", ()) if one.startswith(KEY_PROTOCOL)]
    added = [(b"authorization", f"Bearer {keys[0]}".encode("latin-1"))] if keys else []
    return {**scope, "headers": [*added, *scope["headers"]]}


def _host(header: str) -> str:
    """Return the name in a `Host` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


def _route(scope: Scope) -> str:
    """Return the address as it was declared: speakers' names do not belong in a log."""
    return str(getattr(scope.get("route"), "path", "-"))


class _Body:
    """The body of a request; one larger than a form with so large a file is read to its end, not kept, and refused."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive, self._max_bytes, self._most = receive, max_bytes, max_bytes + FORM_BYTES
        self._size, self._ended = 0, False

    async def receive(self) -> Message:
        message = await self._next()
        if self._size > self._most:
            await self.drain()
            allowed = f"a file of {self._max_bytes / 2**20:.3g} MB"
            raise ApiError(413, f"the request is larger than this server takes; allowed: {allowed}", code="too_large")
        return message

    async def drain(self) -> None:
        """Read what the client still sends, within reason."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED_S):
                while not self._ended and self._size <= 4 * self._most:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message
