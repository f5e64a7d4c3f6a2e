"""The HTTP API of `asr-lab serve`: the part of OpenAI's that clients of speech recognition use.

`POST /v1/audio/transcriptions`, `GET /v1/models`, `GET /health`, `GET /metrics`; at `/` a page with a microphone; and
`POST /invocations` and `GET /ping` of MLflow's scoring server. A request holds audio and names; no path or address in
it is followed. How many requests wait, how large they are and how long they take is limited. `/v1/realtime` is in
`realtime_api`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from typing import Any, Generic, TypeVar

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.reports.page import render
from asr_lab.serving.engine import Request, Result
from asr_lab.serving.http_errors import ApiError, sentence
from asr_lab.serving.http_gate import FACTS, FORM_BYTES, Gate
from asr_lab.serving.invocations import ADDRESS as INVOCATIONS
from asr_lab.serving.invocations import PING, Invocations, refusal
from asr_lab.serving.metrics import ADDRESS as METRICS
from asr_lab.serving.metrics import Metrics
from asr_lab.serving.realtime_api import Realtime, StreamLimits
from asr_lab.serving.served_models import ServedModels
from asr_lab.serving.transcription_api import Wanted, answer
from asr_lab.serving.uploads import read_upload
from asr_lab.system.threads import usable_cores

T = TypeVar("T")

_HEALTH, _PAGE, _REALTIME = "/health", "/", "/v1/realtime"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RETRY_S = "1"
_BODIES = 8  # of the largest size
_MOST_THREADS = 4  # files are read and features computed beside the one forward pass
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
    streams: StreamLimits = field(default_factory=StreamLimits)

    @property
    def max_bodies(self) -> int:
        """Bytes of all requests of MLflow's protocol together, which are held in memory; more are answered 429."""
        return _BODIES * (self.max_bytes + FORM_BYTES)


def create_app(models: ServedModels, limits: Limits | None = None, api_key: str = "") -> ASGIApp:
    """Return the server's application. Without an `api_key` it answers only requests to this machine's own names."""
    chosen = limits or Limits()
    transcriber = _Transcriber(models, chosen)
    realtime = Realtime(models, chosen.streams, chosen.max_audio_s, chosen.timeout_s)
    cache = models.engine.adapters
    metrics = Metrics(lambda: transcriber.under_way, lambda: len(cache) if cache is not None else 0)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        transcriber.close()
        realtime.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.state.transcriber = transcriber
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    _add_pages(app, metrics)
    _add_models(app, models)
    _add_transcription(app, transcriber, realtime)
    return Gate(app, api_key, metrics, max_bytes=chosen.max_bytes, open_to_all=(_HEALTH, PING, _PAGE))


