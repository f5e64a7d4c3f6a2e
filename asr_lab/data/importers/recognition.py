"""Recognise what a user wants to import: which importer reads it, by what is seen there, with which options.

Each importer of the registry names a function that looks at a source. Where several readings are possible, or none,
nothing is imported.
"""

from __future__ import annotations

import re
from pathlib import Path

from asr_lab.data.importers.audio_paths import is_audio_name
from asr_lab.data.importers.hints import quoted
from asr_lab.data.importers.readings import Recognized, readings
from asr_lab.data.importers.registry import IMPORTERS
from asr_lab.data.importers.source_view import Source
from asr_lab.data.text_files import read_table, read_text
from asr_lab.data.workbooks import SUFFIXES
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".egg", ".alz")
_DOCUMENTS = (".numbers", ".hwp", ".hwpx", ".doc", ".docx", ".pdf", ".gsheet")
_TABLES, _LINES = (".csv", ".tsv", *SUFFIXES), (".jsonl", ".json", ".ndjson")
_MOST_INNER = 60


def recognize(source: Path, out: Path) -> Recognized:
    """Return how a source is read.

    Raises `AsrLabError` that names the readings if several are possible, and otherwise what was looked for, each with
    the next command.
    """
    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source), next_command="asr-lab data import --help")
    _refuse_files(source, out)
    matches = readings(Source(source, without=out), IMPORTERS)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise AsrLabError(
            f"it can be read in {len(matches)} ways:\n    " + "\n    ".join(one.sentence for one in matches),
            where=str(source),
            allowed="one of them, named",
            next_command=("\n" + " " * 7).join(one.command(out) for one in matches),
        )
    raise _unknown(source, out)


def _refuse_files(source: Path, out: Path) -> None:
    """Raise `AsrLabError` for a file that something else has to be done with first."""
    name = source.name.lower()
    if source.is_dir():
        return
    if name.endswith(_ARCHIVES):
        folder = source.with_name(name.partition(".")[0])
        raise AsrLabError(
            "an archive: unpack it first",
            where=str(source),
            allowed="a folder, or a table",
            next_command=f"mkdir -p {quoted(str(folder))} && {_unpacking(source, folder)}, "
            f"then asr-lab data import {quoted(str(folder))} {quoted(str(out))}",
        )
    if name.endswith(_DOCUMENTS):
        table = source.with_suffix(".csv")
        raise AsrLabError(
            f"a {source.suffix} file is not read",
            where=str(source),
            allowed="CSV, with commas, semicolons or tabs, or a workbook of Excel (.xlsx)",
            hint="save its table as one of them",
            next_command=f"asr-lab data import {quoted(str(table))} {quoted(str(out))}",
        )
    if is_audio_name(name):
        raise AsrLabError(
            "one recording, without a transcript",
            where=str(source),
            allowed="a table with the columns audio, text, speaker, or a folder",
            hint=f"asr-lab transcribe {quoted(str(source))} --model MODEL transcribes it",
            next_command="asr-lab init, which writes a sample table",
        )
    if name.endswith((".yaml", ".yml")):
        raise AsrLabError(
            "a configuration, not data",
            where=str(source),
            allowed="a table, or a folder",
            next_command=f"asr-lab train {quoted(str(source))}",
        )


def _unpacking(archive: Path, folder: Path) -> str:
    """Return the command that unpacks an archive into a folder that is there."""
    file, into = quoted(str(archive)), quoted(str(folder))
    return f"unzip {file} -d {into}" if archive.suffix.lower() == ".zip" else f"tar -xf {file} -C {into}"


def _unknown(source: Path, out: Path) -> AsrLabError:
    """Return the refusal of a source that no importer recognises."""
    if source.is_file() and source.suffix.lower() in (*_TABLES, *_LINES):
        return _no_table(source, out)
    view = Source(source, without=out) if source.is_dir() else None
    if view and (known := _other_use(source, view, out)):
        return known
    looked_for = "; ".join(f"{kind}: {importer.description}" for kind, importer in IMPORTERS.items())
    holds = f"it holds {view.suffixes()}" if view and view.files else "the folder is empty" if view else ""
    return AsrLabError(
        "it is not recognised",
        where=str(source),
        allowed=looked_for if view else f"a table with a header and audio, text, speaker; or {looked_for}",
        hint=holds,
        next_command=f"asr-lab data import KIND {quoted(str(source))} {quoted(str(out))}",
    )


