"""The JSON of YounghwanShin/L2_ASR: an object keyed by the path of a WAV, its values strings of phonemes.

Of a value these are read: `canonical_aligned` (or `canonical_train_target`), `perceived_train_target`, and, where there
are some, `perceived_aligned`, `error_labels`, `spk_id`, `wrd`. In the aligned strings `sil` stands opposite to what was
put in or left out; where `perceived_aligned` lacks, canonical and perceived phonemes are aligned by the least number of
edits. Errors come from that alignment, since `error_labels` (C and I, later C, S, D and I) belong to the perceived
phonemes in some versions and lose deletions; where they can be held against it and differ is told. Where neither `wrd`
nor `text` says the words, the canonical phonemes are the text, which is told too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lhotse.cut import Cut
from rapidfuzz.distance import Levenshtein

from asr_lab.data import manifest
from asr_lab.data.arpabet import is_silence, phoneme_of
from asr_lab.data.importers.import_report import Telling
from asr_lab.data.importers.l2arctic import SPEAKERS
from asr_lab.data.pronunciation import DELETED, UNKNOWN, Pronunciation
from asr_lab.errors import AsrLabError, listing

_PARTS = {"train": "train", "val": "val", "valid": "val", "dev": "val", "eval": "test", "test": "test"}
Progress = Callable[[int, int], None]


def import_l2json(
    source: Path, *, audio: Path | None = None, progress: Progress | None = None
) -> tuple[dict[str, list[Cut]], list[str]]:
    """(Part -> utterances, what is to be told) of a JSON file, or of the train, val and eval files of a folder.

    `eval` becomes `test`; a single file with none of these names becomes `all`. Relative paths of audio start from the
    folder `audio`, by default that of the JSON file. Raises `AsrLabError` when audio is missing, or nothing is left.
    """
    files = _files(source)
    told = Telling()
    rows = {part: _rows(path) for part, path in files.items()}
    paths = [_audio(key, files[part], audio) for part, each in rows.items() for key in each]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise AsrLabError(
            f"{len(missing)} audio files are not there: {listing(missing, 3)}",
            where=str(source),
            allowed="the paths the JSON is keyed by, or relative ones and the folder they start from (--audio)",
        )
    total, done = sum(map(len, rows.values())), 0
    parts: dict[str, list[Cut]] = {}
    for part, each in rows.items():
        parts[part] = []
        for key, row in each.items():
            if (cut := _utterance(_audio(key, files[part], audio), row, told)) is not None:
                parts[part].append(cut)
            done += 1
            if progress:
                progress(done, total)
    if not any(parts.values()):
        raise AsrLabError("\n    ".join(["nothing can be used", *told.lines()]), where=str(source))
    return {part: cuts for part, cuts in parts.items() if cuts}, told.lines()


def _files(source: Path) -> dict[str, Path]:
    """Part -> its file; each part once."""
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
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AsrLabError(f"not JSON: {error}", where=str(path)) from error
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise AsrLabError("not an object keyed by the path of a WAV", where=str(path))
    return rows


def _audio(key: str, file: Path, audio: Path | None) -> Path:
    return (audio or file.parent) / key


def _utterance(audio: Path, row: dict[str, Any], told: Telling) -> Cut | None:
    name = _speaker(audio, row) + "-" + audio.stem
    said = _pronunciation(row, name, told)
    if said is None:
        return None
    speaker = _speaker(audio, row)
    text = str(row.get("wrd") or row.get("text") or "").strip()
    if not text:
        told.without_text.append(name)
    l1, gender = SPEAKERS.get(speaker, ("", ""))
    try:
        return manifest.utterance(
            id=name,
            audio=audio,
            text=text or " ".join(said.canonical),
            speaker=speaker,
            gender=gender,
            language="en",
            corpus="l2-json",
            **({"l1": l1} if l1 else {}),
            **said.to_custom(),
        )
    except AsrLabError as error:
        told.leave_out(f"its audio cannot be read ({error.what})", name)
        return None


def _speaker(audio: Path, row: dict[str, Any]) -> str:
    """`spk_id`, else the folder above `wav/`, as L2-ARCTIC has it."""
    return str(row.get("spk_id") or (audio.parents[1].name if audio.parent.name == "wav" else audio.parent.name))


def _pronunciation(row: dict[str, Any], name: str, told: Telling) -> Pronunciation | None:
    canonical = _labels(row, "canonical_aligned") or _labels(row, "canonical_train_target")
    aligned, perceived = _labels(row, "perceived_aligned"), _labels(row, "perceived_train_target")
    if not canonical or not (aligned or perceived):
        lacking = "canonical_aligned" if not canonical else "perceived_train_target"
        told.leave_out(f"no {lacking}", name)
        return None
    if aligned and len(aligned) != len(canonical):
        why = "perceived_aligned and canonical_aligned differ in length"
        told.leave_out(why, f"{name} ({len(aligned)} and {len(canonical)})")
        return None
    wanted = [_phoneme(label, told) for label in canonical]
    if UNKNOWN in wanted or not any(wanted):
        told.leave_out("a canonical phoneme is unknown, or there is none", name)
        return None
    if aligned:
        pairs = list(zip(wanted, (_phoneme(label, told) for label in aligned), strict=True))
    else:
        pairs = _align([each for each in wanted if each], [p for label in perceived if (p := _phoneme(label, told))])
    said = _from_pairs(pairs)
    return said if _labels_fit(row, len(canonical), said, name, told) else None


def _labels(row: dict[str, Any], name: str) -> list[str]:
    """The labels of a field: a string with spaces between them, or a list."""
    value = row.get(name) or ""
    return [str(label) for label in value] if isinstance(value, list) else str(value).split()


def _phoneme(label: str, told: Telling) -> str:
    """The phoneme, "" for a pause, `<unk>` for what is none (`err` is a sound that nobody could name)."""
    if is_silence(label):
        return ""
    found = phoneme_of(label)
    if found is None and label.lower() not in ("err", UNKNOWN):
        told.labels[label] += 1
    return found or UNKNOWN


def _align(canonical: Sequence[str], perceived: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of phonemes by the least number of edits, "" opposite to what was put in or left out."""
    pairs: list[tuple[str, str]] = []
    for edit in Levenshtein.opcodes(canonical, perceived):
        wanted, heard = canonical[edit.src_start : edit.src_end], perceived[edit.dest_start : edit.dest_end]
        longest = max(len(wanted), len(heard))
        pairs += zip([*wanted, *[""] * (longest - len(wanted))], [*heard, *[""] * (longest - len(heard))], strict=True)
    return pairs


