"""The importers of corpora; a new one needs a file in this folder and an entry here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_lab.data.importers.contract import SKIP_FAULTY, Importer, ImportResult, Option, Progress, no_progress
from asr_lab.data.importers.hints import quoted
from asr_lab.data.importers.readings import Recognized, readings
from asr_lab.data.importers.source_view import Source
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.data.audio import Pcm

_HERE = "asr_lab.data.importers"
_KEYS = Option(
    name="keys",
    kind="pairs",
    metavar="FIELD=KEY,...",
    alias="--columns",
    help="keys or columns of the fields: text=, speaker=, age=, ...; in tables also audio=, id=.",
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
    Option(name="one_speaker", alias="--speaker", metavar="NAME", help="speaker of all utterances."),
)
"""For corpora whose utterances may lack a speaker; their import functions take them as `speakers`."""
_SKIP = Option(name=SKIP_FAULTY, kind="flag", help="leave out faulty utterances, and list them in OUT/faults.tsv.")

_FEW = 3  # utterances, of which each may well have a speaker of its own

_SHEET = Option(name="sheet", metavar="NAME", help="the sheet of a workbook, if several hold tables.")
_TRANSCRIPTS = Option(name="transcripts", kind="path", help="the file of transcripts, if several may be it.")

IMPORTERS: dict[str, Importer] = {
    "csv": Importer(
        description="a table with a header: CSV with commas, semicolons or tabs, in UTF-8, UTF-16 or CP949; or Excel's",
        function=f"{_HERE}.table:import_csv",
        recognizer=f"{_HERE}.recognizers:csv",
        options=(_KEYS, _AUDIO, _SHEET, *SPEAKERS, *PCM, _SKIP),
        layout="""\
TABLE.csv      audio,text,speaker[,id,age,gender,language,start,end,...]
               paths relative to the table; further columns are kept as fields
TABLE.xlsx     the same (.xls, .ods, ... too), with the extra `excel`""",
    ),
    "jsonl": Importer(
        description="a table of JSON lines, or a JSON array, with the keys audio, text, speaker, ...",
        function=f"{_HERE}.table:import_jsonl",
        recognizer=f"{_HERE}.recognizers:jsonl",
        options=(_KEYS, _AUDIO, *SPEAKERS, *PCM, _SKIP),
        layout="""\
TABLE.jsonl    {"audio": "a.wav", "text": "...", "speaker": "mina", "offset": 0.5, "duration": 1.2}""",
    ),
    "folder": Importer(
        description="a folder of audio with a .txt beside each, or with all transcripts in one file",
        function=f"{_HERE}.audio_with_texts:import_folder",
        recognizer=f"{_HERE}.recognizers:folder",
        options=(_TRANSCRIPTS, *SPEAKERS, *PCM, _SKIP),
        layout="""\
mina/1.wav     mina/1.txt (or .lab), at any depth; or one file of lines
               1_0001.wav|text    1_0001<tab>text    1_0001 text    1_0001.wav :: text
               speakers: --speaker-from, --one-speaker, else several folders are guessed to be speakers""",
    ),
    "nemo": Importer(
        description="manifests of NeMo: JSON lines with audio_filepath, duration, text, and perhaps offset",
        function=f"{_HERE}.nemo:import_nemo",
        recognizer=f"{_HERE}.recognizers:nemo",
        options=(_AUDIO, *SPEAKERS, *PCM, _SKIP),
        has_splits=True,
        layout="""\
MANIFEST.json  {"audio_filepath": "a.wav", "offset": 0.5, "duration": 1.2, "text": "...", "speaker": "mina"}
               or a folder with one manifest each of train, val (dev), test in their names
               a tarred data set: shard_id in the manifest, and audio_0.tar, ... beside it""",
    ),
    "kaldi": Importer(
        description="a data folder of Kaldi's",
        function=f"{_HERE}.kaldi:import_kaldi",
        recognizer=f"{_HERE}.recognizers:kaldi",
        options=(_AUDIO, *SPEAKERS, *PCM, _SKIP),
        layout="""\
wav.scp        utterance (with segments: recording) and the path of a file,
               or FILE.ark:BYTE of a WAV; commands are refused
text           utterance and its transcript
utt2spk        utterance and speaker; not needed with --speaker-from
if they are there: segments, reco2file_and_channel, spk2gender, spk2age,
               utt2lang, utt2gender, utt2age""",
    ),
    "huggingface": Importer(
        description="data of Hugging Face: an audio folder, parquet with audio, or what save_to_disk wrote",
        function=f"{_HERE}.huggingface:import_huggingface",
        recognizer=f"{_HERE}.recognizers:huggingface",
        options=(_KEYS, *SPEAKERS, _SKIP),
        has_splits=True,
        layout="""\
