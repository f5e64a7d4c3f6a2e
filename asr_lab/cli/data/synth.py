"""`asr-lab data synth`: synthetic speech by eSpeak NG, of named speakers, or of learners with errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asr_lab.cli.data.manifest_output import parse_range, print_summary, progress_bar
from asr_lab.cli.options import Finite, echo
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError, listing

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("out", type=_PATH, default="corpora/demo")
@click.option(
    "--speakers",
    help="Comma-separated speakers, or `children` (Korean); with this or any option below, OUT is needed.",
)
@click.option("--language", type=click.Choice(["en", "ko"]), help="Language of the sentences.  [en]")
@click.option("--utterances", type=int, help="Utterances per speaker.  [50; l2: 60 in training, fewer elsewhere]")
@click.option("--texts", type=_PATH, help="Sentences: lines of a text file, or texts of a manifest.  [a grammar]")
@click.option("--snr", help="Background noise at this SNR in dB: 20, or 10,30 to draw it per utterance.")
@click.option("--noise", type=click.Choice(["pink", "white"]), help="Kind of noise.  [pink]")
@click.option("--l2", help="English of learners with these comma-separated first languages, or `all`.")
@click.option("--error-scale", type=Finite(), help="l2: factor of the error rates of the first languages.  [1]")
@click.option("--correct", type=Finite(), help="l2: share of sentences without errors, at the same error rate.  [0.2]")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--list", "list_speakers", is_flag=True, help="Only list the named speakers.")
def synth(out: Path, list_speakers: bool, seed: int, **options: Any) -> None:
    """Synthesise a corpus with eSpeak NG: the demo corpus, or your own.

    \b
    Examples:
      asr-lab data synth                                   the demo corpus, in corpora/demo
      asr-lab data synth corpora/ko --language ko --utterances 100
      asr-lab data synth corpora/noisy --speakers john,jane --snr 10,30
      asr-lab data synth corpora/ko-children --language ko --speakers children --snr 10,30
      asr-lab data synth corpora/mine --texts sentences.txt --utterances 150
      asr-lab data synth corpora/l2 --l2 all               English of learners, with errors and their labels
      asr-lab data synth corpora/l2-ko --l2 korean,mandarin --error-scale 1.5
      asr-lab data synth --list
    """
    if list_speakers:
        _list_speakers()
        return
    given = {name: value for name, value in options.items() if value is not None}
    if "l2" in given:
        _learners(out, seed, given)
    else:
        _speakers(out, seed, given)


def _speakers(out: Path, seed: int, given: dict[str, Any]) -> None:
    """Synthesise the demo corpus, or one of named speakers."""
    from asr_lab.data import manifest
    from asr_lab.data.synthesis import corpus as making
    from asr_lab.data.synthesis.voices import CHILDREN

    _refuse_options(given, ("error_scale", "correct"), "without --l2")
    settings: dict[str, Any] = {name: given[name] for name in ("language", "utterances", "noise") if name in given}
    if "speakers" in given:
        named = tuple(name.strip() for name in given["speakers"].split(",") if name.strip())
        settings["speakers"] = tuple(CHILDREN) if named == ("children",) else named
    if "texts" in given:
        settings["texts"] = _sentences(given["texts"])
    if "snr" in given:
        low, high = parse_range(given["snr"], "--snr")
        settings["snr_db"] = low if low == high else (low, high)
    if settings and out == making.DEMO:
        raise _own_folder(out, given)
    with progress_bar("speaking") as progress:
        if settings or out != making.DEMO:
            made = making.synthesize(out, making.SynthSpec(seed=seed, **settings), progress)
        else:
            made = making.make_demo(out, seed, progress)
    for path in made.values():
        print_summary(manifest.read(path), path)


def _learners(out: Path, seed: int, given: dict[str, Any]) -> None:
    """Synthesise a corpus of learners; print the number of utterances left out."""
    from asr_lab.data import manifest
    from asr_lab.data.synthesis.accents import ACCENTS
    from asr_lab.data.synthesis.corpus import DEMO
    from asr_lab.data.synthesis.learner_corpus import L2Spec, synthesize_l2

    _refuse_options(given, ("speakers", "language", "snr", "noise"), "with --l2")
    if out == DEMO:
        raise _own_folder(out, given)
    settings: dict[str, Any] = {name: given[name] for name in ("utterances", "error_scale", "correct") if name in given}
    named = tuple(name.strip().lower() for name in given["l2"].split(",") if name.strip())
    settings["languages"] = tuple(ACCENTS) if named == ("all",) else named
    if "texts" in given:
        settings["texts"] = _sentences(given["texts"])
    with progress_bar("speaking") as progress:
        made = synthesize_l2(out, L2Spec(seed=seed, **settings), progress)
    for name, path in made.manifests.items():
        print_summary(manifest.read(path), path)
        if left := made.dropped.get(name):
            echo(f"  {len(left)} more were left out: eSpeak changed their phonemes")


def _refuse_options(given: dict[str, Any], foreign: tuple[str, ...], when: str) -> None:
    without = [f"--{name.replace('_', '-')}" for name in foreign if name in given]
    if without:
        raise AsrLabError(f"{listing(without)} has no effect {when}")


def _own_folder(out: Path, given: dict[str, Any]) -> AsrLabError:
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
    return AsrLabError(
        f"{out} is the demo corpus' own folder", next_command=f"asr-lab data synth corpora/mine {options}"
    )


def _sentences(path: Path) -> tuple[str, ...]:
    """Return the distinct lines of a text file, or transcripts of a manifest."""
    from asr_lab.data import text_files

    if path.name.endswith(".jsonl.gz"):
        from asr_lab.data import manifest

        lines = [manifest.text(cut) for cut in manifest.read(path)]
    elif path.is_file():
        lines = text_files.lines(text_files.read_text(path))
    else:
        raise AsrLabError("no such file", where=str(path), allowed="a text file, or a manifest")
    return tuple(dict.fromkeys(line.strip().lower() for line in lines if line.strip()))


def _list_speakers() -> None:
    import pandas as pd

    from asr_lab.data.synthesis.voices import CHILDREN, PERSONS, SPEAKERS

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
        for name, speaker in (SPEAKERS | PERSONS | CHILDREN).items()
    ]
    show(pd.DataFrame(rows), "table")
