"""The HTTP API of `asr-lab serve`: the part of OpenAI's that clients of speech recognition use.

`POST /v1/audio/transcriptions`, `GET /v1/models`, `GET /health`; at `/` a page with a microphone. A request holds audio
and names; no path or address in it is followed. How many requests wait, how large they are and how long they take is
limited.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_lab.data.audio import Signal, probe, read_audio
from asr_lab.data.media import decode, needs_decoder
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.reports.page import render
from asr_lab.serving.engine import Request, Result
from asr_lab.serving.http_errors import ApiError, sentence
from asr_lab.serving.served_models import ServedModels
from asr_lab.serving.transcription_api import Wanted, answer
from asr_lab.system.threads import usable_cores
from asr_lab.units import SAMPLE_RATE

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEALTH, _PAGE = "/health", "/"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RETRY_S = "1"
_MOST_THREADS = 4  # files are read and features computed beside the one forward pass
_FORM_BYTES = 1 << 16
"""Around the file: boundaries, and the other fields."""
_DRAINED_S = 10.0
_WIDEST = 2 * 96_000 // SAMPLE_RATE
"""Stereo of 96 kHz is the most that is held in memory for the seconds allowed."""
_FACTS = "asr_lab.facts"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for; beyond it, it is refused."""

    max_bytes: int = 25 * 2**20
    """Of a file; OpenAI's limit."""
    max_audio_s: float = 600.0
    max_waiting: int = 100
    """Requests under way at once; more are answered 429."""
    timeout_s: float = 120.0
    """From the first byte to the answer; then 504."""


def create_app(models: ServedModels, limits: Limits | None = None, api_key: str = "") -> ASGIApp:
    """Return the server's application. Without an `api_key` it answers only requests to this machine's own names."""
    chosen = limits or Limits()
    transcriber = _Transcriber(models, chosen)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        transcriber.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    started = int(time.time())

    def described(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started, "owned_by": "asr_lab"}

    @app.get(_HEALTH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(_PAGE)
    async def page() -> Response:
        return HTMLResponse(render("microphone", title="Transcribe"), headers={"Content-Security-Policy": _PAGE_POLICY})

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        names = [models.name, *await run_in_threadpool(models.speakers)]
        return {"object": "list", "data": [described(name) for name in names]}

    @app.get("/v1/models/{name:path}")
    async def show_model(name: str) -> dict[str, Any]:
        await run_in_threadpool(_adapter, models, name)
        return described(name)

    @app.post("/v1/audio/transcriptions")
    async def transcribe(request: HttpRequest) -> Response:
        return await transcriber.transcribe(request)

    return _Gate(app, chosen, api_key)


class _Transcriber:
    """Transcribes requests in a few threads, with a limited number under way."""

    def __init__(self, models: ServedModels, limits: Limits) -> None:
        self._models, self._limits = models, limits
        self._places = BoundedSemaphore(limits.max_waiting)
        self._threads = ThreadPoolExecutor(min(_MOST_THREADS, len(usable_cores())), "transcribe")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, request: HttpRequest) -> Response:
        """Return the answer; raise `ApiError`."""
        if not self._places.acquire(blocking=False):
            raise ApiError(
                429,
                f"{self._limits.max_waiting} requests are under way, which is the most; try again later",
                code="too_many_requests",
                headers={"Retry-After": _RETRY_S},
            )
        leave: Callable[[], None] = self._places.release
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                wanted = await _read_form(request)
                future = self._threads.submit(self._result, wanted)
                future.add_done_callback(_on_end(wanted.upload, self._places))
                leave = _nothing
                result = await asyncio.wrap_future(future)
        except TimeoutError as error:
            message = f"no answer within {self._limits.timeout_s:g} s; a shorter recording takes less"
            raise ApiError(504, message, code="timeout") from error
        finally:
            leave()
        request.scope[_FACTS]["speech_s"] = result.duration_s
        return answer(wanted, result, self._models.version)

    def _result(self, wanted: Wanted) -> Result:
        adapter = _adapter(self._models, wanted.model)
        request = Request(audio=self._samples(wanted.upload), adapter=adapter)
        (result,) = self._models.engine.transcribe([request], words=wanted.needs_words)
        if result.error:
            raise ApiError(400, sentence(result.error), param="file", code="invalid_audio")
        return result

    def _samples(self, upload: UploadFile) -> Signal:
        """Read the audio of a request; raise `ApiError` if it is none, or more than is allowed."""
        with TemporaryDirectory(prefix="asr_lab-") as folder:
            file = Path(folder, "audio")
            with file.open("wb") as written:
                upload.file.seek(0)
                shutil.copyfileobj(upload.file, written)
            try:
                if needs_decoder(file):
                    decode(file, decoded := file.with_name("audio.flac"))
                    file = decoded
                header = probe(file)
                self._check_length(header.frames, header.samplerate, header.channels)
                return read_audio(file, "")
            except AsrLabError as error:
                message = sentence(error, private=str(Path(folder, "audio")))
                raise ApiError(400, message, param="file", code="invalid_audio") from error

    def _check_length(self, frames: int, rate: int, channels: int) -> None:
        most_s = self._limits.max_audio_s
        too_long = frames > most_s * rate
        if too_long or frames * channels > most_s * SAMPLE_RATE * _WIDEST:
            lasts = f"{frames / rate:.0f} s of audio" + ("" if too_long else f" in {channels} channels at {rate} Hz")
            message = f"{lasts} are more than this server takes; allowed: {most_s:g} s, or fewer channels"
            raise ApiError(413, message.removesuffix(", or fewer channels" * too_long), param="file", code="too_long")


