"""`asr-lab data shard`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.data.manifest_output import progress_bar
from asr_lab.cli.options import echo

_SUFFIX = ".jsonl.gz"


@click.command()
@click.argument("manifest_path", metavar="MANIFEST", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="FOLDER", help="Folder, or URL such as s3://bucket/corpus.")
@click.option(
    "--form", type=click.Choice(["flac", "opus"]), default="flac", show_default=True, help="Form of the audio."
)
@click.option("--per-shard", type=click.IntRange(min=1), default=1000, show_default=True, help="Utterances of a shard.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Number of threads.  [one per core]")
@click.option("--take-over", is_flag=True, help="Replace the lock of a killed process of another machine.")
@click.option("--verify", is_flag=True, help="Write nothing: read all shards that are there, and check them.")
def shard(
    manifest_path: Path, out: str, form: str, per_shard: int, workers: int, take_over: bool, verify: bool
) -> None:
    """Write the audio of MANIFEST to shards, tars of Lhotse Shar that are read at random by one seek.

    FOLDER gets a manifest of the same name, which training, evaluate and transcribe take like any other, with its
    shards in a folder beside it, which plain Lhotse reads (CutSet.from_shar). MANIFEST may be a folder with train, val
    and test. The same command resumes an interrupted one: complete shards stay.

    \b
    Examples:
      asr-lab data shard corpora/demo/train.jsonl.gz --out shards
      asr-lab data shard corpora/demo --out s3://bucket/demo --form opus
      asr-lab data shard corpora/demo/train.jsonl.gz --out shards --verify
    """
    from asr_lab.data import shards
    from asr_lab.data.manifest_folder import split_manifests
    from asr_lab.data.shard_folder import ShardFolder
    from asr_lab.data.table_utterances import Utterances
    from asr_lab.units import counted

    folder = ShardFolder.at(out)
    manifests = list(split_manifests(manifest_path).values()) if manifest_path.is_dir() else [manifest_path]
    for path in manifests:
        cuts, name = Utterances.read(path), path.name.removesuffix(_SUFFIX)
        with progress_bar("checking" if verify else "writing") as progress:
            if verify:
                number = shards.verify(folder, name, cuts, progress)
                echo(f"{folder.file(name)}: {counted(number, 'utterance', 'are')} unchanged")
                continue
            planned = shards.Shards(cuts, folder, name, "opus" if form == "opus" else "flac", per_shard)
            made = shards.write(planned, workers=workers, takes_over=take_over, progress=progress)
        before = f", {len(planned) - made} of them before" if made < len(planned) else ""
        echo(
            f"{folder.file(planned.manifest)}: {counted(len(cuts), 'utterance')} in "
            f"{counted(len(planned), 'shard')}{before}"
        )