def _other_use(source: Path, view: Source, out: Path) -> AsrLabError | None:
    """Return the refusal of a folder that something else has to be done with than to import it; None if unknown."""
    if manifests := view.top(".jsonl.gz"):
        return AsrLabError(
            f"a folder of manifests ({listing(manifests, 4)}) needs no import",
            where=str(source),
            next_command=f"asr-lab data stats {quoted(str(source / manifests[0]))}",
        )
    if inner := _inner(view, out):
        return AsrLabError(
            "it is not recognised itself, but folders in it are:\n    "
            + "\n    ".join(one.sentence for one in inner[:6]),
            where=str(source),
            next_command=("\n" + " " * 7).join(
                one.command(out if len(inner) == 1 else out / one.source.name) for one in inner[:6]
            ),
        )
    if view.audio:
        return AsrLabError(
            f"{counted(len(view.audio), 'recording')} such as {view.audio[0]}, and no transcripts",
            where=str(source),
            allowed="a .txt beside each recording, one file with a line NAME<tab>TEXT for each, or a table with the "
            "columns audio, text, speaker",
            hint=f"it holds {view.suffixes()}",
            next_command=f"asr-lab init {quoted(str(source))}, which writes a sample table",
        )
    if archives := [name for name in view.files if name.lower().endswith(_ARCHIVES)]:
        return AsrLabError(
            f"{len(archives)} archives such as {archives[0]}: unpack them first",
            where=str(source),
            allowed="folders with audio and texts or labels",
            next_command=_unpacking(source / archives[0], source),
        )
    return None


def _no_table(source: Path, out: Path) -> AsrLabError:
    """Return why a file with the suffix of a table is none."""
    target = quoted(str(out))
    if source.suffix.lower() in _LINES:
        try:
            start = read_text(source).lstrip()[:1]
        except AsrLabError as error:
            return error
        return AsrLabError(
            f"no {'JSON array' if start == '[' else 'JSON lines'} of recordings",
            where=str(source),
            allowed='an object for each utterance: {"audio": "a.wav", "text": "...", "speaker": "mina"}',
            next_command=f"asr-lab data import jsonl {quoted(str(source))} {target}",
        )
    try:
        rows = read_table(source)
    except AsrLabError as error:
        error.next_command = re.sub(r"\bOUT\b", lambda _: target, error.next_command)
        return error
    first = listing((name or "''" for name in dict.fromkeys(rows[0].values) if name is not None), 12) if rows else ""
    if rows and is_audio_name(str(next(iter(rows[0].values)))):
        folder = quoted(str(source.parent))
        return AsrLabError(
            f"a table without a header: {first}",
            where=str(source),
            allowed="a first line with the names of the columns, such as audio,text,speaker; or names and texts alone",
            next_command=f"asr-lab data import folder {folder} {target} --transcripts {quoted(str(source))}",
        )
    return AsrLabError(
        f"its first line is not taken for a header: {first}" if rows else "a table without rows",
        where=str(source),
        allowed="a table whose first line names its columns: audio, text, speaker, ...",
        next_command=f"asr-lab data import csv {quoted(str(source))} {target}",
    )


def _inner(view: Source, out: Path) -> list[Recognized]:
    """Return the readings of folders within a folder, down to two levels; those of the upper level if there are any."""
    for depth in (1, 2):
        folders = dict.fromkeys("/".join(name.split("/")[:depth]) for name in view.files if name.count("/") >= depth)
        readable = [
            one[0]
            for name in list(folders)[:_MOST_INNER]
            if len(one := readings(Source(view.path / name, without=out), IMPORTERS)) == 1
        ]
        if readable:
            return readable
    return []
