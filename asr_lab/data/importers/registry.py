"""The importers of corpora; a new one needs a file in this folder and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_lab.data.importers.contract import SKIP_FAULTY, Importer, ImportResult, Option, Progress, no_progress
from asr_lab.errors import AsrLabError, listing, nearest

if TYPE_CHECKING:
    from asr_lab.data.audio import Pcm

_HERE = "asr_lab.data.importers"
_KEYS = Option(
    name="keys",
    kind="pairs",
    metavar="FIELD=KEY,...",
    alias="--columns",
    help="keys or columns of the fields: text=, speaker=, age=, ... (csv, jsonl: also audio=, id=).",
)
_AUDIO = Option(name="audio", kind="path", help="folder the audio paths start from.  [that of SOURCE]")
PCM = (
    Option(name="pcm_rate", kind="integer", help="samples a second of audio without a header.  [16000]"),
    Option(name="pcm_width", kind="integer", help="bits of a sample of audio without a header: 8, 16, 24, 32.  [16]"),
    Option(name="pcm_channels", kind="integer", help="channels of audio without a header.  [1]"),
)
"""The format of headerless audio, an option of `import_corpus` rather than of the import functions."""

SPEAKERS = (
    Option(
        name="speaker_from",
        metavar="PATTERN",
        help="speaker of each utterance: the group of this regular expression in its audio path, or its id, such as "
        "'(?P<speaker>PA_\\d+)'.",
    ),
    Option(name="one_speaker", metavar="NAME", help="speaker of all utterances."),
)
"""For corpora whose utterances may lack a speaker."""
_SKIP = Option(name=SKIP_FAULTY, kind="flag", help="leave out faulty utterances, and list them in OUT/faults.tsv.")

IMPORTERS: dict[str, Importer] = {
    "fsdd": Importer(
        description="Free Spoken Digit Dataset: a folder of {digit}_{speaker}_{index}.wav",
        function=f"{_HERE}.fsdd:import_fsdd",
        options=(
            Option(name="join", kind="range", help="join digits into strings of this length, such as 1-5."),
            Option(name="blocks", kind="integer", default=10, help="blocks of indices."),
            Option(name="copies", kind="integer", default=1, help="number of different ways to join the recordings."),
            Option(name="seed", kind="integer", default=0, help="seed of the strings."),
            _SKIP,
        ),
        markers=("[0-9]_*_[0-9]*.wav",),
    ),
    "speechocean762": Importer(
        description="speechocean762: Kaldi files in train/ and test/, with experts' scores",
        function=f"{_HERE}.speechocean762:import_speechocean762",
        options=(Option(name="scores", kind="path", help="the experts' scores.  [SOURCE/resource/scores.json]"), _SKIP),
        markers=("resource/text-phone", "resource/scores.json"),
    ),
    "l2-arctic": Importer(
        description="L2-ARCTIC: a folder for each speaker, with annotated TextGrids; split by speakers",
        function=f"{_HERE}.l2arctic:import_l2arctic",
        options=(_SKIP,),
        has_splits=True,
        markers=("*/annotation/*.TextGrid",),
    ),
    "l2-json": Importer(
        description="JSON files of L2_ASR (train, val, eval), keyed by the path of a WAV",
        function=f"{_HERE}.l2_asr_json:import_l2_asr_json",
        options=(_AUDIO, _SKIP),
        has_splits=True,
    ),
    "kospeech": Importer(
        description="KoSpeech's transcripts.txt: path, text and ids, as for KsponSpeech",
        function=f"{_HERE}.kospeech:import_kospeech",
        options=(
            _AUDIO,
            Option(name="vocab", kind="path", help="vocabulary (.csv, .vocab), to check the ids of the transcripts."),
            Option(name="drop_silence", kind="flag", help="write FLAC without silence, as KoSpeech reads PCM."),
            *PCM,
            _SKIP,
        ),
        file_names=("transcripts*.txt",),
    ),
    "aihub": Importer(
        description="AI-Hub: WAV files and a JSON label for each, in 1.Training, 2.Validation, 3.Test",
        function=f"{_HERE}.aihub.importer:import_aihub",
        options=(
            _KEYS,
            Option(name="as_one", kind="flag", help="merge all splits into all.jsonl.gz, for asr-lab data split."),
            _SKIP,
        ),
        has_splits=True,
        markers=("[0-9].Training*", "[0-9].Validation*", "subset_metadata*.csv"),
    ),
    "lhotse": Importer(
        description="any corpus with a recipe in Lhotse, by the name of the recipe",
        function=f"{_HERE}.lhotse_recipes:import_lhotse",
        options=(
            Option(name="name", positional=True, help="Lhotse's recipe."),
            Option(
                name="option",
                kind="pairs",
                multiple=True,
                metavar="KEY=VALUE",
                help="an option of the recipe; may be repeated.",
            ),
            _SKIP,
        ),
        has_splits=True,
    ),
    "kaldi": Importer(
        description="a folder of Kaldi's: wav.scp, text, utt2spk, and segments, spk2gender, ... if they are there",
        function=f"{_HERE}.kaldi:import_kaldi",
        options=(_AUDIO, _SKIP),
        markers=("wav.scp",),
    ),
    "csv": Importer(
        description="CSV (or tabs, semicolons) with the columns audio, text, speaker, ...",
        function=f"{_HERE}.table:import_csv",
        options=(_KEYS, _AUDIO, *PCM, _SKIP),
        file_names=("*.csv", "*.tsv"),
    ),
    "jsonl": Importer(
        description="JSON lines with the keys audio, text, speaker, ...",
        function=f"{_HERE}.table:import_jsonl",
        options=(_KEYS, _AUDIO, *PCM, _SKIP),
        file_names=("*.jsonl",),
    ),
}
"""Kind of corpus -> importer."""


def import_corpus(
    kind: str, source: Path, out: Path, options: Mapping[str, Any] | None = None, progress: Progress = no_progress
) -> ImportResult:
    """Import the corpus at `source`; audio is written under `out` if necessary.

    Raises `AsrLabError` for an unknown kind or option, and if nothing can be imported; then it names the kind that
    `source` looks like.
    """
    if kind not in IMPORTERS:
        raise AsrLabError(f"no importer {kind!r}", allowed=listing(IMPORTERS, 30), hint=nearest(kind, IMPORTERS))
    importer, settings = IMPORTERS[kind], dict(options or {})
    if unsupported := [name for name in settings if not importer.accepts(name)]:
        own = listing(option.flag for option in importer.options) or "no options of its own"
        raise AsrLabError(f"{kind} has no option {listing(unsupported)}", allowed=own)
    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source))
    from asr_lab.data.audio import headerless

    try:
        with headerless(_pcm(settings)):
            return importer.load()(source, out, progress=progress, **settings)
    except AsrLabError as error:
        if not error.next_command and (other := _other_kind(kind, source)):
            error.hint = "; ".join(filter(None, (error.hint, f"it looks like {other}: {IMPORTERS[other].description}")))
            error.next_command = f"asr-lab data import {other} {source} {out}"
        raise


def _pcm(settings: dict[str, Any]) -> Pcm | None:
    """Remove the format of headerless audio from the settings, and return it; None if none is given."""
    from asr_lab.data.audio import Pcm

    found = {name: settings.pop(f"pcm_{name}", None) for name in ("rate", "width", "channels")}
    given = {name: value for name, value in found.items() if value is not None}
    return Pcm(**given) if given else None


def _other_kind(kind: str, source: Path) -> str:
    """Return the kind that `source` looks like, "" if it looks like the requested one or none."""
    if IMPORTERS[kind].recognizes(source):
        return ""
    return next((name for name, importer in IMPORTERS.items() if importer.recognizes(source)), "")