train/metadata.csv (or .jsonl)      file_name, transcription (or text, sentence)
data/train-00000-of-00002.parquet   audio (with its bytes, or paths), text, speaker_id, ...
train/data-00000-of-00001.arrow     with state.json, of save_to_disk
                                    --columns names columns of other names""",
    ),
    "cuts": Importer(
        description="manifests of Lhotse: cuts, or recordings and supervisions, as JSON lines, .gz or not",
        function=f"{_HERE}.lhotse_cuts:import_cuts",
        recognizer=f"{_HERE}.recognizers:cuts",
        options=(_AUDIO, *SPEAKERS, *PCM, _SKIP),
        layout="""\
cuts.jsonl.gz  MonoCut, MultiCut, MixedCut; what has transforms, padding or mixtures is rendered to FLAC
               or a folder with *recordings*.jsonl.gz and *supervisions*.jsonl.gz
               or one of Shar: cuts.000000.jsonl.gz, recording.000000.tar""",
    ),
    "librispeech": Importer(
        description="LibriSpeech, or any folder of it: *.trans.txt beside the audio",
        function=f"{_HERE}.trans_txt:import_librispeech",
        recognizer=f"{_HERE}.recognizers:librispeech",
        options=(_SKIP,),
        has_splits=True,
        layout="""\
SPEAKERS.TXT   train-clean-100/103/1240/103-1240.trans.txt, 103-1240-0000.flac, ...
               SOURCE is the corpus, a subset, a speaker or a chapter""",
    ),
    "zeroth": Importer(
        description="Zeroth-Korean as published, or any folder of it",
        function=f"{_HERE}.trans_txt:import_zeroth",
        recognizer=f"{_HERE}.recognizers:zeroth",
        options=(_SKIP,),
        has_splits=True,
        layout="""\
AUDIO_INFO     train_data_01/003/106/106_003.trans.txt, 106_003_0001.flac, ...   test_data_01/...""",
    ),
    "commonvoice": Importer(
        description="Common Voice of any release: the folder of a language, or one of its tables",
        function=f"{_HERE}.commonvoice:import_commonvoice",
        recognizer=f"{_HERE}.recognizers:commonvoice",
        options=(_AUDIO, _SKIP),
        has_splits=True,
        layout="""\
train.tsv, dev.tsv, test.tsv (else validated.tsv)   client_id, path, sentence, age, gender, ...
clips/common_voice_ko_1.mp3""",
    ),
    "ksponspeech": Importer(
        description="KsponSpeech as published: PCM with a .txt each in CP949, and the lists KsponSpeech_scripts/*.trn",
        function=f"{_HERE}.ksponspeech:import_ksponspeech",
        recognizer=f"{_HERE}.recognizers:ksponspeech",
        options=(*SPEAKERS, *PCM, _SKIP),
        has_splits=True,
        layout="""\
KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.pcm, .txt
KsponSpeech_eval/eval_clean/KsponSpeech_E00001.pcm
KsponSpeech_scripts/train.trn, dev.trn, eval_clean.trn, eval_other.trn   PATH :: TRANSCRIPT
               both readings stay: data.text.transcription chooses one""",
    ),
    "kospeech": Importer(
        description="KoSpeech's transcripts.txt: path, text and ids, as for KsponSpeech",
        function=f"{_HERE}.kospeech:import_kospeech",
        recognizer=f"{_HERE}.recognizers:kospeech",
        options=(
            _AUDIO,
            Option(name="vocab", kind="path", help="vocabulary (.csv, .vocab), to check the ids of the transcripts."),
            Option(name="drop_silence", kind="flag", help="write FLAC without silence, as KoSpeech reads PCM."),
            *SPEAKERS,
            *PCM,
            _SKIP,
        ),
        layout="""\
transcripts.txt   path.pcm<tab>text<tab>ids, with paths from its folder or --audio""",
    ),
    "aihub": Importer(
        description="AI-Hub: recordings and JSON labels, in 1.Training, 2.Validation, 3.Test",
        function=f"{_HERE}.aihub.importer:import_aihub",
        recognizer=f"{_HERE}.recognizers:aihub",
        options=(
            _KEYS,
            *SPEAKERS,
            Option(name="as_one", kind="flag", help="merge all splits into all.jsonl.gz, for asr-lab data split."),
            *PCM,
            _SKIP,
        ),
        has_splits=True,
        layout="""\
