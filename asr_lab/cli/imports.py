"""`asr-lab data import`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from asr_lab.cli.manifests import bar, keep_what_is_there, overwrite_option, say, span
from asr_lab.errors import AsrLabError, listing

_PATH = click.Path(path_type=Path)
KINDS: dict[str, tuple[str, ...]] = {
    "fsdd": ("join", "blocks", "copies", "seed"),
    "speechocean762": ("scores",),
    "kospeech": ("audio", "vocab", "drop_silence"),
    "csv": (),
    "jsonl": (),
}
"""Kind of corpus -> its own options."""


@click.command("import")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--join", help="fsdd: join digits into strings of so many, such as 1-5.")
@click.option("--blocks", default=10, show_default=True, help="fsdd: blocks of indices.")
@click.option("--copies", default=1, show_default=True, help="fsdd: join the recordings so many times differently.")
@click.option("--seed", default=0, show_default=True, help="fsdd: seed of the strings.")
@click.option("--scores", type=_PATH, help="speechocean762: the experts' scores.  [SOURCE/resource/scores.json]")
@click.option("--audio", type=_PATH, help="kospeech: folder the audio paths start from.  [that of SOURCE]")
@click.option("--vocab", type=_PATH, help="kospeech: vocabulary file, to check the ids of the transcripts.")
@click.option("--drop-silence", is_flag=True, help="kospeech: write FLAC without silence, as KoSpeech reads PCM.")
@overwrite_option
@click.pass_context
def import_corpus(ctx: click.Context, /, kind: str, source: Path, out: Path, overwrite: bool, **options: Any) -> None:
    """Write the manifest OUT/all.jsonl.gz of a corpus that lies at SOURCE.

    \b
    Examples:
      asr-lab data import fsdd free-spoken-digit-dataset/recordings corpora/fsdd --join 1-5
      asr-lab data import speechocean762 speechocean762 corpora/speechocean762
      asr-lab data import kospeech KsponSpeech/transcripts.txt corpora/kspon --audio KsponSpeech
      asr-lab data import csv mina/table.csv corpora/mina       (columns audio, text, speaker, ...)
    """
    from asr_lab.data import manifest

    foreign = [
        f"--{name.replace('_', '-')}"
        for name in options
        if name not in KINDS[kind] and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if foreign:
        own = listing(f"--{name.replace('_', '-')}" for name in KINDS[kind]) or "no options of its own"
        raise AsrLabError(f"{listing(foreign)} has no effect on {kind}", allowed=f"{kind} has {own}")
    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source))
    path = out / f"all{manifest.SUFFIX}"
    keep_what_is_there([path], overwrite)
    with bar(f"importing {kind}") as progress:
        cuts = _import(kind, source, out, {name: options[name] for name in KINDS[kind]}, progress)
    say(manifest.write(cuts, path), path)


def _import(kind: str, source: Path, out: Path, options: dict[str, Any], progress: Callable[[int, int], None]) -> Any:
    if kind == "fsdd":
        from asr_lab.data.corpora.fsdd import import_fsdd

        low, high = span(options["join"], "--join") if options["join"] else (0, 0)
        options["join"] = (int(low), int(high)) if options["join"] else None
        return import_fsdd(source, out, progress=progress, **options)
    if kind == "speechocean762":
        from asr_lab.data.corpora.speechocean import import_speechocean

        return import_speechocean(source, progress=progress, **options)
    if kind == "kospeech":
        from asr_lab.data.corpora.kospeech import import_kospeech

        vocabulary = _vocabulary(options.pop("vocab"))
        cuts, notes = import_kospeech(source, out, vocabulary=vocabulary, progress=progress, **options)
        for note in notes:
            click.echo(note)
        return cuts
    from asr_lab.data.corpora.tabular import import_table

    return import_table(source, "csv" if kind == "csv" else "jsonl", progress=progress)


def _vocabulary(path: Path | None) -> dict[str, int] | None:
    if path is None:
        return None
    from asr_lab.models.kospeech import read_vocabulary

    return read_vocabulary(path)
