"""The events of `/v1/realtime`, in the shapes of OpenAI's API for transcription while audio comes in."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asr_lab.errors import listing
from asr_lab.serving.engine import Result
from asr_lab.serving.http_errors import ApiError
from asr_lab.serving.streaming import DEFAULT_RULES, Endpointing
from asr_lab.serving.transcription_api import hot_words_of

CLIENT_EVENTS = ("session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear")
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_PROMPT = "session.audio.input.transcription.prompt"
_DEFAULT_RATE = 24_000  # OpenAI's


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Format(_Given):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: int = Field(_DEFAULT_RATE, ge=8000, le=192_000)


class _Transcription(_Given):
    model: str | None = None
    language: Any = None
    languages: Any = None
    prompt: str | None = None
    delay: Any = None
    keywords: Any = None


class _TurnDetection(_Given):
    type: Literal["server_vad"]
    silence_duration_ms: int = Field(round(1000 * Endpointing.pause_s), ge=200, le=10_000)
    threshold: Any = None
    prefix_padding_ms: Any = None
    create_response: Any = None
    interrupt_response: Any = None
    idle_timeout_ms: Any = None


class _Input(_Given):
    format: _Format | None = None
    transcription: _Transcription | None = None
    turn_detection: _TurnDetection | None = None
    noise_reduction: Any = None


class _Audio(_Given):
    input: _Input = _Input()


class _Session(_Given):
    type: Literal["transcription"] = "transcription"
    audio: _Audio = _Audio()
    include: Any = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a session transcribes."""

    model: str
    """The recogniser, or a speaker."""
    rate: int = _DEFAULT_RATE
    """Hz, of 16 bit PCM, little endian, one channel."""
    hot_words: tuple[str, ...] = ()
    """For the text of an utterance that has ended."""
    rules: Endpointing | None = DEFAULT_RULES
    """When an utterance ends on its own; None: when the client commits it."""

    def updated(self, session: object) -> Settings:
        """Return the settings with what a client asks for; raise `ApiError`. Fields without effect are let pass."""
        try:
            given = _Session.model_validate(session).audio.input
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(("session", *(str(part) for part in fault["loc"])))
            what = "not an object" if fault["type"] == "model_type" else fault["msg"]  # pydantic names the class
            raise ApiError(400, f"{where[:200]}: {what}", param=where[:200], code="invalid_value") from error
        new = self
        if given.format:
            new = replace(new, rate=given.format.rate)
        if given.transcription and given.transcription.model:
            new = replace(new, model=given.transcription.model)
        if given.transcription and given.transcription.prompt is not None:
            new = replace(new, hot_words=hot_words_of(given.transcription.prompt, _PROMPT))
        if "turn_detection" in given.model_fields_set:
            wanted = given.turn_detection
            new = replace(new, rules=Endpointing(pause_s=wanted.silence_duration_ms / 1000) if wanted else None)
        return new

    def session(self, id: str) -> dict[str, Any]:
        """Return the session as clients are shown it."""
        detection = None
        if self.rules:
            detection = {"type": "server_vad", "silence_duration_ms": round(1000 * self.rules.pause_s)}
        return {
            "id": id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": self.rate},
                    "transcription": {"model": self.model, "prompt": ", ".join(self.hot_words)},
                    "turn_detection": detection,
                }
            },
        }


def read_event(text: str) -> dict[str, Any]:
    """Return the fields of a client's event; raise `ApiError`."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the message is no JSON", code="invalid_json") from error
    return event if isinstance(event, dict) else {}


def kind_of(event: Mapping[str, Any]) -> str:
    """Return the type of a client's event; raise `ApiError`."""
    kind = event.get("type")
    if kind not in CLIENT_EVENTS:
        message = f"no event of type {str(kind)[:100]!r}; allowed: {listing(CLIENT_EVENTS)}"
        raise ApiError(400, message, param="type", code="unknown_event")
    return str(kind)


def audio_of(event: Mapping[str, Any]) -> bytes:
    """Return the bytes of `input_audio_buffer.append`; raise `ApiError`."""
    try:
        return base64.b64decode(event.get("audio", None), validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ApiError(400, "`audio` is no base64", param="audio", code="invalid_value") from error


def delta(item: str, text: str) -> dict[str, Any]:
    return {"type": f"{_TRANSCRIPTION}.delta", "item_id": item, "content_index": 0, "delta": text}


def committed(item: str, previous: str) -> dict[str, Any]:
    return {"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous or None}


def completed(item: str, result: Result, version: str, start_s: float) -> dict[str, Any]:
    """Return the event with an utterance's transcript; `version` is that of the recogniser."""
    event: dict[str, Any] = {
        "type": f"{_TRANSCRIPTION}.completed",
        "item_id": item,
        "content_index": 0,
        "transcript": result.text,
        "usage": {"type": "duration", "seconds": round(result.duration_s, 3)},
        "start": round(start_s, 3),
        "words": [
            {"word": word.text, "start": word.start_s, "end": word.end_s, "confidence": word.confidence}
            for word in result.words
        ],
        "model": version,
    }
    if result.hot_words:
        event["hot_words"] = [asdict(one) for one in result.hot_words]
    if result.adapter:
        event |= {"adapter": result.adapter, "speaker": result.speaker}
    return event


def failure(error: ApiError, event_id: object = None) -> dict[str, Any]:
    """Return the event that reports an error, of a client's event where it has an id."""
    content = {**error.content(), "event_id": event_id if isinstance(event_id, str) else None}
    return {"type": "error", "error": content}
