"""`/v1/realtime` of `asr-lab serve`: a WebSocket on which audio goes in and text comes out, by OpenAI's events.

A session is one client's audio, cut into utterances where it pauses, or where the client commits. How many there are,
how long each is and how long it may be idle is limited; a client that sends faster than is computed waits.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from asr_lab.data.audio import Signal
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.serving.http_errors import ApiError, sentence
from asr_lab.serving.realtime_events import (
    Settings,
    audio_of,
    committed,
    completed,
    delta,
    failure,
    kind_of,
    read_event,
)
from asr_lab.serving.served_models import ServedModels
from asr_lab.serving.streaming import Stream, StreamingRecognizer, StreamWorker
from asr_lab.units import SAMPLE_RATE, num_samples

SUBPROTOCOL = "realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
"""Before the API key, among the subprotocols: browsers send no header with a WebSocket."""
MAX_MESSAGE = 2**20  # bytes
_PIECE_S = 0.2  # utterances end at such, whatever the length of the client's
_SYLLABLES = ("가", "힣")
_CLOSING_S = 10.0  # that a client may take to read why its connection ends
_ENDED, _LATER, _FAILED = 1008, 1013, 1011  # WebSocket close codes: policy, try again later, internal error


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """What one connection, and all of them, may take."""

    max_streams: int = 16
    """Connections at once; more are refused."""
    idle_s: float = 60.0
    """Without audio, after which a connection is closed."""


class Realtime:
    """The streams of a server."""

    def __init__(self, models: ServedModels, limits: StreamLimits, max_audio_s: float, timeout_s: float) -> None:
        """`timeout_s`: what an answer may take."""
        self.models, self.limits, self.max_audio_s, self.timeout_s = models, limits, max_audio_s, timeout_s
        self._worker: StreamWorker | None = None
        self._open = 0

    def close(self) -> None:
        if self._worker:
            self._worker.close()

    async def serve(self, socket: WebSocket) -> float:
        """Serve a connection until it ends, with an error event for what cannot be; return its seconds of audio."""
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope.get("subprotocols", ()) else None)
        session: _Session | None = None
        self._open += 1
        try:
            session = _Session(self, socket, self._started())
            await session.run()
        except WebSocketDisconnect:
            pass
        except ApiError as error:
            await _close(socket, error, _LATER if error.status in (429, 503, 504) else _ENDED)
        except Exception as error:
            message = f"the server failed on this stream ({type(error).__name__}); its log has the details"
            await _close(socket, ApiError(500, message), _FAILED)
            raise
        finally:
            self._open -= 1
        return session.audio_s if session else 0.0

    def _started(self) -> StreamWorker:
        if self._open > self.limits.max_streams:
            message = f"{self.limits.max_streams} streams are open, which is the most; try again later"
            raise ApiError(429, message, code="too_many_requests")
        try:
            self._worker = self._worker or StreamWorker(StreamingRecognizer(self.models.engine))
        except AsrLabError as error:
            raise ApiError(400, sentence(error), param="model", code="model_cannot_stream") from error
        return self._worker


async def _close(socket: WebSocket, error: ApiError, code: int) -> None:
    try:
        async with asyncio.timeout(_CLOSING_S):
            await socket.send_json(failure(error) | {"event_id": _id("event")})
            await socket.close(code, error.message.encode()[:120].decode(errors="ignore"))
    except (RuntimeError, WebSocketDisconnect, TimeoutError):  # it has gone, or does not read
        pass


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:16]}"


@dataclass
class _Utterance:
    """What a client is shown of a stream."""

    stream: Stream
    item: str = field(default_factory=lambda: _id("item"))
    sent: str = ""


class _Session:
    """One connection."""

    def __init__(self, realtime: Realtime, socket: WebSocket, worker: StreamWorker) -> None:
        self._realtime, self._socket, self._worker = realtime, socket, worker
        self._id = _id("sess")
        self._settings = Settings(model=socket.query_params.get("model") or realtime.models.name)
        self._input = _Input(self._settings.rate)
        self._now: _Utterance | None = None
        self._previous = ""
        self._last_audio = time.monotonic()
        self.audio_s = 0.0

    async def run(self) -> None:
        """Answer messages until the client goes; raise `ApiError` for what ends the connection."""
        await self._adapter()
        await self._send({"type": "session.created", "session": self._settings.session(self._id)})
        while True:
            message, audio_s = await self._message(), self.audio_s
            try:
                async with asyncio.timeout(self._realtime.timeout_s):
                    await self._handle(message)
            except TimeoutError as error:
                what = f"no answer within {self._realtime.timeout_s:g} s: the server has too much to do"
                raise ApiError(504, what, code="timeout") from error
            if self.audio_s > audio_s:
                self._last_audio = time.monotonic()

    async def _message(self) -> Mapping[str, Any]:
        idle_s = self._realtime.limits.idle_s
        try:
            async with asyncio.timeout(self._last_audio + idle_s - time.monotonic()):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise ApiError(408, f"no audio came for {idle_s:g} s", code="idle") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        return message

    async def _handle(self, message: Mapping[str, Any]) -> None:
        """Act on a message; one that is wrong is answered with an error, and changes nothing."""
        event: dict[str, Any] = {}
        try:
            if (audio := message.get("bytes")) is not None:
                await self._append(audio)
                return
            event = read_event(message.get("text") or "")
            kind = kind_of(event)
            if kind == "session.update":
                await self._update(event.get("session"))
            elif kind == "input_audio_buffer.append":
                await self._append(audio_of(event))
            elif kind == "input_audio_buffer.commit":
                await self._commit()
            else:
                self._now, self._input = None, _Input(self._settings.rate)
                await self._send({"type": "input_audio_buffer.cleared"})
        except ApiError as error:
            if error.status != 400:
                raise
            await self._send(failure(error, event.get("event_id")))

    async def _update(self, given: object) -> None:
        before, new = self._settings, self._settings.updated(given)
        if new.rate != before.rate and self.audio_s:
            raise ApiError(400, "the rate cannot change once there was audio", param="session.audio.input.format.rate")
        self._settings = new
        try:
            await self._adapter()
            await run_in_threadpool(self._check_hot_words)
        except ApiError:
            self._settings = before
            raise
        if new.rate != before.rate:
            self._input = _Input(new.rate)
        await self._send({"type": "session.updated", "session": new.session(self._id)})

    def _check_hot_words(self) -> None:
        decoders = self._realtime.models.engine.decoders
        try:
            decoders.check(decoders.hot_words(self._settings.hot_words))
        except AsrLabError as error:
            raise ApiError(400, sentence(error), param="prompt", code="invalid_prompt") from error

    async def _adapter(self) -> str:
        """Return the adapter of the model in use; raise `ApiError` if there is none."""
        name, models = self._settings.model, self._realtime.models
        try:
            return await run_in_threadpool(models.adapter_of, name)
        except UnavailableError as error:
            raise ApiError(503, sentence(error), param="model") from error
        except AsrLabError as error:
            message = f"no model {name[:100]!r}: {sentence(error)}; the recogniser alone is {models.name!r}"
            raise ApiError(400, message, param="model", code="model_not_found") from error

    async def _append(self, audio: bytes) -> None:
        await self._read(self._input.samples(audio))

    async def _read(self, samples: Signal) -> None:
        most_s, rules = self._realtime.max_audio_s, self._settings.rules
        step = num_samples(_PIECE_S) if rules else max(1, len(samples))
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            if self.audio_s + len(piece) / SAMPLE_RATE > most_s:
                await self._finish(always=False)
                raise ApiError(413, f"this server takes streams of {most_s:g} s at most", code="too_long")
            if self._now is None:
                self._now = _Utterance(await self._opened())
            stream = self._now.stream
            self.audio_s += len(piece) / SAMPLE_RATE
            await asyncio.wrap_future(self._worker.accept(stream, piece))
            await self._show(_settled(stream.text))
            if rules and self._worker.recognizer.ends(stream, rules):
                await self._finish(always=False)

    async def _opened(self) -> Stream:
        recognizer, hot_words = self._worker.recognizer, self._settings.hot_words
        return await run_in_threadpool(recognizer.open, await self._adapter(), self.audio_s, hot_words)

    async def _commit(self) -> None:
        await self._read(self._input.end())
        if self._now is None:
            raise ApiError(400, "there is no audio to commit", code="input_audio_buffer_commit_empty")
        await self._finish(always=True)

    async def _finish(self, *, always: bool) -> None:
        """End the utterance, if there is one, and send its transcript; one without text only if `always`."""
        if self._now is None:
            return
        utterance = self._now
        await asyncio.wrap_future(self._worker.accept(utterance.stream, np.zeros(0, np.float32), last=True))
        result = await run_in_threadpool(self._worker.recognizer.result, utterance.stream)
        if result.text or always:
            await self._show(result.text)
            await self._send(committed(utterance.item, self._previous))
            event = completed(utterance.item, result, self._realtime.models.version, utterance.stream.start_s)
            await self._send(event)
            self._previous = utterance.item
        self._now = None

    async def _show(self, text: str) -> None:
        """Send what is new of a text."""
        assert self._now is not None
        if len(text) > len(self._now.sent) and text.startswith(self._now.sent):
            await self._send(delta(self._now.item, text[len(self._now.sent) :]))
            self._now.sent = text

    async def _send(self, event: Mapping[str, Any]) -> None:
        await self._socket.send_json({"event_id": _id("event"), **event})


def _settled(text: str) -> str:
    """Return a text without the last syllable, to which jamo may be added."""
    return text[:-1] if text and _SYLLABLES[0] <= text[-1] <= _SYLLABLES[1] else text


class _Input:
    """16 bit PCM in pieces of any number of bytes, as samples of the models' rate."""

    def __init__(self, rate: int) -> None:
        self._rate, self._rest = rate, b""
        self._resampler = self._new()

    def samples(self, audio: bytes) -> Signal:
        """Return the samples that bytes make, with those before."""
        whole = self._rest + audio
        even = len(whole) // 2 * 2
        self._rest = whole[even:]
        values = np.frombuffer(whole[:even], "<i2").astype(np.float32) / np.float32(32768)
        return self._resampled(values, last=False)

    def end(self) -> Signal:
        """Return the samples that are still in the resampler; what follows is another recording."""
        self._rest = b""
        samples = self._resampled(np.zeros(0, np.float32), last=True)
        self._resampler = self._new()
        return samples

    def _new(self) -> Any:
        return None if self._rate == SAMPLE_RATE else soxr.ResampleStream(self._rate, SAMPLE_RATE, 1, dtype="float32")

    def _resampled(self, values: Signal, *, last: bool) -> Signal:
        if self._resampler is None:
            return values
        resampled: Signal = self._resampler.resample_chunk(values, last=last)
        return resampled
