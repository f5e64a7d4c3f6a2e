"""Write a manifest in the form of NeMo or Kaldi, so that other toolkits train and score on the same utterances."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse.cut import Cut

from asr_lab.data import columns, guesses, manifest
from asr_lab.data.audio import HEADERLESS_SUFFIXES
from asr_lab.data.audio_places import file_of, member_of
from asr_lab.data.cut_audio import PCM_WIDTH, read_cut
from asr_lab.errors import AsrLabError, listing
from asr_lab.system.files import atomic_file, atomic_folder
from asr_lab.units import SAMPLE_RATE

FORMATS = ("nemo", "kaldi")
_KALDI_GENDERS = {"male": "m", "female": "f"}
_TOLERANCE_S = 0.001  # of a cut that is all of its file
Progress = Callable[[int, int], None]


def export(form: str, cuts: Sequence[Cut], out: Path, *, copy_audio: bool, progress: Progress) -> list[str]:
    """Write utterances as `form` to `out`, and return notes; `copy_audio` writes each as a file of 16 kHz, mono.

    What is at `out` is replaced. Raises `AsrLabError` if the form cannot refer to some of the audio, some of it lies in
    what would be replaced, or names would be the same.
    """
    replaced = [folder.resolve() for folder in (out, _audio_folder(out))]
    sources = columns.sources(cuts)
    if within := {source for source in sources if any(Path(source).resolve().is_relative_to(one) for one in replaced)}:
        inside = [cut.id for cut in cuts if str(_source(cut)) in within]
        raise AsrLabError(
            f"the audio of {len(inside)} utterances is in what would be replaced: {listing(inside, 4)}",
            where=str(out),
            allowed="another place",
        )
    if not copy_audio and not _can_all_be_named(cuts, sources):
        lacking = [cut.id for cut in cuts if not _can_be_named(cut)]
        raise AsrLabError(
            f"{form} cannot refer to the audio of {len(lacking)} utterances, which is headerless, in shards, or "
            f"has several channels: {listing(lacking, 4)}",
            allowed="WAV, FLAC and the like, of one channel",
            hint="--copy-audio writes a file for each utterance",
        )
    return [*{"nemo": _nemo, "kaldi": _kaldi}[form](cuts, out, copy_audio, progress), *guesses.notes([cuts])]


def _source(cut: Cut) -> Path:
    return Path(file_of(str(cut.recording.sources[0].source)))


def _audio_folder(out: Path) -> Path:
    return out.with_name(f"{out.stem}-audio")


def _can_all_be_named(cuts: Sequence[Cut], sources: Sequence[str]) -> bool:
    """Return whether every utterance `_can_be_named`."""
    is_headerless = any(Path(source).suffix in HEADERLESS_SUFFIXES for source in sources)
    if is_headerless or PCM_WIDTH in columns.field_names(cuts):
        return all(map(_can_be_named, cuts))
    return columns.converted(cuts, SAMPLE_RATE)[0] == 0 or all(map(_can_be_named, cuts))


def _can_be_named(cut: Cut) -> bool:
    is_headerless = PCM_WIDTH in (manifest.supervision(cut).custom or {}) or _source(cut).suffix in HEADERLESS_SUFFIXES
    is_member = member_of(str(cut.recording.sources[0].source)) is not None
    return cut.recording.num_channels == 1 and not is_headerless and not is_member


def _nemo(cuts: Sequence[Cut], out: Path, copy_audio: bool, progress: Progress) -> list[str]:
    """Write a line of JSON for each utterance; paths are relative to the manifest."""
    final = _audio_folder(out)
    copies: Mapping[str, Path] = {}
    with ExitStack() as stack:
        if copy_audio:
            folder = stack.enter_context(atomic_folder(final, replaces=True))
            copies = _copied(cuts, folder, final, ".flac", progress)
        written = stack.enter_context(atomic_file(out))
        rows = (_line(cut, copies.get(cut.id), out.parent.resolve()) for cut in cuts)
        with written.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return []


def _line(cut: Cut, copy: Path | None, root: Path) -> dict[str, Any]:
    segment = manifest.supervision(cut)
    row: dict[str, Any] = {"audio_filepath": os.path.relpath((copy or _source(cut)).resolve(), root)}
    row |= {} if copy or _is_whole(cut) else {"offset": round(cut.start, 6)}
    row |= {"duration": round(cut.duration, 6), "text": manifest.text(cut), "speaker": segment.speaker}
    row |= {"lang": segment.language} if segment.language else {}
    row |= {"gender": segment.gender} if segment.gender else {}
    row |= {name: value for name in ("age", "age_group") if (value := manifest.field(cut, name)) is not None}
    guessed = manifest.field(cut, guesses.GUESSED)
    return row | ({guesses.GUESSED: guessed} if guessed else {}) | {"id": cut.id}


def _kaldi(cuts: Sequence[Cut], out: Path, copy_audio: bool, progress: Progress) -> list[str]:
    """Write `wav.scp`, `text`, `utt2spk`, `spk2utt`, ... with ids that begin with the speaker, as Kaldi sorts them."""
    ids = _ids(cuts)
    names = ("text", "utt2spk", "wav.scp", "spk2gender", "utt2lang", "utt2age")
    files: dict[str, dict[str, str]] = {name: {} for name in names}
    segments: dict[str, str] = {}
    recordings: dict[str, str] = {}
    with atomic_folder(out, replaces=True) as folder:
        copies = _copied(cuts, folder / "audio", out.absolute() / "audio", ".wav", progress) if copy_audio else {}
        has_segments = not copy_audio and not all(map(_is_whole, cuts))
        for cut in cuts:
            id, speaker, segment = ids[cut.id], _word(str(manifest.supervision(cut).speaker)), manifest.supervision(cut)
            path = copies.get(cut.id) or _source(cut)
            recording = recordings.setdefault(str(path), f"rec{len(recordings):06}-{_word(path.stem)}")
            recording = recording if has_segments else id
            files["text"][id] = " ".join(manifest.text(cut).split())
            files["utt2spk"][id], files["wav.scp"][recording] = speaker, os.path.normpath(path)
            if has_segments:
                segments[id] = f"{recording} {cut.start:.6f} {cut.end:.6f}"
            if gender := _KALDI_GENDERS.get(segment.gender or ""):
                files["spk2gender"][speaker] = gender
            if segment.language:
                files["utt2lang"][id] = segment.language
            if age := manifest.field(cut, "age") or manifest.field(cut, "age_group"):
                files["utt2age"][id] = str(age)
        of_speaker: dict[str, list[str]] = {}
        for id, speaker in files["utt2spk"].items():
            of_speaker.setdefault(speaker, []).append(id)
        files["spk2utt"] = {speaker: " ".join(_sorted(own)) for speaker, own in of_speaker.items()}
        for name, rows in {**files, "segments": segments}.items():
            if rows:
                text = "".join(f"{key} {rows[key]}\n" for key in _sorted(rows))
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
    others = {Path(path).suffix.lower() for path in files["wav.scp"].values()} - {".wav"}
    note = f"Kaldi itself reads WAV alone, not {listing(sorted(others))}: --copy-audio writes WAV"
    return [note] if others else []


def _ids(cuts: Sequence[Cut]) -> dict[str, str]:
    """Return id -> id for Kaldi: without white space, and beginning with the speaker."""
    ids = {}
    speakers = columns.factor(cuts, "speaker").of_each(lambda name: _word(str(name)))
    for name, speaker in zip(columns.ids(cuts).to_pylist(), speakers.tolist(), strict=True):
        id = _word(name)
        ids[name] = id if id.startswith(speaker) else f"{speaker}-{id}"
    if twice := [id for id, number in Counter(ids.values()).items() if number > 1]:
        raise AsrLabError(f"ids that are the same without white space: {listing(twice, 4)}", allowed="other ids")
    return ids


def _word(text: str) -> str:
    return "_".join(text.split())


def _sorted(keys: Iterable[str]) -> list[str]:
    """Sort by bytes, as `LC_ALL=C sort` does."""
    return sorted(keys, key=str.encode)


def _is_whole(cut: Cut) -> bool:
    return bool(cut.start == 0 and abs(cut.duration - cut.recording.duration) <= _TOLERANCE_S)


def _copied(cuts: Sequence[Cut], folder: Path, final: Path, suffix: str, progress: Progress) -> Mapping[str, Path]:
    """Write each utterance to `folder`, which becomes `final`, and return id -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = columns.ids(cuts).to_pylist()
    names = {id: "".join(c if c.isalnum() or c in "._-" else "_" for c in id) + suffix for id in ids}
    if twice := [name for name, number in Counter(names.values()).items() if number > 1]:
        raise AsrLabError(f"ids that would be the same file: {listing(twice, 4)}", allowed="other ids")
    for done, cut in enumerate(cuts, start=1):
        soundfile.write(folder / names[cut.id], np.clip(read_cut(cut), -1, 1), SAMPLE_RATE, subtype="PCM_16")
        progress(done, len(cuts))
    return {id: final / name for id, name in names.items()}
