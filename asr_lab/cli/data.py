"""`asr-lab data synth | import | snr | split | phases | select | stats | check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_lab.cli.imports import import_corpus
from asr_lab.cli.manifests import bar, say, span
from asr_lab.cli.options import format_option
from asr_lab.cli.selecting import select
from asr_lab.cli.snr import snr
from asr_lab.cli.splitting import phases, split
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError

_PATH = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make, import, split, describe and check corpora."""


data.add_command(import_corpus)
data.add_command(snr)
data.add_command(split)
data.add_command(phases)
data.add_command(select)


@data.command()
@click.argument("out", type=_PATH, default="corpora/demo")
@click.option(
    "--speakers",
    help="Named speakers, by commas, or `children` (Korean); with this or any option below, OUT is needed.",
)
@click.option("--language", type=click.Choice(["en", "ko"]), help="Language of the sentences.  [en]")
@click.option("--utterances", type=int, help="Utterances a speaker.  [50]")
@click.option("--texts", type=_PATH, help="Say the lines of this file, or this manifest's texts, not the grammar's.")
@click.option("--snr", help="Background noise at this signal-to-noise ratio in dB: 20, or 10,30 to draw it for each.")
@click.option("--noise", type=click.Choice(["pink", "white"]), help="Kind of noise.  [pink]")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--list", "list_speakers", is_flag=True, help="Only list the named speakers.")
def synth(
    out: Path,
    speakers: str | None,
    language: str | None,
    utterances: int | None,
    texts: Path | None,
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
      asr-lab data synth corpora/ko-children --language ko --speakers children --snr 10,30
      asr-lab data synth corpora/mine --texts sentences.txt --utterances 150
      asr-lab data synth --list
    """
    from asr_lab.data.corpora import synth as making
    from asr_lab.data.corpora.voices import CHILDREN, PERSONS, SPEAKERS

    if list_speakers:
        _list_speakers(SPEAKERS | PERSONS | CHILDREN)
        return
    chosen = {"language": language, "utterances": utterances, "noise": noise}
    settings: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
    if speakers:
        named = tuple(name.strip() for name in speakers.split(",") if name.strip())
        settings["speakers"] = tuple(CHILDREN) if named == ("children",) else named
    if texts:
        settings["texts"] = _sentences(texts)
    if snr:
        low, high = span(snr, "--snr")
        settings["snr_db"] = low if low == high else (low, high)
    if settings and out == making.DEMO:
        raise AsrLabError(
            f"{out} is the demo corpus' own folder",
            next_command="asr-lab data synth corpora/mine " + " ".join(settings),
        )
    with bar("speaking") as progress:
        if settings or out != making.DEMO:
            made = making.synthesize(out, making.SynthSpec(seed=seed, **settings), progress)
        else:
            made = making.make_demo(out, seed, progress)
    from asr_lab.data import manifest

    for path in made.values():
        say(manifest.read(path), path)


def _sentences(path: Path) -> tuple[str, ...]:
    """The lines of a text file, or the transcripts of a manifest, each once."""
    if path.name.endswith(".jsonl.gz"):
        from asr_lab.data import manifest

        lines = [manifest.supervision(cut).text or "" for cut in manifest.read(path)]
    elif path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
    else:
        raise AsrLabError("no such file", where=str(path), allowed="a text file, or a manifest whose texts are said")
    return tuple(dict.fromkeys(line.strip().lower() for line in lines if line.strip()))


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
        say(cuts, manifest_path)
        normalizer = TextNormalizer()
        counted = "".join(c for c, _ in sorted(characters(cuts, normalizer).items()) if c != " ")
        click.echo(f"  digest {manifest.digest(cuts)}")
        click.echo(f"  {len(counted)} characters ({normalizer.name}): {counted[:200]}")


@data.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=_PATH)
@click.option("--disjoint", metavar="FIELD", help="No value of this field (speaker) may be in two of the manifests.")
@click.option("--nested", is_flag=True, help="Each manifest must hold all utterances of the one before.")
def check(manifests: tuple[Path, ...], disjoint: str | None, nested: bool) -> None:
    """Read every utterance and name what is missing, cut off, not a number or changed since.

    \b
    Examples:
      asr-lab data check corpora/mine/train.jsonl.gz
      asr-lab data check train.jsonl.gz val.jsonl.gz test.jsonl.gz --disjoint speaker
      asr-lab data check phase1.jsonl.gz phase2.jsonl.gz phase3.jsonl.gz --nested
    """
    from asr_lab.data import curriculum, manifest

    found = {str(path): manifest.read(path) for path in manifests}
    if disjoint:
        curriculum.check_disjoint(found, disjoint)
        click.echo(f"no {disjoint} is in two of {len(found)} manifests")
    if nested:
        curriculum.check_nested(found)
        click.echo(f"each of {len(found)} manifests holds the one before")
    for path, cuts in found.items():
        _check_audio(cuts, path)


def _check_audio(cuts: Any, path: str) -> None:
    from asr_lab.data.stats import check_audio

    done = 0
    with bar("reading") as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(done, len(cuts))

        faults, notes = check_audio(cuts, advance)
    for note in notes:
        click.echo(note)
    if faults:
        lines = "\n    ".join(faults[:20]) + (f"\n    and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise AsrLabError(f"{len(faults)} of {len(cuts)} utterances cannot be used:\n    {lines}", where=path)
    click.echo(f"{path}: all {len(cuts)} utterances can be used")
