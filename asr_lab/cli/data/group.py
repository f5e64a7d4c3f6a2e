"""`asr-lab data synth | import | export | shard | snr | split | phases | select | stats | check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_lab.cli.data.export_corpus import export_corpus
from asr_lab.cli.data.import_corpus import import_corpus
from asr_lab.cli.data.manifest_output import print_summary, progress_bar
from asr_lab.cli.data.next_steps import whole_manifest
from asr_lab.cli.data.select import select
from asr_lab.cli.data.shard import shard
from asr_lab.cli.data.snr import snr
from asr_lab.cli.data.split import phases, split
from asr_lab.cli.data.synth import synth
from asr_lab.cli.options import echo, format_option
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError

_PATH = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make, import, split, describe and check corpora."""


data.add_command(synth)
data.add_command(import_corpus)
data.add_command(export_corpus)
data.add_command(shard)
data.add_command(snr)
data.add_command(split)
data.add_command(phases)
data.add_command(select)


@data.command()
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
@click.option("--by", default="speaker", show_default=True, help="Field to group by.")
@format_option
def stats(manifest_path: Path, by: str, style: str) -> None:
    """Show utterances, minutes and words of MANIFEST by speaker or another field, and its characters.

    With pronunciation labels: also errors by that field, and the most frequent confusions.

    \b
    Examples:
      asr-lab data stats corpora/demo/train.jsonl.gz
      asr-lab data stats corpora/mine                      a folder with all.jsonl.gz
      asr-lab data stats corpora/l2/train.jsonl.gz --by l1
    """
    from asr_lab.data.stats import by_field, characters
    from asr_lab.data.table_utterances import Utterances
    from asr_lab.data.text import TextNormalizer

    manifest_path = whole_manifest(manifest_path)
    cuts = Utterances.read(manifest_path)
    annotated_cuts = _annotated(cuts, str(manifest_path))
    table = by_field(cuts, by)
    if annotated_cuts:
        from asr_lab.data.pronunciation_stats import errors_by

        table = table.merge(errors_by(annotated_cuts, by), how="left", on=by)
    show(table, style)
    if style == "table":
        _confusions(annotated_cuts, by)
        print_summary(cuts, manifest_path)
        normalizer = TextNormalizer()
        counted = "".join(c for c, _ in sorted(characters(cuts, normalizer).items()) if c != " ")
        echo(f"  digest {cuts.digest()}")
        echo(f"  {len(counted)} characters ({normalizer.name}): {counted[:200]}")


def _annotated(cuts: Any, where: str) -> list[Any]:
    """Return the utterances with pronunciation labels; where no utterance has any, nothing else is loaded."""
    if not {"perceived", "errors"} & cuts.field_names():
        return []
    from asr_lab.data.pronunciation_stats import annotated

    return annotated(cuts, where)


def _confusions(annotated_cuts: list[Any], by: str) -> None:
    """Print errors by first language and the most frequent confusions."""
    if not annotated_cuts:
        return
    from asr_lab.data import manifest
    from asr_lab.data.pronunciation_stats import confusions, errors_by

    if by != "l1" and any(manifest.field(cut, "l1") for cut in annotated_cuts):
        show(errors_by(annotated_cuts, "l1"), "table")
    most = [f"{a or '+'}>{b} {n}" for (a, b), n in confusions(annotated_cuts).most_common(16)]
    echo(f"  confusions (canonical>perceived, + is an insertion): {', '.join(most) or 'none'}")


@data.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=_PATH)
@click.option("--disjoint", metavar="FIELD", help="Check that no value of this field (speaker) is in two manifests.")
@click.option("--nested", is_flag=True, help="Check that each manifest contains all utterances of the previous one.")
def check(manifests: tuple[Path, ...], disjoint: str | None, nested: bool) -> None:
    """Read all audio of the manifests; report files that are missing, truncated, invalid or changed since the import.

    Also checks the consistency of pronunciation labels.

    \b
    Examples:
      asr-lab data check corpora/mine/train.jsonl.gz
      asr-lab data check train.jsonl.gz val.jsonl.gz test.jsonl.gz --disjoint speaker
      asr-lab data check phase1.jsonl.gz phase2.jsonl.gz phase3.jsonl.gz --nested
    """
    from asr_lab.data import curriculum, guesses
    from asr_lab.data.table_utterances import Utterances

    manifests = tuple(one for path in manifests for one in _manifests(path))
    if len(set(manifests)) < 2 and (disjoint or nested):
        raise AsrLabError(
            f"{'--disjoint' if disjoint else '--nested'} compares manifests, and only one is given",
            where=str(manifests[0]),
            allowed="at least two manifests",
        )
    cuts_by_path = {str(path): Utterances.read(path) for path in manifests}
    if disjoint:
        lacking = curriculum.check_disjoint(cuts_by_path, disjoint)
        echo(f"no {disjoint} is in two of {len(cuts_by_path)} manifests")
        if lacking:
            echo(f"  warning: {lacking} utterances have no {disjoint} and were not compared", err=True)
    if nested:
        curriculum.check_nested(cuts_by_path)
        echo(f"each of {len(cuts_by_path)} manifests contains the previous one")
    for path, cuts in cuts_by_path.items():
        if annotated_cuts := _annotated(cuts, path):
            echo(f"{path}: the pronunciation labels of {len(annotated_cuts)} utterances are consistent")
        _check_audio(cuts, path)
        for note in guesses.notes([cuts]):
            echo(f"  {note}")


def _manifests(path: Path) -> list[Path]:
    """Return the manifests of a folder; of another path itself."""
    from asr_lab.data.identity import SUFFIX

    return (sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else []) or [whole_manifest(path)]


def _check_audio(cuts: Any, path: str) -> None:
    from asr_lab.data.stats import check_audio

    done = 0
    with progress_bar("reading") as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(done, len(cuts))

        faults, notes = check_audio(cuts, advance)
    for note in notes:
        echo(note)
    if faults:
        lines = "\n    ".join(faults[:20]) + (f"\n    and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise AsrLabError(f"{len(faults)} of {len(cuts)} utterances cannot be used:\n    {lines}", where=path)
    echo(f"{path}: all {len(cuts)} utterances can be used")
