"""How the layout of each kind of corpus is recognised: functions from a `Source` to the ways it can be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from asr_lab.data.importers.audio_paths import is_audio_name
from asr_lab.data.importers.contract import Reading
from asr_lab.data.importers.source_view import Source, bare, first_lines, first_object, header
from asr_lab.data.importers.table_columns import table_settings
from asr_lab.data.workbooks import SUFFIXES
from asr_lab.units import counted

_TABLES = (".csv", ".tsv", *SUFFIXES)
_LINES = (".jsonl", ".json", ".ndjson", ".list")
_TEXTS = (".txt", ".tsv", ".csv", ".trn", ".lst", ".list", ".text")
_CUTS = {"MonoCut", "MultiCut", "MixedCut", "PaddingCut"}
_KOSPEECH = re.compile(r"[^\t]+\.(pcm|wav|flac)\t[^\t]+(\t[\d ]*)?", re.IGNORECASE)
_AIHUB = re.compile(r"(\d\. ?)?(Training|Validation|Test)/")
_OF_OTHERS = ("*wav.scp", "*.trans.txt", "*.TextGrid")
_NAME = re.compile(r'\s*"?([^|\t,;]+?)"?\s*(?:::|[|\t,;])|\s*(\S+)\s')
_NAME_AT_THE_END = re.compile(r".*\(([^()]+)\)\s*")
_PART = re.compile(r"[-_][^-_]*$")  # of a recording that shares its label: NAME-N.wav, NAME_A.wav
_SHARE = 0.5  # of the recordings that must have a text
_MOST = 4  # examples of what was seen


def _some(names: Sequence[str]) -> str:
    return f"{names[0]}" + (f" and {len(names) - 1} like it" if len(names) > 1 else "")


def csv(source: Source) -> list[Reading]:
    """Tables with a header that has a column of audio; of a file with the suffix of a table, any header."""
    result = []
    for name in source.top(*_TABLES, *(() if source.is_folder else (".txt",))):
        columns = header(source.file(name))
        if not columns or set(columns) >= {"client_id", "path", "sentence"} or "file_name" in columns:
            continue
        is_named_so = name.lower().endswith(_TABLES)
        settings = table_settings(source.file(name)) if source.is_folder or is_named_so else {}
        if source.is_folder and "audio" not in {*columns, *settings.get("keys", {})}:
            continue
        if not is_named_so and not {"audio", "text"} <= set(columns):
            continue
        result.append(
            Reading(
                what="a table",
                evidence=(*((name,) if source.is_folder else ()), f"columns {_columns(columns, settings)}"),
                file=name if source.is_folder else "",
                settings=settings,
                is_general=True,
            )
        )
    return result


def _columns(columns: Iterable[str], settings: Mapping[str, Any]) -> str:
    fields = {column: field for field, column in settings.get("keys", {}).items()}
    return ", ".join(f"{name} ({fields[name]})" if name in fields else name for name in columns)


def jsonl(source: Source) -> list[Reading]:
    """JSON lines of objects that are neither of NeMo nor of Lhotse."""
    result = []
    for name in source.top(*_LINES):
        row = first_object(source.file(name))
        if not row or "audio_filepath" in row or _is_lhotse(row) or not _has_audio(row) or _is_learners(row):
            continue
        settings = table_settings(source.file(name))
        result.append(
            Reading(
                what="a table of JSON lines",
                evidence=(*((name,) if source.is_folder else ()), f"keys {_columns(row, settings)}"),
                file=name if source.is_folder else "",
                settings=settings,
                is_general=True,
            )
        )
    return [one for one in result if "file_name" not in first_object(source.file(one.file))]


def _has_audio(row: Mapping[str, Any]) -> bool:
    return "audio" in row or any(isinstance(value, str) and is_audio_name(value) for value in row.values())


def _is_lhotse(row: Mapping[str, Any]) -> bool:
    return row.get("type") in _CUTS or {"sources", "sampling_rate"} <= set(row) or "recording_id" in row


def _is_learners(row: Mapping[str, Any]) -> bool:
    name, value = next(iter(row.items()), ("", None))
    return isinstance(value, Mapping) and is_audio_name(name)


def folder(source: Source) -> list[Reading]:
    """Audio with a text beside each, or a file whose lines begin with the names of the audio."""
    if not source.audio or source.matching(*_OF_OTHERS):
        return []
    beside = source.partners((".txt", ".lab"))
    if len(beside) >= _SHARE * len(source.audio):
        evidence = (
            f"{len(beside)} of {len(source.audio)} recordings have a .txt or .lab beside them, such as {beside[0]}"
        )
        return [Reading(what="audio with a text beside each", evidence=(evidence,), is_general=True)]
    names = {bare(name) for name in source.audio}
    tables = []
    for name in source.files:
        if is_audio_name(name) or PurePosixPath(name).suffix.lower() not in (*_TEXTS, ""):
            continue
        rows = [row for row in first_lines(source.file(name)) if row.strip()]
        named = [row for row in rows if _named(row) & names]
        has_header = rows and rows[0] not in named and header_of_table(source.file(name))
        if rows and len(named) >= _SHARE * len(rows) and not has_header:
            tables.append(name)
    return [
        Reading(
            what="audio with its transcripts in one file",
            evidence=(name, f"{counted(len(source.audio), 'recording')}, whose names its lines have"),
            settings={"transcripts": source.file(name)} if len(tables) > 1 else {},
            is_general=True,
        )
        for name in tables
    ]


def _named(row: str) -> set[str]:
    """Return what may be the name of a recording in a line of transcripts: its start, or `(NAME)` at its end."""
    matches = (_NAME.match(row), _NAME_AT_THE_END.fullmatch(row))
    return {bare(next(filter(None, match.groups()))) for match in matches if match and any(match.groups())}


def header_of_table(path: Path) -> bool:
    """Return whether a file is a table whose header names a column of audio or text."""
    columns = header(path)
    return bool(columns) and "audio" in {*columns, *table_settings(path).get("keys", {})}


def nemo(source: Source) -> list[Reading]:
    """JSON lines with `audio_filepath`."""
    names = [name for name in source.top(*_LINES) if "audio_filepath" in first_object(source.file(name))]
    if not names:
        return []
    keys = ", ".join(first_object(source.file(names[0])))
    return [
        Reading(
            what="NeMo's manifests" if len(names) > 1 else "a manifest of NeMo's",
            evidence=(*names[:_MOST], f"keys {keys}"),
        )
    ]


def kaldi(source: Source) -> list[Reading]:
    """`wav.scp` with `text`."""
    seen = source.has("wav.scp", "text", "utt2spk", "segments", "spk2gender", "spk2age")
    return [Reading(what="a data folder of Kaldi's", evidence=tuple(seen))] if seen[:2] == ["wav.scp", "text"] else []


def huggingface(source: Source) -> list[Reading]:
    """Audio folders, parquet, and what `save_to_disk` wrote."""
    tables = source.matching("metadata.csv", "*/metadata.csv", "metadata.jsonl", "*/metadata.jsonl")
    if not source.is_folder and source.path.name in ("metadata.csv", "metadata.jsonl"):
        tables = [source.path.name]
    named = [name for name in tables if "file_name" in {*header(source.file(name)), *first_object(source.file(name))}]
    if named:
        return [Reading(what="an audio folder of Hugging Face", evidence=(*named[:_MOST], "the column file_name"))]
    saved = source.has("dataset_dict.json") or (source.has("dataset_info.json", "state.json"))
    if saved and source.matching("*.arrow"):
        return [
            Reading(what="a data set that save_to_disk wrote", evidence=(*saved, _some(source.matching("*.arrow"))))
        ]
    parquet = source.matching("*.parquet") or source.top(".parquet")
    return [Reading(what="parquet of Hugging Face", evidence=(_some(parquet),))] if parquet else []


def cuts(source: Source) -> list[Reading]:
    """Lhotse's cuts, or its recordings with supervisions; not the manifests of this project."""
    names = source.top(".jsonl", ".jsonl.gz")
    shar = [one for one in source.matching("cuts.*.jsonl*", "recording.*.tar") if "/" not in one]
    if source.is_folder and shar and {one.partition(".")[0] for one in shar} == {"cuts", "recording"}:
        return [Reading(what="shards of Lhotse (Shar)", evidence=(_some(shar),))]
    if source.is_folder:
        recordings = [name for name in names if "sources" in first_object(source.file(name))]
        supervisions = [name for name in names if "recording_id" in first_object(source.file(name))]
        if recordings and supervisions:
            return [Reading(what="manifests of Lhotse's", evidence=(recordings[0], supervisions[0]))]
        return []
    row = first_object(source.path)
    is_cut = row.get("type") in _CUTS and names
    return [Reading(what="Lhotse's cuts", evidence=(f"the type {row['type']}",))] if is_cut else []


