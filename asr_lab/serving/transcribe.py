"""Transcribe many files: in parallel, resumable, into one file or one per recording."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from lhotse.cut import Cut

from asr_lab.data.containers import recording_of
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import Interval, rate_interval
from asr_lab.reports.transcript_files import CTM, LINES, ONE_RECORDING, SUFFIXES, TEXTGRID, ctm_name, write_textgrid
from asr_lab.serving import workers as parallel
from asr_lab.serving.engine import Engine, Request, Result
from asr_lab.serving.sources import Source
from asr_lab.serving.transcript_journal import TranscriptJournal
from asr_lab.system.files import atomic_file, explain_unwritable
from asr_lab.units import hms

EACH = "{}"
"""In a path: the name of each recording."""


@dataclass(frozen=True)
class Job:
    """What to transcribe, and with which adapter each."""

    sources: Sequence[Source]
    adapter_of: Callable[[Source], str]
    workers: int = 1

    def adapters(self, engine: Engine) -> str:
        """Return what results depend on beside the model: the versions of the adapters, of many their digest."""
        names = sorted({self.adapter_of(source) for source in self.sources} - {""})
        versions = [one.version for name in names if (one := engine.adapter(name))]
        several = hashlib.sha256("\n".join(versions).encode()).hexdigest()[:12]
        return versions[0] if len(versions) == 1 else f"{len(versions)} adapters#{several}" if versions else ""


@dataclass
class Speed:
    """How much speech was transcribed, and how fast."""

    began: float
    speech_s: float = 0.0
    done: int = 0

    @property
    def text(self) -> str:
        """Such as `12 hours an hour`."""
        passed = max(1e-9, time.monotonic() - self.began)
        rate = self.speech_s / passed
        return f"{rate:.0f} hours an hour" if rate >= 10 else f"{rate:.1f} hours an hour"

    def left(self, rest: int) -> str:
        """Estimate the time that so many more take."""
        return hms((time.monotonic() - self.began) / max(1, self.done) * rest)


def transcribe(engine: Engine, job: Job, *, words: bool) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Yield each source with its result as a row, in order; an unreadable one has an `error`."""
    requests = (
        Request(audio=one.audio, adapter=job.adapter_of(one), name=one.name, words=words) for one in job.sources
    )
    results = parallel.transcribe(engine, requests, job.workers)
    yield from zip(job.sources, (row_of(*pair) for pair in zip(job.sources, results, strict=True)), strict=True)


def row_of(source: Source, result: Result) -> dict[str, Any]:
    """Return a result as JSON has it: `file` or `id`, `text`, what was asked for, and notes."""
    row: dict[str, Any] = {"file": source.name, "text": result.text, "duration_s": round(result.duration_s, 3)}
    if isinstance(source.audio, Cut):
        row["audio"] = os.path.normpath(source.audio.recording.sources[0].source)
    row["words"] = [asdict(word) for word in result.words]
    if source.reference is not None:
        row["reference"] = source.reference
    more: dict[str, Any] = {"speaker": result.speaker or source.speaker, "adapter": result.adapter}
    more["hot_words"] = [asdict(one) for one in result.hot_words]
    row |= {name: value for name, value in more.items() if value}
    return row | {"error": result.error.what if result.error else "", "note": result.note}


def check_out(out: Path, sources: Sequence[Source], *, resume: bool, overwrite: bool) -> None:
    """Raise `AsrLabError` if the output has no known format, cannot hold these recordings, or would be replaced."""
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise AsrLabError(f"--out {out}: unknown format {suffix or 'without suffix'!r}", allowed=listing(SUFFIXES))
    if suffix in ONE_RECORDING and len(sources) > 1 and EACH not in out.name:
        raise AsrLabError(
            f"{out} holds one recording, and there are {len(sources)}",
            allowed=f"one file each: --out {out.with_name(f'{EACH}{out.suffix}')}, or .txt, .jsonl, .ctm",
        )
    if EACH in str(out.parent):
        raise AsrLabError(f"{EACH} stands for recordings in the name of a file, not of a folder", where=str(out))
    files: dict[Path, str] = {}
    for source in sources:
        file = _file_of(out, source.name)
        if EACH in out.name and file in files:
            raise AsrLabError(f"{files[file]} and {source.name} would be one file", where=str(file))
        files[file] = source.name
    if suffix == CTM:
        _check_ctm_names(sources, out)
    if folders := [str(file) for file in files if file.is_dir()]:
        are = "is a folder" if len(folders) == 1 else "are folders"
        raise AsrLabError(f"{listing(folders, 3)} {are}", allowed="the name of a file")
    there = [str(file) for file in files if file.exists()]
    goes_on = resume and TranscriptJournal(out).path.is_file()
    if there and not (goes_on or overwrite):
        allowed = "--overwrite, or another --out" + ("" if resume else "; --resume continues the call that wrote them")
        raise AsrLabError(f"{listing(there, 3)} would be replaced", allowed=allowed)


