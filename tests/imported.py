"""Small tables beside recordings, and what is imported of a source: its cuts, texts, speakers and faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpora import sound
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.importers.contract import ImportResult
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.registry import import_corpus

LONG_S = 7.83


def recordings(folder: Path) -> Path:
    """Write `long.wav` of `LONG_S`, `a.wav`, `b.wav`, and `stereo.wav` of two channels."""
    sound(folder / "long.wav", LONG_S)
    sound(folder / "a.wav", 1.0)
    sound(folder / "b.wav", 1.2)
    sound(folder / "stereo.wav", 2.0, channels=2)
    return folder


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    """Write `t.jsonl`; a row says what differs from "a b" by ann in `long.wav`."""
    path = folder / "t.jsonl"
    rows = tuple({"audio": "long.wav", "text": "a b", "speaker": "ann"} | row for row in rows)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


def kaldi(folder: Path, **files: str) -> Path:
    """Write a data folder of Kaldi: two segments of `long.wav`; `files` replace or add files."""
    files = {
        "wav_scp": "rec1 long.wav\n",
        "text": "u1 hello there\nu2 the rest\n",
        "utt2spk": "u1 ann\nu2 bob\n",
        "segments": "u1 rec1 0.5 1.7\nu2 rec1 3.0 -1\n",
        "spk2gender": "ann f\nbob m\n",
    } | files
    for name, text in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(text, encoding="utf-8")
    return folder


def read(kind: str, source: Path, **options: Any) -> ImportResult:
    return import_corpus(kind, source, source.parent / "out", options)


def cuts_of(kind: str, source: Path, **options: Any) -> list[Cut]:
    return [cut for cuts in read(kind, source, **options).splits.values() for cut in cuts]


def faults(kind: str, source: Path, **options: Any) -> list[tuple[int, str]]:
    """Line and kind of each fault of an import that is refused."""
    with pytest.raises(ImportRefusedError) as error:
        read(kind, source, **options)
    return [(fault.line, fault.kind.partition(",")[0]) for fault in error.value.report.faults]


def texts(result: ImportResult) -> dict[str, list[str]]:
    return {split: [manifest.text(cut) for cut in cuts] for split, cuts in result.splits.items()}


def speakers(result: ImportResult) -> set[str]:
    return {str(manifest.supervision(cut).speaker) for cuts in result.splits.values() for cut in cuts}


def guessed(result: ImportResult) -> set[str | None]:
    return {manifest.field(cut, "guessed") for cuts in result.splits.values() for cut in cuts}
