"""`asr-lab data split | phases`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.data.manifest_output import named_pairs, overwrite_option
from asr_lab.cli.data.next_steps import FEWEST_SPEAKERS, split_command, train_command, whole_manifest
from asr_lab.cli.data.split_report import HELD_OUT, Parts, left_out, write_parts
from asr_lab.cli.options import Finite, echo
from asr_lab.errors import AsrLabError

if TYPE_CHECKING:
    from asr_lab.data.curriculum import Hard

_PATH = click.Path(path_type=Path)


def _number(ctx: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise AsrLabError(f"{option.opts[0]} {value} is not a number")
    return value


def _hard_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--hard-duration --hard-snr`, handed to the command as `hard`, and `--hard-share`."""

    @functools.wraps(function)
    def gathered(*arguments: Any, hard_snr: float, hard_duration: float, **options: Any) -> Any:
        from asr_lab.data.curriculum import Hard

        return function(*arguments, hard=Hard(below_snr_db=hard_snr, from_duration_s=hard_duration), **options)

    bounds = (
        ("--hard-duration", "SECONDS", "Utterances of this duration or longer are hard."),
        ("--hard-snr", "DB", "Utterances below this SNR are hard."),
    )
    for name, unit, text in bounds:
        bound = click.option(
            name, type=Finite(), default=10.0, show_default=True, callback=_number, metavar=unit, help=text
        )
        gathered = bound(gathered)
    share = "Share of hard utterances in each part, by hours (0.25); leaves out others."
    return click.option("--hard-share", type=Finite(0, 1), callback=_number, help=share)(gathered)