def _nothing() -> None:
    """Do nothing."""


def _on_end(upload: UploadFile, places: BoundedSemaphore) -> Callable[[Future[Result]], None]:
    """Return what follows the end of a computation, also one that nobody waits for any more, or that never began."""

    def end(_: Future[Result]) -> None:
        upload.file.close()
        places.release()

    return end


def _adapter(models: ServedModels, name: str) -> str:
    try:
        return models.adapter_of(name)
    except UnavailableError as error:
        raise ApiError(503, sentence(error), param="model", headers={"Retry-After": _RETRY_S}) from error
    except AsrLabError as error:
        message = f"no model {name[:100]!r}: {sentence(error)}; the recogniser alone is {models.name!r}"
        raise ApiError(404, message, param="model", code="model_not_found") from error


async def _read_form(request: HttpRequest) -> Wanted:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        message = (
            f"the request is {kind[:100] or 'of no content type'}; allowed: multipart/form-data with `file`, `model`"
        )
        raise ApiError(415, message)
    form = await request.form(max_files=1, max_fields=30, max_part_size=_FORM_BYTES // 2)
    try:
        return Wanted.of(form)
    except ApiError:
        await form.close()
        raise


async def _refused(_: HttpRequest, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        text = {404: "there is no such address", 405: "this address does not take this method"}
        message = text.get(error.status_code, " ".join(str(error.detail).split()))
        error = ApiError(error.status_code, message, headers=error.headers)
    assert isinstance(error, ApiError)
    return error.response()


async def _failed(_: HttpRequest, error: Exception) -> Response:
    message = f"the server failed on this request ({type(error).__name__}); its log has the details"
    return ApiError(500, message).response()


class _Gate:
    """In front of the application: who is let in, how many bytes are read, and a line in the log for each request."""

    def __init__(self, app: ASGIApp, limits: Limits, api_key: str) -> None:
        self._app, self._limits, self._api_key = app, limits, api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts: dict[str, Any] = {"status": 500}
        scope[_FACTS] = facts
        began = time.monotonic()
        body = _Body(receive, self._limits.max_bytes)

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
            facts["status"] = "the client has gone"
        except Exception:
            _log.exception("a request failed")
        finally:
            speech = f", {facts['speech_s']:.1f} s of speech" if "speech_s" in facts else ""
            passed_s = time.monotonic() - began
            _log.info("%s %s %s: %.2f s%s", scope["method"], _route(scope), facts["status"], passed_s, speech)

    def _refusal(self, scope: Scope) -> ApiError | None:
        if scope["path"] in (_HEALTH, _PAGE):
            return None
        headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"host")}
        if not self._api_key:
            host = _host(headers.get(b"host", b"").decode("latin-1"))
            if host not in LOOPBACK:  # a page of another site, whose name was made to mean this machine
                message = f"without an API key this server answers as {' or '.join(LOOPBACK[:2])} alone"
                return ApiError(403, message, code="invalid_host")
            return None
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self._api_key):
            message = "no API key, or a wrong one; allowed: the header Authorization: Bearer KEY"
            return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        return None


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
        self._receive, self._max_bytes, self._most = receive, max_bytes, max_bytes + _FORM_BYTES
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
