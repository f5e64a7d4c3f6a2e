"""The JSON of YounghwanShin/L2_ASR: an object keyed by the path of a WAV, with values of phoneme strings.

Fields read: `canonical_aligned` (or `canonical_train_target`), `perceived_train_target`, and, if present,
`perceived_aligned`, `error_labels`, `spk_id`, `wrd`. In aligned strings `sil` marks insertions and deletions; without
`perceived_aligned`, phonemes are aligned by minimum edit distance. Errors come from the alignment, because
`error_labels` (C and I, later C, S, D and I) refer to the perceived phonemes in some versions and omit deletions;
contradictions are reported. Without `wrd` and `text`, the canonical phonemes become the text, which is reported too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lhotse.cut import Cut
from rapidfuzz.distance import Levenshtein

from asr_lab.data import guesses, manifest
from asr_lab.data.arpabet import is_silence, phoneme_of
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.l2arctic import SPEAKERS
from asr_lab.data.importers.pieces import PieceColumns, cut_piece
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.pronunciation import DELETED, UNKNOWN, Pronunciation
from asr_lab.data.text_files import read_text
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

_PARTS = {"train": "train", "val": "val", "valid": "val", "dev": "val", "eval": "test", "test": "test"}


def import_l2_asr_json(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a JSON file, or the train, val and eval files of a folder.

    `eval` becomes `test`; a single file with another name becomes `all`. Audio paths are relative to the folder
    `audio`, by default that of the JSON file. Values that cannot be used are left out and reported. Raises
    `AsrLabError` if audio is missing, unless `skip_faulty`, or no utterance is left.
    """
    files = _files(source)
    report = ImportReport()
    rows = {part: _rows(path) for part, path in files.items()}
    paths = [_audio(key, files[part], audio) for part, part_rows in rows.items() for key in part_rows]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing and not skip_faulty:
        raise AsrLabError(
            f"{counted(len(missing), 'audio file', 'are')} not there: {listing(missing, 3)}",
            where=str(source),
            allowed="the paths the JSON is keyed by, or relative ones and the folder they start from (--audio)",
        )
    total, done = sum(map(len, rows.values())), 0
    splits: dict[str, list[Cut]] = {}
    for part, part_rows in rows.items():
        splits[part] = []
        for key, row in part_rows.items():
            if (cut := _utterance(_audio(key, files[part], audio), row, files[part], report, speakers)) is not None:
                splits[part].append(cut)
            done += 1
            progress(done, total)
    if not any(splits.values()):
        report.refuse(source, "no utterance can be used")
    return ImportResult(splits={part: cuts for part, cuts in splits.items() if cuts}, report=report)


def _files(source: Path) -> dict[str, Path]:
    """Return part -> file."""
    paths = [source] if source.is_file() else sorted(source.glob("*.json"))
    named = [(part, path) for path in paths if (part := _part(path.stem)) is not None]
    if source.is_file() and not named:
        return {"all": source}
    twice = [part for part, n in Counter(part for part, _ in named).items() if n > 1]
    if not named or twice:
        what = f"several files are the {', '.join(twice)} part" if twice else "no train, val or eval file"
        raise AsrLabError(
            f"{what}: {listing((path.name for path in paths), 8) or 'no JSON file at all'}",
            where=str(source),
            allowed="one JSON file with train, one with val and one with eval or test in its name, or one file",
        )
    return dict(named)


def _part(stem: str) -> str | None:
    words = stem.lower().replace("-", "_").split("_")
    return next((_PARTS[word] for word in words if word in _PARTS), None)


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = json.loads(read_text(path))
    except ValueError as error:
        raise AsrLabError(f"not JSON: {error}", where=str(path)) from error
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise AsrLabError("not an object keyed by the path of a WAV", where=str(path))
    return rows


def _audio(key: str, file: Path, audio: Path | None) -> Path:
    return (audio or file.parent) / key


def _utterance(audio: Path, row: dict[str, Any], file: Path, report: ImportReport, speakers: Speakers) -> Cut | None:
    name = _speaker(audio, row) + "-" + audio.stem
    try:
        speaker = speakers.speaker("", str(audio))[0] if speakers.are_given else _speaker(audio, row)
        annotation = _pronunciation(row, report)
    except AsrLabError as error:
        report.add_error(name, error, file=file)
        return None
    if _contradicts(row, annotation):
        report.remarks["have error labels that contradict the phonemes, which count"].append(name)
    text = str(row.get("wrd") or row.get("text") or "").strip()
    if not text:
        report.remarks["have no words, their canonical phonemes are the text"].append(name)
    l1, gender = SPEAKERS.get(speaker, ("", ""))
    try:
        whole = manifest.utterance(
            id=name,
            audio=audio,
            text=text or " ".join(annotation.canonical),
            speaker=speaker,
            gender=gender,
            language="en",
            corpus="l2-json",
            **({"l1": l1} if l1 else {}),
            **annotation.to_custom(),
        )
    except AsrLabError as error:
        report.add(name, "its audio cannot be read", error.what, file=audio)
        return None
    named = row.get("spk_id") or speaker in SPEAKERS or speakers.are_given
    guesses.mark(manifest.supervision(whole), *([] if named else ["speaker"]), *([] if text else ["text"]))
    try:
        piece = PieceColumns.of([row]).piece(row, whole)
    except AsrLabError as error:
        report.add_error(name, error, file=file)
        return None
    return cut_piece(whole, piece) if piece else whole