@click.command()
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
@click.argument("out", type=_PATH, required=False)
@click.option("--by", default="speaker", show_default=True, help="Field of which no value is in two splits.")
@click.option("--hold-out", metavar="FIELD=VALUE,...", help="Write these utterances to held-out.jsonl.gz first.")
@click.option("--val", type=Finite(), default=0.1, show_default=True, help="Share of the validation split.")
@click.option("--test", type=Finite(), help="Share of the test split.  [0.1]")
@click.option("--folds", type=click.IntRange(min=2), help="Cross-validation: OUT/fold1, ...; each speaker tested once.")
@click.option(
    "--stratify",
    metavar="FIELD,...",
    help="Fields to stratify by, or none.  [age,age_group,snr_db,duration if any of the first three is known]",
)
@_hard_options
@click.option("--seed", default=0, show_default=True)
@overwrite_option
def split(
    manifest_path: Path,
    out: Path | None,
    by: str,
    hold_out: str | None,
    val: float,
    test: float | None,
    folds: int | None,
    stratify: str | None,
    hard: Hard,
    hard_share: float | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Split MANIFEST into OUT/train, val and test manifests without common speakers (or values of another field).

    Splits are stratified: similar distributions of age, SNR and duration, as far as whole speakers allow; see
    OUT/split.html and split.png. --folds writes several such splits, whose test parts together are MANIFEST;
    `asr-lab pool` combines their evaluations. --overwrite removes all manifests of an earlier split in OUT.

    MANIFEST may be a folder with all.jsonl.gz; OUT is by default the folder of MANIFEST.

    \b
    Examples:
      asr-lab data split corpora/mine
      asr-lab data split corpora/mine/all.jsonl.gz corpora/mine
      asr-lab data split corpora/me --by text              one speaker: no sentence is in two splits
      asr-lab data split corpora/children/all.jsonl.gz corpora/children --stratify age,snr_db,duration --hard-share 0.25
      asr-lab data split corpora/children/all.jsonl.gz corpora/children --folds 3
      asr-lab data split corpora/fsdd/all.jsonl.gz corpora/no-george --hold-out speaker=george --by block --test 0
    """
    from asr_lab.data.curriculum import check_disjoint
    from asr_lab.data.stratified_splits import fields_of, stratified_folds
    from asr_lab.data.table_utterances import Utterances

    share = _test_share(val, test, folds, hard_share)
    source = whole_manifest(manifest_path)
    out = out or source.parent
    cuts: Any = Utterances.read(source)
    fields = fields_of(cuts, _names(stratify))
    cuts, held_out = _hold_out(cuts, hold_out)
    notes: list[str] = []
    if folds:
        by_fold = stratified_folds(cuts, folds, val=val, fields=fields, hard=hard.mask, by=by, seed=seed)
        named = {f"fold{number}": fold for number, fold in enumerate(by_fold, start=1)}
        parts = {f"{fold}/{name}": rows for fold, own in named.items() for name, rows in own.items()}
        compared = {fold: own["test"] for fold, own in named.items()}
    else:
        with _other_command(cuts, by, source, out):
            parts = compared = _three(cuts, val, share, by=by, fields=fields, hard=hard, seed=seed)
    if hard_share is not None:
        parts, note = _with_hard_share(compared, hard_share, hard, seed)
        compared, notes = parts, [note]
    check_disjoint(compared, by)
    notes += _on_shared_recordings(compared | held_out)
    written = Parts(
        written=parts, held_out=held_out, compared=compared, source=source, hard=hard, by=by, fields=fields, notes=notes
    )
    write_parts("split", written, out, overwrite)
    if {"train", "val"} <= set(parts):
        echo(f"  next  {train_command(out)}")


@click.command()
@click.argument("manifest_path", metavar="TRAIN", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--shares", default="0.2,0.6,1.0", show_default=True, help="Share of TRAIN's hours in each phase.")
@click.option(
    "--order",
    type=click.Choice(["stratified", "file"]),
    default="stratified",
    show_default=True,
    help="stratified: similar ages, SNRs and durations in each phase; file: the first utterances.",
)
@click.option("--stratify", metavar="FIELD,...", help="Fields to stratify by.  [as data split]")
@_hard_options
@click.option("--seed", default=0, show_default=True)
@overwrite_option
def phases(
    manifest_path: Path,
    out: Path,
    shares: str,
    order: Any,
    stratify: str | None,
    hard: Hard,
    hard_share: float | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Write nested parts of TRAIN for a curriculum: OUT/phase1 is contained in phase2, phase2 in phase3.

    OUT/phases.html and phases.png describe the phases. --overwrite removes all earlier phases in OUT.

    \b
    Examples:
      asr-lab data phases corpora/children/train.jsonl.gz corpora/children
      asr-lab data phases corpora/children/train.jsonl.gz corpora/children --shares 0.2,0.6,1.0 --order file
      asr-lab data phases corpora/children/train.jsonl.gz corpora/hard --shares 0.1,0.3 --hard-share 0.25
    """
    from asr_lab.data import curriculum
    from asr_lab.data.stratified_splits import fields_of
    from asr_lab.data.table_utterances import Utterances

    cuts: Any = Utterances.read(manifest_path)
    if order == "file" and stratify is not None:
        raise AsrLabError("--stratify has no effect in file order", allowed="--order stratified")
    fields = fields_of(cuts, _names(stratify)) or ["duration_s"]
    nested = curriculum.phases(
        cuts,
        _shares(shares),
        order=order,
        fields=fields,
        hard_share=hard_share,
        hard=hard,
        seed=seed,
    )
    curriculum.check_nested(nested)
    parts = Parts(written=nested, compared=nested, source=manifest_path, hard=hard, by="speaker", fields=fields)
    write_parts("phases", parts, out, overwrite)


def _three(
    cuts: Any, val: float, test: float, *, by: str, fields: Sequence[str], hard: Hard, seed: int
) -> dict[str, Any]:
    """Return train, val and test, stratified if there are fields to stratify by."""
    from asr_lab.data.splits import split_by
    from asr_lab.data.stratified_splits import stratified_split

    shares = {"train": 1 - val - test, "val": val, "test": test}
    if not fields:
        return split_by(cuts, shares, by=by, seed=seed)
    return stratified_split(cuts, shares, fields=fields, hard=hard.mask, by=by, seed=seed)


def _with_hard_share(parts: Mapping[str, Any], share: float, hard: Hard, seed: int) -> tuple[dict[str, Any], str]:
    """Return parts with this share of hard utterances, and a sentence on those left out."""
    from asr_lab.data.curriculum import with_hard_share

    smaller = {name: with_hard_share(rows, share, hard, seed=seed, name=name) for name, rows in parts.items()}
    return smaller, left_out(parts, smaller)


def _on_shared_recordings(parts: Mapping[str, Any]) -> list[str]:
    """Return a warning if utterances of two parts are of the same recording."""
    from asr_lab.data.audio_findings import shared_recordings

    shared = shared_recordings(parts)
    what = f"warning: recordings are in two parts: {named_pairs(shared)}; asr-lab data check OUT reads them"
    return [what] if shared else []


@contextmanager
def _other_command(cuts: Any, by: str, source: Path, out: Path) -> Iterator[None]:
    """Have an error about too few speakers name the command that splits them."""
    from asr_lab.data.splits import positions

    try:
        yield
    except AsrLabError as error:
        if by == "speaker" and (speakers := len(positions(cuts, by))) < FEWEST_SPEAKERS:
            error.next_command = split_command(source, out, speakers)
        raise


def _test_share(val: float, test: float | None, folds: int | None, hard_share: float | None) -> float:
    """Return the share of the test split; raises `AsrLabError` if nothing is left for training."""
    if folds and test is not None:
        raise AsrLabError(f"--test {test} has no effect with --folds {folds}: each fold tests a {folds}th")
    if folds and hard_share is not None:
        raise AsrLabError("--hard-share leaves utterances out, and --folds tests each of them once")
    share = 1 / folds if folds else 0.1 if test is None else test
    if not (val >= 0 and share >= 0 and val + share < 1):  # also true for NaN
        raise AsrLabError(
            f"--val {val} and {f'--folds {folds}' if folds else f'--test {share}'} leave nothing to train on",
            allowed="shares of 0 and more, below 1 in all",
        )
    return share


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise AsrLabError(f"--shares {text!r} are not numbers", allowed="such as 0.2,0.6,1.0") from error


def _names(stratify: str | None) -> list[str] | None:
    """Return the fields that --stratify names, [] for `none`; None if it is not given."""
    names = [name.strip() for name in stratify.split(",") if name.strip()] if stratify is not None else None
    return [] if names == ["none"] else names


def _hold_out(cuts: Any, condition: str | None) -> tuple[Any, dict[str, Any]]:
    """Return the utterances without those of FIELD=VALUE,..., and these under their name; all if there is none."""
    from asr_lab.data.splits import hold_out

    if not condition:
        return cuts, {}
    field, equals, value = condition.partition("=")
    if not equals:
        raise AsrLabError(f"--hold-out {condition!r}", allowed="FIELD=VALUE, such as speaker=george")
    rest, held_out = hold_out(cuts, field, value.split(","))
    return rest, {HELD_OUT: held_out}
