"""`asr-lab data synth | import | export | shard | snr | split | phases | select | stats | check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_lab.cli.data.check import check
from asr_lab.cli.data.export_corpus import export_corpus
from asr_lab.cli.data.import_corpus import import_corpus
from asr_lab.cli.data.manifest_output import annotated_cuts_of, print_summary
from asr_lab.cli.data.next_steps import whole_manifest
from asr_lab.cli.data.select import select
from asr_lab.cli.data.shard import shard
from asr_lab.cli.data.snr import snr
from asr_lab.cli.data.split import phases, split
from asr_lab.cli.data.synth import synth
from asr_lab.cli.options import echo, format_option
from asr_lab.cli.tables import show

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
data.add_command(check)


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
    annotated_cuts = annotated_cuts_of(cuts, str(manifest_path))
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
