"""Find what a recipe of Lhotse's drops: rows of its tables, supervisions without audio, and what it warns of."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.text_files import lines
from asr_lab.errors import listing
from asr_lab.units import counted

_SUFFIXES = r"wav|flac|mp3|ogg|opus|m4a|sph|pcm|aac|aiff?|shn|wv[12]?|raw"
_AUDIO_NAME = re.compile(rf"([^\s\"'|,;<>=:(){{}}\[\]/\\]+)\.(?:{_SUFFIXES})(?![\w.])", re.IGNORECASE)
_IS_AUDIO = re.compile(rf"\.(?:{_SUFFIXES})$", re.IGNORECASE)
_KEY = re.compile(r"[^\s|,;:]+")
_PATH = re.compile(r"\S*/\S+")
_MARKS = "'\",.:;"
_MOST_WARNINGS = 5


class Watch(logging.Handler):
    """Notes the files that a recipe opens, and its warnings."""

    current: Watch | None = None

    def __init__(self, root: Path) -> None:
        super().__init__(logging.WARNING)
        self.roots = [root]
        """The folder of the corpus, and those with copies of its files or links to them."""
        self.opened: dict[Path, None] = {}
        """Relative to the folder of the corpus."""
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.warnings.append(" ".join(record.getMessage().split()))

    def opening(self, path: Any) -> None:
        """Keep a file of the corpus that is no audio."""
        if isinstance(path, str | os.PathLike):
            file = Path(os.fsdecode(path)).absolute()
            for root in (form for one in self.roots for form in (one.absolute(), one.resolve())):
                if file.is_relative_to(root) and not _IS_AUDIO.search(file.name):
                    self.opened[file.relative_to(root)] = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and Watch.current is not None:
        Watch.current.opening(arguments[0])


@contextmanager
def watched(source: Path) -> Iterator[Watch]:
    """Watch what is opened and warned of."""
    if not getattr(_hook, "is_added", False):
        sys.addaudithook(_hook)  # for good: Python removes none
        _hook.is_added = True  # type: ignore[attr-defined]
    watch, root = Watch(source), logging.getLogger()
    root.addHandler(watch)
    Watch.current = watch
    try:
        yield watch
    finally:
        Watch.current = None
        root.removeHandler(watch)


def add_losses(report: ImportReport, watch: Watch, source: Path, cuts: Iterable[Cut]) -> None:
    """Add a fault for each row of a table that the recipe read without an utterance, and notes on the rest."""
    used = {id for cut in cuts for id in _names(cut)} | {fault.item for fault in report.faults}
    audio = {path.stem for path in audio_files(source)}
    lost: set[str] = set()
    for table in _tables(watch, source):
        for item, line in _rows_without(table, used):
            if item not in lost:
                why = "Lhotse's recipe leaves it out" if item in audio else "its audio file is not there"
                report.add(item, why, file=table, line=line)
                lost.add(item)
    other: Counter[str] = Counter()
    for warning in watch.warnings:
        path = next((text for text in _PATH.findall(warning) if _IS_AUDIO.search(text.strip(_MARKS))), "")
        item = Path(path.strip(_MARKS)).stem
        if not path or item in used:
            other[warning] += 1
        elif item not in lost:
            kind = _PATH.sub("", warning).strip(" :.") or "Lhotse warns of it"
            report.add(item, kind.replace(": ", " "), path)
            lost.add(item)
    if other:
        report.notes.append(f"Lhotse's recipe warned {other.total()} times: {listing(other, _MOST_WARNINGS)}")
    if unused := sorted(audio - used - lost):
        report.notes.append(
            f"{counted(len(unused), 'audio file')} under {source} in no utterance: {listing(unused, 6)}"
        )


def rows_without_audio(watch: Watch, source: Path, faulty: Set[Path]) -> dict[Path, dict[int, str]]:
    """Return table -> line -> name, for the rows of the tables of utterances whose audio is not there, or faulty."""
    there = {path.stem for path in audio_files(source) if path not in faulty}
    rows = {table: {line: name for name, line in _rows_without(table, there)} for table in _tables(watch, source)}
    return {table: lines for table, lines in rows.items() if lines}


def _tables(watch: Watch, source: Path) -> list[Path]:
    """Return the files that the recipe opened, as paths under `source`."""
    return [source / table for table in watch.opened]


def _names(cut: Cut) -> set[str]:
    """Return the names by which a table may list an utterance."""
    files = {Path(str(source.source)).stem for source in cut.recording.sources}
    return {cut.id, cut.recording.id, manifest.supervision(cut).id, *files}


def audio_files(source: Path) -> Iterator[Path]:
    """Yield the audio files under a folder."""
    for folder, _, names in os.walk(source):
        yield from (Path(folder, name) for name in names if _IS_AUDIO.search(name))


def _rows_without(table: Path, used: set[str]) -> Iterator[tuple[str, int]]:
    """Yield (name, line) of each row of a table that is in no utterance; none for a table of something else.

    Rows are those with names of audio files; without any, a third at least begins with the id of an utterance.
    """
    content = table.read_bytes() if table.is_file() else b""
    rows = list(enumerate(lines(content.decode(errors="replace") if b"\0" not in content else ""), start=1))
    named = [(match[1], line) for line, text in rows for match in _AUDIO_NAME.finditer(text)]
    if named:
        is_of_utterances = any(name in used for name, _ in named)
    else:
        named = [(match[0], line) for line, text in rows if (match := _KEY.match(text))]
        if named and named[0][0] not in used:
            named = named[1:]  # a header
        is_of_utterances = 3 * sum(name in used for name, _ in named) >= len(named) > 0
    if is_of_utterances:
        yield from ((name, line) for name, line in named if name not in used)