def _check_ctm_names(sources: Sequence[Source], out: Path) -> None:
    """Raise `AsrLabError` if a scorer would take two recordings for one."""
    names: dict[str, str] = {}
    for source in sources:
        other = names.setdefault(ctm_name(source.name), source.name)
        if other != source.name:
            raise AsrLabError(
                f"{other} and {source.name} would be one recording, {ctm_name(other)}",
                where=str(out),
                allowed="recordings with different names, or --out NAME.jsonl",
            )


def unique(sources: Sequence[Source]) -> list[Source]:
    """Return the sources with each name once; raise `AsrLabError` if two of other audio have one name."""
    by_name: dict[str, Source] = {}
    for source in sources:
        other = by_name.setdefault(source.name, source)
        if other.state != source.state or isinstance(other.audio, Cut) != isinstance(source.audio, Cut):
            raise AsrLabError(f"two utterances are called {source.name!r}", allowed="manifests with different ids")
    return list(by_name.values())


def write(out: Path, sources: Sequence[Source], journal: TranscriptJournal, new: Container[str]) -> list[Path]:
    """Write the results there are into the output, or one file per recording; return the files.

    Of files per recording, those that are there stay as they are, but for `new` results, by the names of sources.
    """
    if EACH not in out.name:
        _write(out, journal.rows(sources))
        return [out]
    files = []
    for row in journal.rows(sources):
        if not row.get("error"):
            files.append(_file_of(out, row["file"]))
            if row["file"] in new or not files[-1].exists():
                _write(files[-1], iter([row]))
    return files


def _file_of(out: Path, name: str) -> Path:
    """Return the file of a recording or an utterance."""
    return out.with_name(out.name.replace(EACH, Path(recording_of(name)).name))


def _write(file: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    hint = "what was transcribed is in the journal: the same command with --resume continues"
    with explain_unwritable("the transcripts", file, hint=hint), atomic_file(file) as written:
        if file.suffix.lower() == TEXTGRID:
            for row in rows:
                write_textgrid(row, written)
            return
        with written.open("w", encoding="utf-8") as lines:
            lines.writelines(LINES[file.suffix.lower()](rows))


def word_error_rate(rows: Iterator[Mapping[str, Any]], normalizer: TextNormalizer) -> tuple[Interval, int] | None:
    """Return the WER with its interval, and the number of utterances with a reference; None if there is none."""
    scored = [
        (str(number), normalizer(row["reference"]), normalizer(row["text"]))
        for number, row in enumerate(rows)
        if row.get("reference") and not row.get("error")
    ]
    if not scored:
        return None
    frame: pd.DataFrame = error_rates.score({id: ref for id, ref, _ in scored}, {id: hyp for id, _, hyp in scored})
    return rate_interval(error_rates.word_errors(frame).to_numpy(), frame["words"].to_numpy()), len(scored)


def usable_workers(wanted: int, count: int) -> int:
    """Return how many processes to use for so many files: those wanted, else one for each free core."""
    from asr_lab.system.threads import busy_cores, usable_cores

    if wanted:
        return min(wanted, count)
    cores = usable_cores()
    if count < 2 * len(cores) or len(cores) < 2:
        return 1
    free = len(cores)
    with suppress(OSError):
        free = round(len(cores) - busy_cores(cores))
    return max(1, min(free, count))
