"""`asr-lab data synth | import | split | stats | check`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from asr_lab.cli.options import console, format_option
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError

_PATH = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make, import, split, describe and check corpora."""


@contextmanager
def _bar(what: str) -> Iterator[Any]:
    with Progress(console=console(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


_overwrite_option = click.option("--overwrite", is_flag=True, help="Replace manifests that are there already.")


def _keep_what_is_there(paths: list[Path], overwrite: bool) -> None:
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise AsrLabError(f"{', '.join(there)} would be replaced", allowed="another folder, or --overwrite")


def _span(text: str, what: str) -> tuple[float, float]:
    """`1-5` or `10,30` or `7` as (low, high)."""
    try:
        low, _, high = text.replace(",", "-", 1).partition("-")
        span = float(low), float(high or low)
    except ValueError as error:
        raise AsrLabError(f"{what} is not a number or a range: {text!r}", allowed="such as 5 or 1-5") from error
    if span[0] > span[1]:
        raise AsrLabError(f"{what} is turned round: {text!r}", allowed=f"{high}-{low}")
    return span


@data.command()
@click.argument("out", type=_PATH, default="corpora/demo")
@click.option("--speakers", help="Named speakers, by commas; with this or any option below, OUT is needed.")
@click.option("--language", type=click.Choice(["en", "ko"]), help="Language of the sentences.  [en]")
@click.option("--utterances", type=int, help="Utterances a speaker.  [50]")
@click.option("--snr", help="Background noise at this signal-to-noise ratio in dB: 20, or 10,30 to draw it for each.")
@click.option("--noise", type=click.Choice(["pink", "white"]), help="Kind of noise.  [pink]")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--list", "list_speakers", is_flag=True, help="Only list the named speakers.")
def synth(
    out: Path,
    speakers: str | None,
    language: str | None,
    utterances: int | None,
    snr: str | None,
    noise: str | None,
    seed: int,
    list_speakers: bool,
) -> None:
    """Make speech with eSpeak NG: the demo corpus, or one of your own.

    \b
    Examples:
      asr-lab data synth                                   the demo corpus, in corpora/demo
      asr-lab data synth corpora/ko --language ko --utterances 100
      asr-lab data synth corpora/noisy --speakers john,jane --snr 10,30
      asr-lab data synth --list
    """
    from asr_lab.data.corpora import synth as making
    from asr_lab.data.corpora.voices import PERSONS, SPEAKERS

    if list_speakers:
        _list_speakers(SPEAKERS | PERSONS)
        return
    chosen = {"language": language, "utterances": utterances, "noise": noise}
    settings: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
    if speakers:
        settings["speakers"] = tuple(name.strip() for name in speakers.split(",") if name.strip())
    if snr:
        low, high = _span(snr, "--snr")
        settings["snr_db"] = low if low == high else (low, high)
    if settings and out == making.DEMO:
        raise AsrLabError(
            f"{out} is the demo corpus' own folder",
            next_command="asr-lab data synth corpora/mine " + " ".join(settings),
        )
    with _bar("speaking") as progress:
        if settings or out != making.DEMO:
            made = making.synthesize(out, making.SynthSpec(seed=seed, **settings), progress)
        else:
            made = making.make_demo(out, seed, progress)
    from asr_lab.data import manifest

    for path in made.values():
        _said(manifest.read(path), path)


def _list_speakers(speakers: Any) -> None:
    import pandas as pd

    rows = [
        {
            "speaker": name,
            "part": speaker.part,
            "language": speaker.language,
            "gender": speaker.gender,
            "age": speaker.age,
            "voice": speaker.voice.voice + (f"+{speaker.voice.variant}" if speaker.voice.variant else ""),
            "rate": speaker.voice.rate,
            "pitch": speaker.voice.pitch,
            "range": speaker.voice.pitch_range,
        }
        for name, speaker in speakers.items()
    ]
    show(pd.DataFrame(rows), "table")


@data.command("import")
@click.argument("kind", type=click.Choice(["fsdd", "csv", "jsonl"]))
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--join", help="fsdd: join digits into strings of so many, such as 1-5.")
@click.option("--blocks", default=10, show_default=True, help="fsdd: blocks of indices.")
@click.option("--copies", default=1, show_default=True, help="fsdd: join the recordings so many times differently.")
@click.option("--seed", default=0, show_default=True)
@_overwrite_option
def import_corpus(
    kind: str, source: Path, out: Path, join: str | None, blocks: int, copies: int, seed: int, overwrite: bool
) -> None:
    """Write the manifest OUT/all.jsonl.gz of a corpus that lies at SOURCE.

    \b
    Examples:
      asr-lab data import fsdd free-spoken-digit-dataset/recordings corpora/fsdd --join 1-5
      asr-lab data import csv mina/table.csv corpora/mina       (columns audio, text, speaker, ...)
    """
    from asr_lab.data import manifest
    from asr_lab.data.corpora.fsdd import import_fsdd
    from asr_lab.data.corpora.tabular import import_table

    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source))
    path = out / f"all{manifest.SUFFIX}"
    _keep_what_is_there([path], overwrite)
    with _bar(f"importing {kind}") as progress:
        if kind == "fsdd":
            low, high = _span(join, "--join") if join else (0, 0)
            lengths = (int(low), int(high)) if join else None
            cuts = import_fsdd(source, out, join=lengths, blocks=blocks, copies=copies, seed=seed, progress=progress)
        else:
            cuts = import_table(source, "csv" if kind == "csv" else "jsonl", progress=progress)
    _said(manifest.write(cuts, path), path)


