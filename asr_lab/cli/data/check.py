"""`asr-lab data check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.data.manifest_output import (
    annotated_cuts_of,
    check_overwrite,
    named_pairs,
    overwrite_option,
    print_summary,
    progress_bar,
)
from asr_lab.cli.data.next_steps import whole_manifest
from asr_lab.cli.options import echo
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.units import all_of, counted

if TYPE_CHECKING:
    import pandas as pd

    from asr_lab.data.audio_measures import Measurements
    from asr_lab.data.table_utterances import Utterances

_PATH = click.Path(path_type=Path)
_MOST_NAMED, _MOST_FAULTS = 3, 20
REPORT = "check.csv"


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=_PATH)
@click.option(
    "--disjoint", metavar="FIELD", help="Check that no value of this field (speaker, recording) is in two manifests."
)
@click.option("--nested", is_flag=True, help="Check that each manifest contains all utterances of the previous one.")
@click.option("--model", help="Also find utterances with a far higher loss than others under this recogniser.")
@click.option("--out", type=_PATH, help=f"Folder for {REPORT} and the manifests without what is to be dropped.")
@click.option("--drop", metavar="KIND,...", help="What --out leaves out.  [all kinds but clipped and outlier]")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Number of processes.  [one per core]")
@overwrite_option
def check(
    manifests: tuple[Path, ...],
    disjoint: str | None,
    nested: bool,
    model: str | None,
    out: Path | None,
    drop: str | None,
    workers: int,
    overwrite: bool,
) -> None:
    """Read all audio of the manifests, on all cores, and report what is wrong with it.

    \b
      unreadable   missing, cut off, not audio, or too short
      rate         another sampling rate than the manifest says
      duration     another duration of the recording than the manifest says
      changed      not the audio that was imported
      silent       less than 0.1 s above -50 dB of full scale
      clipped      0.1 % of the samples or more are clipped
      duplicate    the audio and the text of another utterance of the manifest
      conflicting  the audio of an utterance with another text
      shared       the audio of an utterance of a later manifest
      outlier      a far higher loss than others (--model): text and audio may differ

    The first four cannot be used: the command fails, unless --out writes manifests without them. Name train first and
    test last: of audio that is shared, the manifest named first loses it. Also checks the consistency of pronunciation
    labels. The same command resumes an interrupted one.

    \b
    Examples:
      asr-lab data check corpora/mine/train.jsonl.gz
      asr-lab data check train.jsonl.gz val.jsonl.gz test.jsonl.gz --disjoint speaker
      asr-lab data check train.jsonl.gz val.jsonl.gz test.jsonl.gz --out cleaned
      asr-lab data check phase1.jsonl.gz phase2.jsonl.gz phase3.jsonl.gz --nested
      asr-lab data check train.jsonl.gz --model models:/deepspeech2@champion --out cleaned
    """
    from asr_lab.data.audio_findings import find
    from asr_lab.data.table_utterances import Utterances

    paths = list(dict.fromkeys(one for path in manifests for one in _manifests(path)))
    kinds = _kinds(drop, out)
    targets = _targets(paths, out, overwrite)
    cuts_by_path = {str(path): Utterances.read(path) for path in paths}
    _check_parts(cuts_by_path, disjoint, nested)
    for path, cuts in cuts_by_path.items():
        if annotated := annotated_cuts_of(cuts, path):
            echo(f"{path}: the pronunciation labels of {len(annotated)} utterances are consistent")
    with ExitStack() as stack:
        measured = dict(_measured(cuts_by_path, stack, workers))
        losses = _losses(measured, model) if model else {}
        findings = find(measured, losses)
        if out:
            _write(cuts_by_path, findings, kinds, targets, out)
        for one in (*losses.values(), *measured.values()):
            one.remove()
    _report(cuts_by_path, findings)
    if not nested:
        _warn_of_contained(cuts_by_path)
    if not out:
        _refuse_faulty(cuts_by_path, findings)


def _manifests(path: Path) -> list[Path]:
    """Return the manifests of a folder; of another path itself."""
    from asr_lab.data.identity import SUFFIX

    return (sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else []) or [whole_manifest(path)]


def _kinds(drop: str | None, out: Path | None) -> list[str]:
    """Return the kinds of findings that are left out of cleaned manifests."""
    from asr_lab.data.audio_findings import DROPPED, KINDS

    if drop is None:
        return list(DROPPED)
    if not out:
        raise AsrLabError("--drop has no effect without --out, which writes manifests")
    kinds = [kind.strip() for kind in drop.split(",") if kind.strip()]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        near = nearest(unknown[0], KINDS)
        raise AsrLabError(
            f"--drop {listing(unknown)}: no such kind of finding",
            allowed=listing(KINDS),
            hint=f"did you mean {near!r}?" if near else "",
        )
    return kinds


def _targets(paths: list[Path], out: Path | None, overwrite: bool) -> dict[str, Path]:
    """Return the cleaned manifest of each manifest; none without `out`."""
    if not out:
        return {}
    targets = {str(path): out / path.name for path in paths}
    if len(set(targets.values())) < len(paths):
        raise AsrLabError("manifests of one name would be one file", where=str(out), allowed="manifests of other names")
    if own := [str(path) for path in paths if targets[str(path)].resolve() == path.resolve()]:
        raise AsrLabError(f"{listing(own)} would be replaced", where=str(out), allowed="another folder")
    check_overwrite([*targets.values(), out / REPORT], overwrite)
    return targets


def _check_parts(cuts_by_path: Mapping[str, Utterances], disjoint: str | None, nested: bool) -> None:
    """Check what does not need the audio."""
    from asr_lab.data import curriculum
    from asr_lab.data.audio_findings import shared_recordings

    if len(cuts_by_path) < 2 and (disjoint or nested):
        raise AsrLabError(
            f"{'--disjoint' if disjoint else '--nested'} compares manifests, and only one is given",
            where=next(iter(cuts_by_path)),
            allowed="at least two manifests",
        )
    if disjoint == "recording":
        if shared := shared_recordings(cuts_by_path):
            raise AsrLabError(
                "the manifests are not disjoint by recording: " + named_pairs(shared),
                allowed="no audio file in two of them",
            )
    elif disjoint and (lacking := curriculum.check_disjoint(cuts_by_path, disjoint)):
        echo(f"  warning: {counted(lacking, 'utterance', 'have')} no {disjoint}: not compared", err=True)
    if disjoint:
        echo(f"no {disjoint} is in two of {len(cuts_by_path)} manifests")
    if nested:
        curriculum.check_nested(cuts_by_path)
        echo(f"each of {len(cuts_by_path)} manifests contains the previous one")


def _measured(
    cuts_by_path: Mapping[str, Utterances], stack: ExitStack, workers: int
) -> Iterator[tuple[str, Measurements]]:
    """Read the audio of each manifest, none of which another process checks until the stack is closed."""
    from asr_lab.data.audio_measures import Measurements

    for path, cuts in cuts_by_path.items():
        one = Measurements(cuts)
        stack.enter_context(one.alone())
        with progress_bar("reading") as progress:
            if earlier := one.run(workers=workers, progress=progress):
                echo(f"{path}: {earlier} of {len(cuts)} utterances were already read by an interrupted call")
        yield path, one


def _losses(measured: Mapping[str, Measurements], model: str) -> dict[str, Measurements]:
    """Compute the losses under a model of the utterances of each manifest."""
    from asr_lab.models import load_model
    from asr_lab.recipes.selection.losses import measure_losses
    from asr_lab.tracking.models.model_store import MlflowStore

    store = MlflowStore()
    recognizer = load_model(store.resolve(model), store.resolve)
    with progress_bar("computing losses") as progress:
        return {path: measure_losses(recognizer, one, progress) for path, one in measured.items()}


def _write(
    cuts_by_path: Mapping[str, Utterances],
    findings: pd.DataFrame,
    kinds: list[str],
    targets: Mapping[str, Path],
    out: Path,
) -> None:
    """Write the cleaned manifests and the report."""
    from asr_lab.data import columns, manifest
    from asr_lab.data.audio_findings import cleaned
    from asr_lab.reports.table import csv_text
    from asr_lab.system.files import write_text

    rows = {path: cleaned(cuts, findings[findings["manifest"] == path], kinds) for path, cuts in cuts_by_path.items()}
    if empty := [path for path in rows if not len(rows[path])]:
        raise AsrLabError(f"no utterance of {listing(empty)} would be left", allowed="fewer kinds to --drop")
    for path, cuts in cuts_by_path.items():
        written = columns.take(cuts, rows[path])
        print_summary(manifest.write(written, targets[path]), targets[path])
        echo(f"  {len(cuts) - len(written)} of {len(cuts)} utterances of {path} are left out")
    write_text(out / REPORT, csv_text(findings.drop(columns="row")))
    echo(f"report: {out / REPORT}")


def _report(cuts_by_path: Mapping[str, Utterances], findings: pd.DataFrame) -> None:
    """Print what was found."""
    from asr_lab.data import columns, guesses
    from asr_lab.data.audio_findings import FAULTS, shared_recordings
    from asr_lab.units import SAMPLE_RATE

    if len(findings):
        show(_summary(findings), "table")
    faulty = set(findings["manifest"][findings["kind"].isin(FAULTS)])
    for path, cuts in cuts_by_path.items():
        if path not in faulty:
            echo(f"{path}: {all_of(len(cuts), 'utterance')} can be used")
        several, other = columns.converted(cuts, SAMPLE_RATE)
        if several:
            echo(f"  {counted(several, 'utterance', 'have')} several channels, mixed to one")
        if other:
            echo(f"  {counted(other, 'utterance', 'are')} resampled to {SAMPLE_RATE} Hz")
        for note in guesses.notes([cuts]):
            echo(f"  {note}")
    if shared := shared_recordings(cuts_by_path, nested=False):
        echo(f"warning: recordings with utterances in two manifests: {named_pairs(shared)}", err=True)


def _warn_of_contained(cuts_by_path: Mapping[str, Utterances]) -> None:
    """Name the manifests that others contain: their audio is not compared, and they are no test data of those."""
    from asr_lab.data.audio_findings import contained

    for path, others in contained(cuts_by_path).items():
        echo(
            f"warning: {path} contains all utterances of {listing(others)}, as phases do (--nested): shared audio is "
            "not reported; a test set must not be part of training data",
            err=True,
        )


def _summary(findings: pd.DataFrame) -> Any:
    """Return a row for each manifest and kind of finding."""
    import pandas as pd

    from asr_lab.data.audio_findings import KINDS
    from asr_lab.reports.table import Table
    from asr_lab.units import hms

    rows = [
        {
            "manifest": path,
            "finding": kind,
            "utterances": len(own),
            "duration": hms(own["duration_s"].sum()),
            "such as": f"{own['id'].iloc[0]}: {own['detail'].iloc[0]}",
        }
        for (path, kind), own in findings.groupby(["manifest", "kind"], sort=False)
    ]
    rows.sort(key=lambda row: list(KINDS).index(row["finding"]))
    return Table(frame=pd.DataFrame(rows), expendable=("duration",))


def _refuse_faulty(cuts_by_path: Mapping[str, Utterances], findings: pd.DataFrame) -> None:
    """Raise `AsrLabError` that names the utterances that cannot be used."""
    from asr_lab.data.audio_findings import FAULTS

    faults = findings[findings["kind"].isin(FAULTS)]
    if not len(faults):
        return
    paths = list(dict.fromkeys(faults["manifest"]))
    lines = [f"{row.id}: {row.detail}".replace("\n", "\\n") for row in faults.itertuples()]
    more = f"\n    and {len(lines) - _MOST_FAULTS} more" if len(lines) > _MOST_FAULTS else ""
    total = sum(len(cuts_by_path[path]) for path in paths)
    raise AsrLabError(
        f"{len(lines)} of {total} utterances cannot be used:\n    " + "\n    ".join(lines[:_MOST_FAULTS]) + more,
        where=listing(paths, _MOST_NAMED),
        hint="--out FOLDER writes manifests without them, and a list of all",
    )