def _speaker(audio: Path, row: dict[str, Any]) -> str:
    """Return `spk_id`, else the folder above `wav/`, as in L2-ARCTIC."""
    return str(row.get("spk_id") or (audio.parents[1].name if audio.parent.name == "wav" else audio.parent.name))


def _pronunciation(row: dict[str, Any], report: ImportReport) -> Pronunciation:
    """Return the phonemes of one value; raises `AsrLabError` if they are inconsistent."""
    canonical = _labels(row, "canonical_aligned") or _labels(row, "canonical_train_target")
    aligned, perceived = _labels(row, "perceived_aligned"), _labels(row, "perceived_train_target")
    if not canonical or not (aligned or perceived):
        raise AsrLabError(f"no {'canonical_aligned' if not canonical else 'perceived_train_target'}")
    if aligned and len(aligned) != len(canonical):
        lengths = f"{len(aligned)} and {len(canonical)}"
        raise AsrLabError(f"perceived_aligned and canonical_aligned differ in length: {lengths}")
    expected = [_phoneme(label, report) for label in canonical]
    if UNKNOWN in expected or not any(expected):
        raise AsrLabError("a canonical phoneme is unknown, or there is none")
    if aligned:
        pairs = list(zip(expected, (_phoneme(label, report) for label in aligned), strict=True))
    else:
        spoken = [phoneme for label in perceived if (phoneme := _phoneme(label, report))]
        pairs = _align([part_rows for part_rows in expected if part_rows], spoken)
    annotation = _from_pairs(pairs)
    labels = _labels(row, "error_labels")
    if labels and len(labels) not in (len(canonical), len(annotation.canonical), len(annotation.spoken)):
        lengths = f"{len(annotation.canonical)}, {len(labels)}"
        raise AsrLabError(f"canonical and error_labels differ in length: {lengths}")
    return annotation


def _contradicts(row: dict[str, Any], annotation: Pronunciation) -> bool:
    """Return whether `error_labels` can be compared with the phonemes one by one, and differ."""
    labels = _labels(row, "error_labels")
    one_each = annotation.spoken == annotation.perceived and len(labels) == len(annotation.errors)
    return one_each and [int(label != "C") for label in labels] != list(annotation.errors)


def _labels(row: dict[str, Any], name: str) -> list[str]:
    """Return the labels of a field: a list, or a string separated by spaces."""
    value = row.get(name) or ""
    return [str(label) for label in value] if isinstance(value, list) else str(value).split()


def _phoneme(label: str, report: ImportReport) -> str:
    """Return the phoneme, "" for a pause, `<unk>` otherwise (`err` is an unidentified sound)."""
    if is_silence(label):
        return ""
    phoneme = phoneme_of(label)
    if phoneme is None and label.lower() not in ("err", UNKNOWN):
        report.unknown_labels[label] += 1
    return phoneme or UNKNOWN


def _align(canonical: Sequence[str], perceived: Sequence[str]) -> list[tuple[str, str]]:
    """Align phonemes by minimum edit distance; "" marks insertions and deletions."""
    pairs: list[tuple[str, str]] = []
    for edit in Levenshtein.opcodes(canonical, perceived):
        expected, spoken = canonical[edit.src_start : edit.src_end], perceived[edit.dest_start : edit.dest_end]
        pairs += zip_longest(expected, spoken, fillvalue="")
    return pairs


def _from_pairs(pairs: Sequence[tuple[str, str]]) -> Pronunciation:
    canonical: list[str] = []
    perceived: list[str] = []
    insertions: list[tuple[str, ...]] = [()]
    for expected, spoken in pairs:
        if expected:
            canonical.append(expected)
            perceived.append(spoken or DELETED)
            insertions.append(())
        elif spoken:
            insertions[-1] += (spoken,)
    return Pronunciation(
        canonical=tuple(canonical),
        perceived=tuple(perceived),
        errors=tuple(int(a != b) for a, b in zip(canonical, perceived, strict=True)),
        insertions=tuple(insertions),
    )
