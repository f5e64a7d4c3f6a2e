"""Files of transcripts: text, JSON lines, subtitles (SRT, WebVTT), CTM of NIST's scorer, and Praat's TextGrid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr_lab.data.containers import recording_of

Row = Mapping[str, Any]
"""A transcript: `file`, `text`, `duration_s`, `words` (each `text, start_s, end_s, confidence`), perhaps an `error`."""

_CUE_S, _CUE_CHARACTERS, _PAUSE_S = 6.0, 84, 0.8
"""A cue of subtitles ends before it is longer than this (two lines of 42 characters), and at such a pause."""


def text_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield `FILE<TAB>TEXT` of each transcript."""
    return (f"{_one_field(row['file'])}\t{row['text']}\n" for row in rows if not row.get("error"))


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each transcript as JSON, also those with an error."""
    return (json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)


def ctm_name(file: str) -> str:
    """Return what a recording or utterance is called in a CTM file."""
    return "_".join(recording_of(file).split())


def ctm_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield `RECORDING CHANNEL START DURATION WORD CONFIDENCE` of each word."""
    for row in rows:
        for word in row.get("words", ()):
            name, length = ctm_name(row["file"]), word["end_s"] - word["start_s"]
            yield f"{name} 1 {word['start_s']:.3f} {length:.3f} {word['text']} {word['confidence']:.4f}\n"


def srt_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the numbered cues of a recording."""
    for row in rows:
        for number, (start_s, end_s, text) in enumerate(cues(row.get("words", ())), 1):
            yield f"{number}\n{_clock(start_s, ',')} --> {_clock(end_s, ',')}\n{text}\n\n"


def vtt_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the cues of a recording."""
    yield "WEBVTT\n\n"
    for row in rows:
        for start_s, end_s, text in cues(row.get("words", ())):
            escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            yield f"{_clock(start_s, '.')} --> {_clock(end_s, '.')}\n{escaped}\n\n"


def write_textgrid(row: Row, path: Path) -> None:
    """Write a recording's words as an interval tier `words`."""
    from praatio import textgrid

    words = row.get("words", ())
    duration_s = max([row["duration_s"], *(word["end_s"] for word in words)])
    entries = [(word["start_s"], word["end_s"], word["text"]) for word in words]
    grid = textgrid.Textgrid(0.0, duration_s)
    grid.addTier(textgrid.IntervalTier("words", entries, 0.0, duration_s))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


CTM = ".ctm"
LINES: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {
    ".txt": text_lines,
    ".jsonl": json_lines,
    CTM: ctm_lines,
    ".srt": srt_lines,
    ".vtt": vtt_lines,
}
TEXTGRID = ".textgrid"
ONE_RECORDING = (".srt", ".vtt", TEXTGRID)
"""Formats whose files hold one recording."""
SUFFIXES = (*LINES, TEXTGRID)


def cues(words: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, float, str]]:
    """Yield (start_s, end_s, text) of the cues of a recording's words."""
    cue: list[Mapping[str, Any]] = []
    for word, following in zip(words, [*words[1:], None], strict=False):
        cue.append(word)
        text = " ".join(one["text"] for one in cue)
        if (
            following is None
            or following["start_s"] - word["end_s"] > _PAUSE_S
            or following["end_s"] - cue[0]["start_s"] > _CUE_S
            or len(text) + 1 + len(following["text"]) > _CUE_CHARACTERS
        ):
            yield cue[0]["start_s"], word["end_s"], text
            cue = []


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _one_field(name: str) -> str:
    return " ".join(name.replace("\t", " ").splitlines())
