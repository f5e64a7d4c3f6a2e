"""`asr-lab data export`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.data.manifest_output import check_overwrite, overwrite_option, progress_bar
from asr_lab.cli.options import echo
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

_PATH = click.Path(path_type=Path)


@click.command("export")
@click.argument("form", metavar="FORMAT", type=click.Choice(["nemo", "kaldi"]))
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
@click.argument("out", metavar="OUT", type=_PATH)
@click.option("--copy-audio", is_flag=True, help="Write each utterance as a file of its own, 16 kHz, mono.")
@overwrite_option
def export_corpus(form: str, manifest_path: Path, out: Path, copy_audio: bool, overwrite: bool) -> None:
    """Write MANIFEST for other toolkits: as NeMo's manifest OUT, or as Kaldi's folder OUT.

    Pieces of files get an offset (NeMo) or segments (Kaldi). asr-lab data import reads both back.

    \b
    Examples:
      asr-lab data export nemo corpora/demo/train.jsonl.gz nemo/train.json
      asr-lab data export kaldi corpora/demo/train.jsonl.gz kaldi/train --copy-audio
    """
    from asr_lab.data.export import export
    from asr_lab.data.table_utterances import Utterances

    cuts = Utterances.read(manifest_path)
    check_overwrite([out], overwrite)
    if form == "kaldi" and out.is_dir() and any(out.iterdir()) and not (out / "wav.scp").is_file():
        raise AsrLabError("the folder is not one of Kaldi's, and would be replaced", where=str(out))
    with progress_bar("writing") as progress:
        notes = export(form, cuts, out, copy_audio=copy_audio, progress=progress)
    echo(f"{out}: {counted(len(cuts), 'utterance')} for {form}")
    for note in notes:
        echo(f"  {note}")
