"""`asr-lab transcribe`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from asr_lab.cli.completion import AdapterName
from asr_lab.cli.options import console, echo
from asr_lab.errors import AsrLabError


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--adapter", type=AdapterName(), default="", help="A speaker's adapter: name, file, or registry URI.")
@click.option("--model", default="", help="The recogniser.  [the adapter's base, else models:/deepspeech2@champion]")
@click.option("--adapter-dir", default="adapters", show_default=True, help="Folder of the adapter files.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, hidden=True, help="As --format json.")
def transcribe(files: tuple[Path, ...], adapter: str, model: str, adapter_dir: str, style: str, as_json: bool) -> None:
    """Transcribe audio FILES.

    \b
    Examples:
      asr-lab transcribe recording.wav --adapter john
      asr-lab transcribe *.flac --model models:/deepspeech2/1 --format json
    """
    missing = [str(file) for file in files if not file.is_file()]
    if len(missing) == len(files):
        raise AsrLabError("no such audio file", where=", ".join(missing))
    from asr_lab.recipes.evaluate import with_adapter
    from asr_lab.serving.transcribe import transcribe as transcripts
    from asr_lab.tracking.models.registry import MlflowStore

    chosen = model or ("" if adapter else "models:/deepspeech2@champion")
    recognizer, _ = with_adapter(MlflowStore(), chosen, adapter, adapter_dir)
    failed = 0
    out, err = console(), console(stderr=True)
    for transcript in transcripts(recognizer, files):
        failed += bool(transcript.error)
        if as_json or style == "json":
            echo(json.dumps(asdict(transcript), ensure_ascii=False))
        elif transcript.error:
            err.say("{}: [red]{}[/]", transcript.file, transcript.error)
        else:
            out.say("{}{}", f"{transcript.file}: " if len(files) > 1 else "", transcript.text)
            if transcript.note:
                err.say("[dim]{}: {}[/]", transcript.file, transcript.note)
    if failed:
        raise AsrLabError(f"{failed} of {len(files)} files could not be read")