def _add_pages(app: FastAPI, metrics: Metrics) -> None:
    """Add the state of the server, and the page that transcribes a microphone."""

    @app.get(_HEALTH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(PING)
    async def ping() -> Response:
        return Response("\n", media_type="application/json")  # as MLflow's

    @app.get(METRICS)
    async def show_metrics() -> Response:
        content, kind = metrics.text()
        return Response(content, headers={"Content-Type": kind})

    @app.get(_PAGE)
    async def page() -> Response:
        return HTMLResponse(render("microphone", title="Transcribe"), headers={"Content-Security-Policy": _PAGE_POLICY})


def _add_models(app: FastAPI, models: ServedModels) -> None:
    """Add the model and the adapters, as OpenAI's API lists models."""
    started = int(time.time())

    def described(name: str) -> dict[str, Any]:
        streams = models.engine.recognizer.streams
        return {"id": name, "object": "model", "created": started, "owned_by": "asr_lab", "streaming": streams}

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        names = [models.name, *await run_in_threadpool(models.speakers)]
        return {"object": "list", "data": [described(name) for name in names]}

    @app.get("/v1/models/{name:path}")
    async def show_model(name: str) -> dict[str, Any]:
        await run_in_threadpool(_adapter, models, name)
        return described(name)


def _add_transcription(app: FastAPI, transcriber: _Transcriber, realtime: Realtime) -> None:
    """Add what transcribes: files, MLflow's tables, and streams."""

    @app.post("/v1/audio/transcriptions")
    async def transcribe(request: HttpRequest) -> Response:
        return await transcriber.transcribe(request)

    @app.post(INVOCATIONS)
    async def invocations(request: HttpRequest) -> Response:
        return await transcriber.invocations(request)

    @app.get(_REALTIME)
    async def no_socket() -> Response:
        raise ApiError(426, "this address takes WebSockets; the server needs asr_lab[serve] for them")

    @app.websocket(_REALTIME)
    async def stream(socket: WebSocket) -> None:
        socket.scope[FACTS]["speech_s"] = await realtime.serve(socket)


class _Transcriber:
    """Transcribes requests in a few threads, with a limited number under way."""

    def __init__(self, models: ServedModels, limits: Limits) -> None:
        self._models, self._limits, self.under_way, self._held = models, limits, 0, 0
        self._places, self._counting = BoundedSemaphore(limits.max_waiting), Lock()
        self._invocations = Invocations(models, read_upload, limits.max_audio_s)
        self._threads = ThreadPoolExecutor(min(_MOST_THREADS, len(usable_cores())), "transcribe")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, request: HttpRequest) -> Response:
        """Return the answer; raise `ApiError`."""

        async def read() -> _Work[tuple[Wanted, Result]]:
            wanted = await _read_form(request)
            return _Work(lambda: (wanted, self._result(wanted)), wanted.upload.file.close)

        wanted, result = await self._limited(read)
        request.scope[FACTS]["speech_s"] = result.duration_s
        return answer(wanted, result, self._models.version)

    async def invocations(self, request: HttpRequest) -> Response:
        """Return the answer of MLflow's scoring protocol; raise `ApiError`."""

        async def read() -> _Work[tuple[Response, float]]:
            most = self._limits.max_bytes + FORM_BYTES
            free = self._hold(min(most, int(request.headers.get("content-length", most))))
            try:
                content, kind = await request.body(), request.headers.get("content-type", "")
            except BaseException:
                free()
                raise
            return _Work(lambda: self._invocations.answer(content, kind), free)

        response, request.scope[FACTS]["speech_s"] = await self._limited(read)
        return response

    def _hold(self, size: int) -> Callable[[], None]:
        """Count the bytes of a body that is held in memory; return what frees them, raise `ApiError` for too many."""
        with self._counting:
            if self._held + size > self._limits.max_bodies:
                message = f"requests under way hold {self._held / 2**20:.0f} MB, and no more fits; try again later"
                raise ApiError(429, message, code="too_many_bytes", headers={"Retry-After": _RETRY_S})
            self._held += size

        def free() -> None:
            with self._counting:
                self._held -= size

        return free

    async def _limited(self, read: Callable[[], Awaitable[_Work[T]]]) -> T:
        """Return what the work of a request gives, in one of the places and within the time; raise `ApiError`."""
        if not self._places.acquire(blocking=False):
            raise ApiError(
                429,
                f"{self._limits.max_waiting} requests are under way, which is the most; try again later",
                code="too_many_requests",
                headers={"Retry-After": _RETRY_S},
            )
        with self._counting:
            self.under_way += 1
        leave: Callable[[], None] = self._leave
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                work = await read()
                future = self._threads.submit(work.do)
                future.add_done_callback(self._on_end(work.end))
                leave = _nothing
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            message = f"no answer within {self._limits.timeout_s:g} s; a shorter recording takes less"
            raise ApiError(504, message, code="timeout") from error
        finally:
            leave()

    def _leave(self) -> None:
        with self._counting:
            self.under_way -= 1
        self._places.release()

    def _on_end(self, end: Callable[[], None]) -> Callable[[Future[Any]], None]:
        """Return what follows the end of a computation, also if no request waits for it, or it never began."""

        def ended(_: Future[Any]) -> None:
            end()
            self._leave()

        return ended

    def _result(self, wanted: Wanted) -> Result:
        adapter, engine = _adapter(self._models, wanted.model), self._models.engine
        try:
            engine.decoders.check(engine.decoders.hot_words(wanted.hot_words))
        except AsrLabError as error:
            raise ApiError(400, sentence(error), param="prompt", code="invalid_prompt") from error
        samples = read_upload(wanted.upload.file, self._limits.max_audio_s)
        request = Request(audio=samples, adapter=adapter, hot_words=wanted.hot_words, words=wanted.needs_words)
        (result,) = engine.transcribe([request])
        if result.error:
            raise ApiError(400, sentence(result.error), param="file", code="invalid_audio")
        return result


@dataclass(frozen=True)
class _Work(Generic[T]):
    """What is to be computed in a thread, and what follows it."""

    do: Callable[[], T]
    end: Callable[[], None]


def _nothing() -> None:
    """Do nothing."""


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
    form = await request.form(max_files=1, max_fields=30, max_part_size=FORM_BYTES // 2)
    try:
        return Wanted.of(form)
    except ApiError:
        await form.close()
        raise


async def _refused(request: HttpRequest, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        text = {404: "there is no such address", 405: "this address does not take this method"}
        message = text.get(error.status_code, " ".join(str(error.detail).split()))
        error = ApiError(error.status_code, message, headers=error.headers)
    assert isinstance(error, ApiError)
    if request.scope["path"] == INVOCATIONS:
        return refusal(error.message, error.status, headers=error.headers)
    return error.response()


async def _failed(request: HttpRequest, error: Exception) -> Response:
    message = f"the server failed on this request ({type(error).__name__}); its log has the details"
    return await _refused(request, ApiError(500, message))