def librispeech(source: Source) -> list[Reading]:
    """`103-1240.trans.txt` beside the audio."""
    seen = [name for name in source.matching("*.trans.txt") if re.fullmatch(r".*\d-\d+\.trans\.txt", name)]
    return [Reading(what="LibriSpeech", evidence=(*source.has("SPEAKERS.TXT"), _some(seen)))] if seen else []


def zeroth(source: Source) -> list[Reading]:
    """`106_003.trans.txt` beside the audio."""
    seen = [name for name in source.matching("*.trans.txt") if re.fullmatch(r".*\d_\d+\.trans\.txt", name)]
    return [Reading(what="Zeroth-Korean", evidence=(*source.has("AUDIO_INFO"), _some(seen)))] if seen else []


def commonvoice(source: Source) -> list[Reading]:
    """Tables with `client_id`, `path` and `sentence`."""
    seen = [n for n in source.top(".tsv", ".csv") if set(header(source.file(n))) >= {"client_id", "path", "sentence"}]
    evidence = (*seen[:_MOST], "columns client_id, path, sentence", *source.has("clips"))
    return [Reading(what="Common Voice", evidence=evidence)] if seen else []


def ksponspeech(source: Source) -> list[Reading]:
    """`KsponSpeech_000001.pcm` with its text, or the lists `*.trn`."""
    if not source.is_folder:
        is_list = source.path.suffix == ".trn" and _has_pairs(source.path)
        return [Reading(what="a list of KsponSpeech", evidence=("lines PATH :: TRANSCRIPT",))] if is_list else []
    folders = sorted(path.name for path in source.path.glob("KsponSpeech_*") if path.is_dir())
    seen = [name for name in source.files if re.search(r"KsponSpeech_E?\d+\.(pcm|wav|flac)$", name)]
    lists = [name for name in source.matching("*.trn") if _has_pairs(source.file(name))]  # not those of NIST's sclite
    if not seen and not lists:
        return []
    return [Reading(what="KsponSpeech", evidence=tuple(filter(None, (*folders[:2], *lists[:2], *seen[:1]))))]


