"""Shared by the commands that write manifests: progress bar, overwrite check, and summary."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from asr_lab.cli.options import console, echo
from asr_lab.data.identity import FOLDER
from asr_lab.errors import AsrLabError, listing


@contextmanager
def progress_bar(what: str) -> Iterator[Any]:
    """Show a progress bar; yields a function of (done, total), where total 0 is unknown."""
    with Progress(console=console(), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing manifests.")


def check_overwrite(paths: Sequence[Path], overwrite: bool, left_over: Sequence[Path] = ()) -> None:
    """Raise `AsrLabError` if manifests would be replaced, or `left_over` ones removed, without --overwrite."""
    there = [str(path) for path in paths if path.exists()]
    if overwrite or not (there or left_over):
        return
    would = [f"{', '.join(there)} would be replaced"] if there else []
    if left_over:
        would.append(f"{', '.join(map(str, left_over))} of an earlier call would be removed")
    raise AsrLabError("; ".join(would), allowed="another folder, or --overwrite")


def refuse_to_remove(source: Path, paths: Sequence[Path]) -> None:
    """Raise `AsrLabError` if the `source` of a command is among manifests that would be removed as stale."""
    if any(path.resolve() == source.resolve() for path in paths):
        raise AsrLabError(
            f"{source} would be removed: it looks like the output of an earlier call",
            allowed="another folder",
        )


def remove_stale(paths: Sequence[Path], source: Path) -> None:
    """Remove manifests of an earlier call that this call does not replace, and report them.

    Raises `AsrLabError`, and removes nothing, if one of them is the `source`.
    """
    from asr_lab.data.manifest_table import remove_tables

    refuse_to_remove(source, paths)
    for path in paths:
        path.unlink()
        remove_tables(path)  # they hold what it held
        echo(f"removed {path} of an earlier call")
        if path.parent.name.startswith("fold") and {one.name for one in path.parent.iterdir()} <= {FOLDER}:
            shutil.rmtree(path.parent)


def parse_range(text: str, what: str) -> tuple[float, float]:
    """Parse `1-5`, `10,30` or `7` as (low, high)."""
    try:
        low, _, high = text.replace(",", "-", 1).partition("-")
        bounds = float(low), float(high or low)
    except ValueError as error:
        raise AsrLabError(f"{what} is not a number or a range: {text!r}", allowed="such as 5 or 1-5") from error
    if bounds[0] > bounds[1]:
        raise AsrLabError(f"{what} has its lower bound last: {text!r}", allowed=f"{high}-{low}")
    return bounds


def print_summary(cuts: Any, path: Path) -> None:
    """Print the size of a manifest, the conversions when its audio is read, its marks, and what was guessed."""
    from asr_lab.data import columns, guesses
    from asr_lab.data.transcript_marks import CANDIDATE, MarkCounts
    from asr_lab.units import SAMPLE_RATE, counted, hms

    several, other = columns.converted(cuts, SAMPLE_RATE)
    speakers = columns.factor(cuts, "speaker").values
    seconds = hms(columns.seconds(cuts))
    echo(f"{path}: {counted(len(cuts), 'utterance')} of {counted(len(speakers), 'speaker')}, {seconds}")
    if several:
        echo(f"  {several} have several channels, mixed to one when read")
    if other:
        echo(f"  {other} are not at {SAMPLE_RATE} Hz, resampled when read")
    marks = MarkCounts.of(columns.texts_with(cuts, CANDIDATE))
    for note in (*marks.notes(), *guesses.notes([cuts])):
        echo(f"  {note}")


def annotated_cuts_of(cuts: Any, where: str) -> list[Any]:
    """Return the utterances with pronunciation labels, checked; where none has any, nothing else is loaded."""
    if not {"perceived", "errors"} & cuts.field_names():
        return []
    from asr_lab.data.pronunciation_stats import annotated

    return annotated(cuts, where)


def named_pairs(shared: Mapping[str, list[str]]) -> str:
    """Format pairs of manifests with the files that they share."""
    return "; ".join(f"{pair} {len(files)} ({listing(files, 3)})" for pair, files in shared.items())