def _said(cuts: Any, path: Path) -> None:
    from asr_lab.data import manifest
    from asr_lab.units import SAMPLE_RATE, hms

    several = sum(len(cut.recording.channel_ids) > 1 for cut in cuts)
    other = sum(cut.recording.sampling_rate != SAMPLE_RATE for cut in cuts)
    speakers = {manifest.supervision(cut).speaker for cut in cuts}
    seconds = hms(sum(cut.duration for cut in cuts))
    click.echo(f"{path}: {len(cuts)} utterances of {len(speakers)} speakers, {seconds}")
    if several:
        click.echo(f"  {several} have several channels: they are mixed to one when read")
    if other:
        click.echo(f"  {other} are not at {SAMPLE_RATE} Hz: they are resampled when read")


@data.command()
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--by", default="speaker", show_default=True, help="Field whose values are never shared by splits.")
@click.option("--hold-out", metavar="FIELD=VALUE", help="First set these apart, as held-out.jsonl.gz.")
@click.option("--val", default=0.1, show_default=True, help="Share of the validation split.")
@click.option("--test", default=0.1, show_default=True, help="Share of the test split.")
@click.option("--seed", default=0, show_default=True)
@_overwrite_option
def split(
    manifest_path: Path,
    out: Path,
    by: str,
    hold_out: str | None,
    val: float,
    test: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Split MANIFEST into OUT/train, val and test manifests that share no speaker (or other field).

    \b
    Examples:
      asr-lab data split corpora/mine/all.jsonl.gz corpora/mine
      asr-lab data split corpora/fsdd/all.jsonl.gz corpora/no-george --hold-out speaker=george --by block --test 0
    """
    from asr_lab.data import manifest, splits

    if val < 0 or test < 0 or val + test >= 1:
        raise AsrLabError(f"--val {val} and --test {test} leave nothing to train on", allowed="shares below 1 in all")
    cuts = manifest.read(manifest_path)
    parts: dict[str, Any] = {}
    if hold_out:
        field, equals, value = hold_out.partition("=")
        if not equals:
            raise AsrLabError(f"--hold-out {hold_out!r}", allowed="FIELD=VALUE, such as speaker=george")
        cuts, parts["held-out"] = splits.hold_out(cuts, field, value)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    parts |= splits.split_by(cuts, shares, by=by, seed=seed)
    paths = {name: out / f"{name}{manifest.SUFFIX}" for name in parts}
    _keep_what_is_there(list(paths.values()), overwrite)
    for name, rows in parts.items():
        _said(manifest.write(rows, paths[name]), paths[name])


@data.command()
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
@click.option("--by", default="speaker", show_default=True, help="Field to group by.")
@format_option
def stats(manifest_path: Path, by: str, style: str) -> None:
    """Utterances, minutes and words of MANIFEST by speaker or another field, and its characters."""
    from asr_lab.data import manifest
    from asr_lab.data.stats import by_field, characters
    from asr_lab.data.text import TextNormalizer

    cuts = manifest.read(manifest_path)
    show(by_field(cuts, by), style)
    if style == "table":
        _said(cuts, manifest_path)
        normalizer = TextNormalizer()
        counted = "".join(c for c, _ in sorted(characters(cuts, normalizer).items()) if c != " ")
        click.echo(f"  digest {manifest.digest(cuts)}")
        click.echo(f"  {len(counted)} characters ({normalizer.name}): {counted[:200]}")


@data.command()
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
def check(manifest_path: Path) -> None:
    """Read every utterance of MANIFEST and name what is missing, cut off, not a number or changed since."""
    from asr_lab.data import manifest
    from asr_lab.data.stats import check_audio

    cuts = manifest.read(manifest_path)
    done = 0
    with _bar("reading") as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(done, len(cuts))

        faults, notes = check_audio(cuts, advance)
    for note in notes:
        click.echo(note)
    if faults:
        lines = "\n    ".join(faults[:20]) + (f"\n    and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise AsrLabError(
            f"{len(faults)} of {len(cuts)} utterances cannot be used:\n    {lines}", where=str(manifest_path)
        )
    click.echo(f"{manifest_path}: all {len(cuts)} utterances can be used")