def _from_pairs(pairs: Sequence[tuple[str, str]]) -> Pronunciation:
    canonical: list[str] = []
    perceived: list[str] = []
    insertions: list[tuple[str, ...]] = [()]
    for wanted, heard in pairs:
        if wanted:
            canonical.append(wanted)
            perceived.append(heard or DELETED)
            insertions.append(())
        elif heard:
            insertions[-1] += (heard,)
    return Pronunciation(
        canonical=tuple(canonical),
        perceived=tuple(perceived),
        errors=tuple(int(a != b) for a, b in zip(canonical, perceived, strict=True)),
        insertions=tuple(insertions),
    )


def _labels_fit(row: dict[str, Any], length: int, said: Pronunciation, name: str, told: Telling) -> bool:
    """Whether `error_labels`, if any, are as many as one of the sequences; tells where they contradict the phonemes."""
    labels = _labels(row, "error_labels")
    if labels and len(labels) not in (length, len(said.canonical), len(said.said)):
        told.leave_out("canonical and error_labels differ in length", f"{name} ({len(said.canonical)}, {len(labels)})")
        return False
    one_each = said.said == said.perceived and len(labels) == len(said.errors)
    if one_each and [int(label != "C") for label in labels] != list(said.errors):
        told.contradict(name)
    return True
