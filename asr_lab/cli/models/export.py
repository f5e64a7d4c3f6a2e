"""`asr-lab export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.completion import AdapterName, ModelName
from asr_lab.cli.options import console
from asr_lab.errors import AsrLabError
from asr_lab.system.terminal import Console

if TYPE_CHECKING:
    from asr_lab.recipes.export_model import Exported, ExportPlan, Form

_PATH = click.Path(path_type=Path)
_MOST_INCREASE = 0.5  # percentage points


@click.command()
@click.argument("model", type=ModelName("models:/"))
@click.option("--to", "form", type=click.Choice(["onnx", "int8"]), required=True, help="int8: weights of 8 bits.")
@click.option("--out", type=_PATH, required=True, help="Folder of the exported model.")
@click.option("--adapter", type=AdapterName(), default="", help="With this speaker's adapter: name, file, or URI.")
@click.option("--adapter-dir", default="adapters", show_default=True, help="Folder of the adapter files.")
@click.option("--data", default="", help="Manifest on which all texts and the WER are compared with the model's.")
@click.option(
    "--max-wer-increase",
    type=click.FloatRange(0, 100),
    default=_MOST_INCREASE,
    show_default=True,
    help="Percentage points that int8 may cost on --data.",
)
@click.option("--overwrite", is_flag=True, help="Replace an exported model.")
@click.option("--register", "name", default="", metavar="NAME", help="Also register it, as a version of this name.")
@click.option(
    "--log", is_flag=True, help="Also log the folder to the model's run, as the artifact exported/onnx or int8."
)
def export(
    model: str,
    form: Form,
    out: Path,
    adapter: str,
    adapter_dir: str,
    data: str,
    max_wer_increase: float,
    overwrite: bool,
    name: str,
    log: bool,
) -> None:
    """Export a recogniser to a folder that runs with onnxruntime, without asr_lab. MODEL: a URI or a folder.

    The graph takes samples, of any number and length. It is compared with the model before the folder is there: logits
    of generated signals, and with --data every text (onnx) or the WER (int8). Adapters are part of the graph. The
    README of the folder has the lines that run it; asr-lab transcribe, evaluate and serve take it as --model. A
    registered one belongs to the run of MODEL, and its tags name MODEL. NAME holds exported models alone;
    asr-lab promote NAME --data MANIFEST makes one @champion.

    \b
    Examples:
      asr-lab export models:/deepspeech2@champion --to onnx --out exported/base --data corpora/demo/test.jsonl.gz
      asr-lab export models:/deepspeech2@champion --adapter john --to int8 --out exported/john
      asr-lab export models:/deepspeech2/1 --to int8 --out exported/int8 --register deepspeech2-int8
    """
    from asr_lab.recipes.export_model import check_destination, figures, plan
    from asr_lab.tracking.models import exported as in_store
    from asr_lab.tracking.models.model_store import MlflowStore

    if max_wer_increase != _MOST_INCREASE and not (data and form == "int8"):
        raise AsrLabError("--max-wer-increase has no effect without --to int8 and --data")
    if (log or name) and adapter:
        option = "--log" if log else "--register"
        raise AsrLabError(
            f"{option} and --adapter exclude each other",
            hint="the export is logged to the run of the base model, and an adapter has a run of its own",
        )
    check_destination(out, overwrite=overwrite)
    if log or name:
        in_store.check_store(name, form)
    terminal = console()
    planned = plan(MlflowStore(), model, adapter=adapter, adapter_dir=adapter_dir, data=data)
    run = in_store.run_of(planned.uri) if log or name else None
    if run and log:
        in_store.refuse_logged(run, form)
    exported = _with_progress(planned, form, out, terminal, overwrite=overwrite, most_increase=max_wer_increase)
    terminal.say("[bold]{}[/]", out)
    for label, value in figures(exported, form, planned).items():
        terminal.say("  {}  {}", f"{label:8}", value)
    if run and log:
        terminal.say("  logged    {}", in_store.log_exported(run, out, form))
    used = in_store.register_exported(run, out, form, name, planned.uri) if run and name else str(out)
    if name:
        _report_registered(used, terminal)
    terminal.say("  next      asr-lab transcribe FILE.wav --model {}", shlex.quote(used))


def _with_progress(
    planned: ExportPlan, form: Form, out: Path, terminal: Console, *, overwrite: bool, most_increase: float
) -> Exported:
    """Export under a progress bar of the utterances that are compared; `most_increase` is in percentage points."""
    from rich.progress import Progress

    from asr_lab.recipes.export_model import export as write

    with Progress(console=terminal, transient=True) as bar:
        task = bar.add_task("comparing", total=len(planned.split.cuts) if planned.split else None)
        return write(
            planned,
            form,
            out,
            overwrite=overwrite,
            most_wer_increase=most_increase / 100,
            progress=lambda done: bar.advance(task, done),
        )


def _report_registered(uri: str, terminal: Console) -> None:
    from asr_lab.tracking.models.registry import standing

    terminal.say("  registered {}", uri)
    if why := standing(uri):
        terminal.say("  {}", why)
