"""`asr-lab import-kospeech`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from asr_lab.cli.options import console

_PATH = click.Path(path_type=Path)


@click.command("import-kospeech")
@click.argument("checkpoint", type=_PATH)
@click.option("--vocab", required=True, type=_PATH, help="The vocabulary file it was trained with (id,char,freq).")
@click.option("--out", required=True, type=_PATH, help="Folder of the model.")
@click.option("--register", "name", help="Also register it under this name.")
@click.option("--overwrite", is_flag=True, help="Replace an existing folder.")
def import_kospeech(checkpoint: Path, vocab: Path, out: Path, name: str | None, overwrite: bool) -> None:
    """Convert a KoSpeech or openspeech DeepSpeech2 CHECKPOINT to a model of asr-lab, to evaluate, adapt or fine-tune.

    Reads state dicts and pickled models without running code from the file; KoSpeech need not be installed. The outputs
    of the model do not change, for each of KoSpeech's three output layers.

    \b
    Examples:
      asr-lab import-kospeech model.pt --vocab aihub_character_vocabs.csv --out models/kspon
      asr-lab import-kospeech model.pt --vocab vocab.csv --out models/kspon --register deepspeech2
    """
    from asr_lab.models.kospeech import import_checkpoint
    from asr_lab.recipes.import_checkpoint import register, write
    from asr_lab.tracking.connection import check_usable
    from asr_lab.tracking.tracker import MlflowTracker

    if name:
        check_usable()
    recognizer = import_checkpoint(checkpoint, vocab)
    write(recognizer, out, overwrite=overwrite)
    shape, terminal = recognizer.model.config, console()
    direction = "bidirectional" if shape.bidirectional else "unidirectional"
    params = sum(parameter.numel() for parameter in recognizer.model.parameters())
    rows = {
        "network": f"{shape.num_layers} x {shape.hidden_size} {direction} {shape.rnn_type}",
        "head": shape.head,
        "classes": f"{shape.vocab_size}, blank {recognizer.blank}",
        "units": f"{recognizer.normalizer.units}, text {recognizer.normalizer.name}",
        "parameters": f"{params / 1e6:.2f} M",
    }
    used = str(out)
    if name:
        used = register(recognizer, out, checkpoint, name, MlflowTracker(new_run=True))
        rows["registered"] = used
    rows["next"] = f"asr-lab evaluate --model {shlex.quote(used)} --data MANIFEST"
    terminal.say("[bold]{}[/]", out)
    for label, value in rows.items():
        terminal.print(f"  {label:11} {value}")
