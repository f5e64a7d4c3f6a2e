"""The fields of `POST /v1/audio/transcriptions` and its answers, in the shapes of OpenAI's API."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response

from asr_lab.errors import listing, nearest
from asr_lab.reports.transcript_files import cues, srt_lines, vtt_lines
from asr_lab.serving.engine import Result
from asr_lab.serving.http_errors import ApiError
from asr_lab.serving.tables import split_hot_words
from asr_lab.units import counted

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
GRANULARITIES = ("segment", "word")
IGNORED = ("language", "temperature", "chunking_strategy")
"""Fields of OpenAI's that change nothing here; an answer names those it was given in `IGNORED_HEADER`."""
IGNORED_HEADER = "X-Ignored-Fields"
IDLE_HEADER = "X-Hot-Words-Without-Effect"
"""Percent-encoded, separated by commas."""
MOST_HOT_WORDS = 100
_GRANULARITIES = "timestamp_granularities[]"
_FIELDS = ("file", "model", "response_format", _GRANULARITIES, "prompt", "stream", *IGNORED)
_UNKNOWN_LANGUAGE = "und"  # BCP 47: undetermined


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A request's fields."""

    upload: UploadFile
    model: str
    format: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    hot_words: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def needs_words(self) -> bool:
        return self.format in ("srt", "vtt", "verbose_json")

    @classmethod
    def of(cls, form: FormData) -> Wanted:
        """Read a form; raise `ApiError` for what is missing, unknown, or cannot be done."""
        for field in form:
            if field.removesuffix("[]") not in {known.removesuffix("[]") for known in _FIELDS}:
                near = nearest(field, _FIELDS)
                known = f"did you mean {near!r}?" if near else f"allowed: {listing(_FIELDS)}"
                raise ApiError(400, f"there is no field {field[:100]!r}; {known}", param=field[:100])
        for field in set(form) - {_GRANULARITIES, _GRANULARITIES.removesuffix("[]")}:
            if len(form.getlist(field)) > 1:
                raise ApiError(400, f"the field `{field}` was given several times", param=field)
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise ApiError(400, "the field `file` is missing, or no file", param="file")
        if _text(form, "stream").lower() not in ("", "false", "0"):
            raise ApiError(400, "answers are not streamed; allowed: stream=false", param="stream")
        format = _text(form, "response_format") or "json"
        if format not in FORMATS:
            message = f"no response_format {format[:100]!r}; allowed: {listing(FORMATS)}"
            raise ApiError(400, message, param="response_format")
        if not (model := _text(form, "model")):
            raise ApiError(400, "the field `model` is missing; GET /v1/models lists the names", param="model")
        given = tuple(field for field in IGNORED if field in form)
        return cls(
            upload=upload,
            model=model,
            format=format,
            granularities=_granularities(form, format),
            hot_words=hot_words_of(_text(form, "prompt")),
            ignored=given,
        )


def _text(form: FormData, field: str) -> str:
    value = form.get(field, "")
    if not isinstance(value, str):
        raise ApiError(400, f"the field `{field}` is a file, and has to be text", param=field)
    return value.strip()


def hot_words_of(prompt: str, param: str = "prompt") -> tuple[str, ...]:
    """Return the hot words of a prompt, which the field `param` holds; raise `ApiError` for too many."""
    words = split_hot_words(prompt)
    if len(words) > MOST_HOT_WORDS:
        message = f"the prompt has {counted(len(words), 'hot word')}; allowed: {MOST_HOT_WORDS}, separated by commas"
        raise ApiError(400, message, param=param)
    return words


def _granularities(form: FormData, format: str) -> tuple[str, ...]:
    given = [*form.getlist(_GRANULARITIES), *form.getlist(_GRANULARITIES.removesuffix("[]"))]
    for value in given:
        if value not in GRANULARITIES:
            message = f"no timestamp granularity {str(value)[:100]!r}; allowed: {listing(GRANULARITIES)}"
            raise ApiError(400, message, param=_GRANULARITIES)
    if given and format != "verbose_json":
        message = f"{_GRANULARITIES} has no effect on response_format {format}; allowed: verbose_json"
        raise ApiError(400, message, param=_GRANULARITIES)
    return tuple(str(value) for value in given) or ("segment",)


def answer(wanted: Wanted, result: Result, version: str) -> Response:
    """Return the response for a transcript; `version` is that of the recogniser."""
    headers = {IGNORED_HEADER: ", ".join(wanted.ignored)} if wanted.ignored else {}
    if idle := [one.word for one in result.hot_words if not one.has_effect]:
        headers[IDLE_HEADER] = ",".join(map(quote, idle))
    row = {"file": "", "text": result.text, "words": [asdict(word) for word in result.words]}
    if wanted.format == "srt":
        return PlainTextResponse("".join(srt_lines([row])), headers=headers)
    if wanted.format == "vtt":
        return PlainTextResponse("".join(vtt_lines([row])), headers=headers)
    if wanted.format == "text":
        return PlainTextResponse(f"{result.text}\n", headers=headers)
    content: dict[str, Any] = {"text": result.text, "model": version}
    if result.adapter:
        content |= {"adapter": result.adapter, "speaker": result.speaker}
    if result.hot_words:
        content["hot_words"] = [asdict(one) for one in result.hot_words]
    if wanted.format == "verbose_json":
        content |= _verbose(wanted, result, row["words"])
    return JSONResponse(content, headers=headers)


def _verbose(wanted: Wanted, result: Result, words: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "task": "transcribe",
        "language": _UNKNOWN_LANGUAGE,
        "duration": round(result.duration_s, 3),
    }
    if "segment" in wanted.granularities:
        content["segments"] = [_segment(number, words, *cue) for number, cue in enumerate(cues(words))]
    if "word" in wanted.granularities:
        content["words"] = [
            {
                "word": word["text"],
                "start": round(word["start_s"], 3),
                "end": round(word["end_s"], 3),
                "confidence": round(word["confidence"], 4),
            }
            for word in words
        ]
    return content


def _segment(number: int, words: list[Mapping[str, Any]], start_s: float, end_s: float, text: str) -> dict[str, Any]:
    """Return a cue with all fields that clients of OpenAI's API ask for; what only Whisper has is 0 or empty."""
    inside = [word["confidence"] for word in words if start_s <= word["start_s"] and word["end_s"] <= end_s]
    return {
        "id": number,
        "seek": 0,
        "start": round(start_s, 3),
        "end": round(end_s, 3),
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(math.log(max(one, 1e-10)) for one in inside) / max(1, len(inside)), 4),
        "compression_ratio": round(len(text.encode()) / len(zlib.compress(text.encode())), 3),
        "no_speech_prob": 0.0,
    }