1.Training/원천데이터/S001/0000.wav    1.Training/라벨링데이터/S001/0000.json   2.Validation/...
a label is for one recording, for segments of it, or for several (NAME-N.wav, NAME-S.wav; a list that names files)
subset_metadata*.csv    beside them: only its rows are imported""",
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
            *SPEAKERS,
            _SKIP,
        ),
        has_splits=True,
        layout="what the recipe expects; a name that is none lists the recipes",
    ),
    "speechocean762": Importer(
        description="speechocean762: Kaldi files in train/ and test/, with experts' scores",
        function=f"{_HERE}.speechocean762:import_speechocean762",
        recognizer=f"{_HERE}.recognizers:speechocean762",
        options=(Option(name="scores", kind="path", help="the experts' scores.  [SOURCE/resource/scores.json]"), _SKIP),
        layout="train/, test/ (wav.scp, text, utt2spk, spk2age, spk2gender), WAVE/, resource/scores.json, text-phone",
    ),
    "l2-arctic": Importer(
        description="L2-ARCTIC: a folder for each speaker, with annotated TextGrids; split by speakers",
        function=f"{_HERE}.l2arctic:import_l2arctic",
        recognizer=f"{_HERE}.recognizers:l2arctic",
        options=(_SKIP,),
        has_splits=True,
        layout="ABA/wav/arctic_a0001.wav, ABA/annotation/arctic_a0001.TextGrid, ABA/transcript/arctic_a0001.txt",
    ),
    "l2-json": Importer(
        description="JSON files of L2_ASR (train, val, eval), keyed by the path of a WAV",
        function=f"{_HERE}.l2_asr_json:import_l2_asr_json",
        recognizer=f"{_HERE}.recognizers:l2_json",
        options=(_AUDIO, *SPEAKERS, _SKIP),
        has_splits=True,
        layout="""\
train.json     {"ABA/wav/a.wav": {"wrd": "...", "canonical_aligned": "...", "perceived_train_target": "..."}}""",
    ),
    "fsdd": Importer(
        description="Free Spoken Digit Dataset",
        function=f"{_HERE}.fsdd:import_fsdd",
        recognizer=f"{_HERE}.recognizers:fsdd",
        options=(
            Option(name="join", kind="range", help="join digits into strings of this length, such as 1-5."),
            Option(name="blocks", kind="integer", default=10, help="blocks of indices."),
            Option(name="copies", kind="integer", default=1, help="number of different ways to join the recordings."),
            Option(name="seed", kind="integer", default=0, help="seed of the strings."),
            _SKIP,
        ),
        layout="{digit}_{speaker}_{index}.wav",
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
    from asr_lab.data.media import writing_audio

    try:
        with headerless(_pcm(settings)), writing_audio(out / "audio", source) as audio:
            result = importer.load()(source, out, progress=progress, **_with_speakers(importer, settings))
            if audio.num_decoded:
                result.report.notes.append(
                    f"{counted(audio.num_decoded, 'file', 'are')} decoded to FLAC in {out / 'audio'}"
                )
            if settings.get("speaker_from"):
                result.report.notes += _note_on_speakers(result)
            return result
    except AsrLabError as error:
        if not error.next_command and (other := _other_reading(kind, source, out)):
            error.hint = "; ".join(filter(None, (error.hint, f"it looks like {other.kind}: {other.sentence}")))
            error.next_command = other.command(out)
        error.next_command = re.sub(r"\bOUT\b", lambda _: quoted(str(out)), error.next_command)
        raise


def _note_on_speakers(result: ImportResult) -> list[str]:
    """Return a warning if a pattern finds another speaker in each of more than two utterances."""
    names = [str(segment.speaker) for cuts in result.splits.values() for cut in cuts for segment in cut.supervisions]
    if len(names) < _FEW or len(set(names)) < len(names):
        return []
    return [f"warning: --speaker-from finds another speaker in each of the {len(names)} utterances, such as {names[0]}"]


def _pcm(settings: dict[str, Any]) -> Pcm | None:
    """Remove the format of headerless audio from the settings, and return it; None if none is given."""
    from asr_lab.data.audio import Pcm

    pcm = {name: settings.pop(f"pcm_{name}", None) for name in ("rate", "width", "channels")}
    given = {name: value for name, value in pcm.items() if value is not None}
    return Pcm(**given) if given else None


def _with_speakers(importer: Importer, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an import function: options that say who speaks become its `speakers`."""
    from asr_lab.data.importers.speaker_options import Speakers

    if not importer.accepts("speaker_from"):
        return dict(settings)
    given = {name: settings.get(name) for name in ("speaker_from", "one_speaker")}
    return {name: value for name, value in settings.items() if name not in given} | {"speakers": Speakers.of(**given)}


def _other_reading(kind: str, source: Path, out: Path) -> Recognized | None:
    """Return how `source` can be read otherwise than requested; None if it looks like the requested kind or none."""
    others = readings(Source(source, without=out), IMPORTERS)
    return None if not others or kind in {one.kind for one in others} else others[0]