def _has_pairs(path: Path) -> bool:
    """Return whether a list has lines `PATH :: TRANSCRIPT`."""
    return any("::" in row for row in first_lines(path, 3))


def kospeech(source: Source) -> list[Reading]:
    """Lines of a path, a text and ids, separated by tabs."""
    result = []
    for name in source.top(".txt"):
        rows = [row for row in first_lines(source.file(name)) if row.strip()]
        if rows and all(_KOSPEECH.fullmatch(row) for row in rows) and any(row.count("\t") == 2 for row in rows):
            result.append(
                Reading(
                    what="transcripts of KoSpeech",
                    evidence=(*((name,) if source.is_folder else ()), "lines path<tab>text<tab>ids"),
                    file=name if source.is_folder else "",
                )
            )
    return result


def aihub(source: Source) -> list[Reading]:
    """Recordings and JSON labels of the same name, or in AI-Hub's folders."""
    labels, tables = source.matching("*.json"), source.matching("subset_metadata*.csv")
    parts = sorted({name.split("/")[0] for name in source.files if "데이터" in name or _AIHUB.match(name)})
    names = {bare(name) for name in source.audio}
    names |= {_PART.sub("", name) for name in names}
    paired = [name for name in labels if bare(name).removesuffix(".json") in names]
    is_labelled = labels and (parts or len(paired) >= _SHARE * len(labels))
    if not source.audio or not (is_labelled or tables) or source.matching("*.arrow"):
        return []
    labelled = f"{len(labels)} JSON labels, such as {(paired or labels or tables)[0]}"
    return [Reading(what="a corpus of AI-Hub", evidence=(*parts[:3], *tables[:1], labelled))]


def fsdd(source: Source) -> list[Reading]:
    """`{digit}_{speaker}_{index}.wav`."""
    wavs = source.top(".wav") if source.is_folder else []
    seen = [name for name in wavs if re.fullmatch(r"\d_[A-Za-z]+_\d+\.wav", name)]
    texts = source.partners((".txt",)) or source.top(*_TABLES, ".jsonl")
    is_fsdd = seen and len(seen) == len(wavs) and not texts
    return [Reading(what="the Free Spoken Digit Dataset", evidence=(_some(seen),))] if is_fsdd else []


def speechocean762(source: Source) -> list[Reading]:
    """Kaldi's files with the experts' scores."""
    seen = source.has("resource", "train", "test", "WAVE")
    scores = [name for name in ("resource/text-phone", "resource/scores.json") if (source.path / name).is_file()]
    return [Reading(what="speechocean762", evidence=(*scores, *seen[1:]))] if scores else []


def l2arctic(source: Source) -> list[Reading]:
    """TextGrids of the speakers."""
    seen = source.matching("*/annotation/*.TextGrid")
    return [Reading(what="L2-ARCTIC", evidence=(_some(seen),))] if seen else []


def l2_json(source: Source) -> list[Reading]:
    """JSON objects keyed by the paths of WAVs, with phoneme strings."""
    seen = []
    for name in source.top(".json"):
        head = " ".join(first_lines(source.file(name), 40))
        if re.match(r'\s*\{\s*"[^"]+\.wav"\s*:\s*\{', head) and re.search(r'"(canonical|perceived)_\w+"', head):
            seen.append(name)
    evidence = (*(seen if source.is_folder else ()), "phonemes by the path of a WAV")
    return [Reading(what="the JSON of L2_ASR", evidence=evidence)] if seen else []
