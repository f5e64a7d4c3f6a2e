"""Data of a speaker outside the store: files in the working folder, and bundles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from asr_lab.config.names import ADAPTER_SUFFIX
from asr_lab.metrics.catalog import in_a_name
from asr_lab.tracking import artifacts
from asr_lab.tracking.archive import archive, bundle
from asr_lab.tracking.cleanup.erase import SPOOL, local_folders
from asr_lab.tracking.erasure import rewrite_bundles, scrub
from asr_lab.tracking.erasure.identity import Traces
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.tags import SPEAKER, SWEEP

_ADAPTERS, _FEATURES, _SWEEPS = Path("adapters"), Path("features"), Path("sweeps")


@dataclass
class Bundles:
    """Bundles by what happens to them."""

    own: list[str] = field(default_factory=list)
    """Of the speaker's own runs: erased."""
    others: list[str] = field(default_factory=list)
    """Of runs shared with others: rewritten without the speaker."""
    missing: list[str] = field(default_factory=list)
    """Moved or deleted."""


def adapter_files() -> dict[str, Path]:
    """Return speaker -> the file of their adapter in the working folder."""
    return {path.name.removesuffix(ADAPTER_SUFFIX): path for path in _ADAPTERS.glob(f"*{ADAPTER_SUFFIX}")}


def local_files(speaker: str, known_as: Set[str], runs: Sequence[Record]) -> list[Path]:
    """Return a speaker's files in the working folder: adapter, features, checkpoints, spools, sweeps."""
    own = [path for name, path in adapter_files().items() if name == speaker]
    features = [path for path in _FEATURES.rglob("*") if path.name.split(".")[0] in known_as]
    spools = [path for path in _spools() if _is_of(path, speaker)]
    folders = [folder for one in runs for folder in local_folders(one.run_id)]
    return list(dict.fromkeys([*own, *features, *spools, *folders, *_of_sweeps(runs)]))


def _of_sweeps(runs: Sequence[Record]) -> list[Path]:
    """Return the journals and results of the sweeps of these runs, not of other sweeps with the same name."""
    files: list[Path] = []
    for name in _sweeps(runs):
        journal = _SWEEPS / f"{name}.journal"
        text = journal.read_text(encoding="utf-8", errors="replace") if journal.is_file() else ""
        if not text or any(one.run_id in text for one in runs):
            beside = [Path(f"{journal}.{kind}") for kind in ("lock", "locks", "jobs")]
            files += [journal, *beside, _SWEEPS / f"{name}-best.yaml"]
    return [path for path in files if path.exists()]


def studies_elsewhere(runs: Sequence[Record]) -> list[str]:
    """Return the sweeps of these runs without a journal in the working folder: in a database or elsewhere."""
    return [name for name in _sweeps(runs) if not (_SWEEPS / f"{name}.journal").is_file()]


def _sweeps(runs: Iterable[Record]) -> list[str]:
    return sorted({one.tags[SWEEP] for one in runs if SWEEP in one.tags})


def unshipped_spools(traces: Traces, excluded: Iterable[Path]) -> list[Path]:
    """Return spools of other runs that hold data of the speaker."""
    return [path for path in _spools() if path not in set(excluded) and _mentions(path, traces)]


def _spools() -> list[Path]:
    return [path for path in sorted(SPOOL.glob("*")) if path.is_dir()]


def _is_of(spool: Path, speaker: str) -> bool:
    """Return whether a spool is of a run of this speaker."""
    names = {json.dumps(speaker, ensure_ascii=plain) for plain in (True, False)}  # header and events differ in it
    marks = [f'"{SPEAKER}":{space}{name}' for name in names for space in ("", " ")]
    return any(mark in text for text in _texts(spool) for mark in marks)


def _texts(spool: Path) -> Iterable[str]:
    return (path.read_text(encoding="utf-8", errors="replace") for path in spool.glob("*.json*"))


def _mentions(spool: Path, traces: Traces) -> bool:
    figures = [f'_by_speaker/{in_a_name(name)}"' for name in traces.known_as]
    return any(figure in text for text in _texts(spool) for figure in figures) or any(
        scrub.count_rows(path).keys() & traces.known_as for path in spool.glob("files/**/*.parquet")
    )


def bundles(own: Sequence[Record], others: Sequence[Record], searched: Sequence[str], traces: Traces) -> Bundles:
    """Return the bundles that runs were archived to, and those in the searched folders."""
    result = Bundles()
    for runs, part in ((own, result.own), (others, result.others)):
        for location in dict.fromkeys(place for one in runs for place in archive.locations(one.tags)):
            (part if archive.bundle_exists(location) else result.missing).append(location)
    ids = {one.run_id for one in own}
    for location in (one for folder in searched for one in artifacts.list_files(folder, bundle.SUFFIX)):
        if location in result.own or location in result.others:
            continue
        content = rewrite_bundles.inspect_bundle(location, traces)
        if content.speaker == traces.speaker or content.run_id in ids or content.alone:
            result.own.append(location)
        elif content.evaluated_with_others:
            result.others.append(location)
    return result
