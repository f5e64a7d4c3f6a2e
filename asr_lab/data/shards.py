"""Shards of Lhotse Shar: tars of audio that are read by one seek, and a manifest like any other beside them.

    OUT/train.jsonl.gz                  the manifest: each recording is a member of a tar (`audio_places`)
    OUT/train.shards.json               what they are a function of
    OUT/train/cuts.000000.jsonl.gz      the cuts of a shard, and with it
    OUT/train/recording.000000.tar      their audio: CutSet.from_shar(in_dir="OUT/train") of plain Lhotse reads both

The manifest is the index: Lhotse's own indexes are in the pre-releases of its version 2 alone, whose names of members
it uses. A shard is a function of its utterances, so it is made or not made: its cuts are written last. Each is checked
before it gets its name: numbers, digests, and samples of one utterance in a hundred against those of the source.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from lhotse import AudioSource, MonoCut, Recording
from lhotse.cut import Cut

from asr_lab.data.audio import read_audio
from asr_lab.data.audio_places import MEMBER_DIGEST, POINTER, member_of, pointer, read_member
from asr_lab.data.cut_audio import read_as_stored, read_cut
from asr_lab.data.identity import SUFFIX, bytes_digest, file_digest
from asr_lab.data.shard_folder import ShardFolder
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import SAMPLE_RATE, counted

Form = Literal["flac", "opus"]
Progress = Callable[[int, int], None]

_RANGE = "member_range"
_COMPRESSION = 3  # of gzip
_SAMPLED = 100  # one utterance of so many is decoded and compared
_COMPRESSED = {"FLAC": "flac", "OGG": "ogg", "MP3": "mp3"}  # formats of libsndfile that are stored as they are
_16_BITS = ("PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW")


@dataclass(frozen=True)
class Shards:
    """Shards of one manifest that are to be made in a folder."""

    cuts: Utterances
    folder: ShardFolder
    name: str
    """That of the manifest without its suffix, and of the folder of the shards."""
    form: Form = "flac"
    per_shard: int = 1000

    def __len__(self) -> int:
        return -(-len(self.cuts) // self.per_shard)

    @property
    def manifest(self) -> str:
        return f"{self.name}{SUFFIX}"

    def part(self, number: int) -> Utterances:
        """Return the utterances of a shard."""
        return self.cuts[number * self.per_shard : (number + 1) * self.per_shard]

    @property
    def plan(self) -> dict[str, Any]:
        """What the shards are a function of."""
        return {
            "manifest": file_digest(self.cuts.table.manifest),
            "utterances": len(self.cuts),
            "form": self.form,
            "utterances_per_shard": self.per_shard,
        }


def write(
    shards: Shards, *, workers: int = 0, takes_over: bool = False, progress: Progress = lambda done, total: None
) -> int:
    """Make the shards that are not there, then the manifest; return how many were made.

    `takes_over`: replace the lock of another machine (`ShardFolder.locked`). Raises `AsrLabError` if other shards are
    there, another process writes them, or audio cannot be read.
    """
    with shards.folder.locked(shards.name, takes_over=takes_over):
        _begin(shards)
        made, pool = 0, ThreadPoolExecutor(workers or os.cpu_count())
        try:
            for number, is_new in enumerate(pool.map(lambda one: _complete(shards, one), range(len(shards)))):
                made += is_new
                progress(min(len(shards.cuts), (number + 1) * shards.per_shard), len(shards.cuts))
        finally:
            pool.shutdown(cancel_futures=True)
        if made or shards.folder.size(shards.manifest) < 0:
            _write_lines(shards.folder, shards.manifest, _manifest_rows(shards))
    return made


def _begin(shards: Shards) -> None:
    """Write what the shards are made of; raises `AsrLabError` if those that are there are made of something else."""
    shards.folder.remove_temporaries(shards.name)
    name = _plan_file(shards.name)
    if shards.folder.size(name) < 0:
        with shards.folder.written(name) as path:
            path.write_text(json.dumps(shards.plan, indent=1) + "\n")
        return
    there = json.loads(shards.folder.read(name))
    planned = shards.plan.items()
    if differing := [f"{key} {there.get(key)}, not {value}" for key, value in planned if there.get(key) != value]:
        raise AsrLabError(
            f"other shards are there: {listing(differing)}",
            where=shards.folder.file(shards.name),
            allowed="another folder, or the same manifest and options; what is there can be removed",
        )


def _complete(shards: Shards, number: int) -> bool:
    """Make a shard unless it is there; return whether it was made."""
    tar, cuts = _files(shards.name, number)
    rows = _rows(shards.folder, cuts) if shards.folder.size(cuts) >= 0 else []
    if rows and shards.folder.size(tar) >= rows[-1]["custom"][_RANGE][1]:
        return False
    part = list(shards.part(number))
    with shards.folder.written(tar) as path:
        rows = _write_tar(path, part, shards.form)
        _check(str(path), rows, part)
    _write_lines(shards.folder, cuts, iter(rows))
    return True


def _plan_file(name: str) -> str:
    return f"{name}.shards.json"  # not among the shards, of which Lhotse reads every file


def _files(name: str, number: int) -> tuple[str, str]:
    return f"{name}/recording.{number:06}.tar", f"{name}/cuts.{number:06}.jsonl.gz"


def _rows(folder: ShardFolder, cuts: str) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in gzip.decompress(folder.read(cuts)).splitlines()]
    except (OSError, EOFError, ValueError) as error:
        raise AsrLabError(
            f"the cuts of a shard are cut off or changed: {error}",
            where=folder.file(cuts),
            hint="once the file is removed, asr-lab data shard makes the shard anew",
        ) from error


def _write_lines(folder: ShardFolder, name: str, rows: Iterator[dict[str, Any]]) -> None:
    with (
        folder.written(name) as path,
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as file,
    ):
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _manifest_rows(shards: Shards) -> Iterator[dict[str, Any]]:
    """Yield the cuts of all shards, with the places of their audio."""
    for number in range(len(shards)):
        tar, cuts = _files(shards.name, number)
        for row in _rows(shards.folder, cuts):
            start, end = row["custom"].pop(_RANGE)
            (source,) = row["recording"]["sources"]
            source |= {"type": POINTER, "source": pointer(tar, start, end)}
            yield row


def _write_tar(path: Path, cuts: Sequence[Cut], form: Form) -> list[dict[str, Any]]:
    """Write a shard as Lhotse does: audio, then the recording as JSON, for each utterance; return the rows."""
    rows = []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for cut in cuts:
            content, suffix, is_same = _encoded(cut, form)
            row = _row(cut, content, is_same=is_same)
            start = tar.offset
            _add(tar, f"{cut.id}.{suffix}", content)
            row["custom"][_RANGE] = [start, tar.offset]
            _add(tar, f"{cut.id}.json", json.dumps(row["recording"]).encode() + b"\n")
            rows.append(row)
    return rows


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _encoded(cut: Cut, form: Form) -> tuple[bytes, str, bool]:
    """Return the audio of an utterance, its suffix, and whether it has all samples of its source as they are.

    What is compressed already stays as it is. FLAC has the rate and channels of the source; Opus has 16 kHz, mono.
    """
    source = str(cut.recording.sources[0].source)
    is_whole = cut.start == 0 and abs(cut.duration - cut.recording.duration) < 0.5 / cut.sampling_rate
    stored = read_as_stored(cut)
    if is_whole and stored.format in _COMPRESSED and stored.has_all_channels and not _is_larger(stored.format, form):
        member = member_of(source)
        return read_member(member) if member else Path(source).read_bytes(), _COMPRESSED[stored.format], True
    content = io.BytesIO()
    if form == "opus":
        soundfile.write(content, np.clip(read_cut(cut), -1, 1), SAMPLE_RATE, format="OGG", subtype="OPUS")
        return content.getvalue(), "opus", False
    is_16 = stored.subtype in _16_BITS
    samples = stored.samples("int16" if is_16 else "int32")
    soundfile.write(content, samples, stored.rate, format="FLAC", subtype="PCM_16" if is_16 else "PCM_24")
    return content.getvalue(), "flac", is_whole and is_16


def _is_larger(kind: str, form: Form) -> bool:
    return kind == "FLAC" and form == "opus"


def _row(cut: Cut, content: bytes, *, is_same: bool) -> dict[str, Any]:
    """Return the cut in Lhotse Shar of an utterance whose audio is `content`."""
    info = soundfile.info(io.BytesIO(content))
    channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    channels = channels[: info.channels]
    row: dict[str, Any] = cut.to_dict()
    row["recording"] = Recording(
        id=cut.id,
        sources=[AudioSource(type="shar", channels=channels, source="")],
        sampling_rate=info.samplerate,
        num_samples=info.frames,
        duration=info.frames / info.samplerate,
        channel_ids=channels,
    ).to_dict()
    row |= {"start": 0.0, "duration": min(cut.duration, info.frames / info.samplerate)}
    row["channel"] = channels if isinstance(cut.channel, list) and len(channels) > 1 else channels[0]
    row["type"] = "MultiCut" if isinstance(row["channel"], list) else MonoCut.__name__
    digest = bytes_digest(content)
    row["custom"] = {**(row.get("custom") or {}), MEMBER_DIGEST: digest}
    for segment in row.get("supervisions", []):
        segment["recording_id"] = cut.id
        custom = segment.get("custom") or {}
        custom.pop("pcm_width", None)
        segment["custom"] = {**custom, "audio_digest": custom.get("audio_digest", digest) if is_same else digest}
    return row


def _check(tar: str, rows: Sequence[dict[str, Any]], originals: Sequence[Cut] | None) -> None:
    """Raise `AsrLabError` unless a tar has the audio of its rows, by all digests and, with the source, some samples."""
    for place, row in enumerate(rows):
        start, end = row["custom"][_RANGE]
        member = member_of(pointer(tar, start, end))
        assert member is not None
        content = read_member(member)
        if bytes_digest(content) != row["custom"][MEMBER_DIGEST]:
            raise AsrLabError(f"the audio of {row['id']} is not the one that was written", where=tar)
        if place % _SAMPLED == 0:
            samples = read_audio(io.BytesIO(content), f"{tar}, {row['id']}")
            if originals is not None and (sought := _difference(samples, originals[place], content)):
                raise AsrLabError(f"the samples of {row['id']} are not those of its source: {sought}", where=tar)


def _difference(samples: Any, original: Cut, content: bytes) -> str:
    """Return how samples differ from those of the source; "" if as little as their form allows."""
    expected = read_cut(original)
    tolerance = 2**-22 if content[:4] == b"fLaC" else np.inf  # 24 bits of what has more; Opus loses
    if abs(len(samples) - len(expected)) > 1:
        return f"{len(samples)}, not {len(expected)}"
    number = min(len(samples), len(expected))
    largest = float(np.abs(samples[:number] - expected[:number]).max())
    return f"by up to {largest:.2g}" if largest > tolerance else ""


def verify(
    folder: ShardFolder, name: str, cuts: Utterances | None, progress: Progress = lambda done, total: None
) -> int:
    """Read all shards of a manifest; return their number of utterances.

    `cuts` are those they were made of, with which counts, ids and some samples are compared. Raises one `AsrLabError`
    that names every shard that is missing, cut off or changed.
    """
    plan = json.loads(folder.read(_plan_file(name)))
    total, per_shard = int(plan["utterances"]), int(plan["utterances_per_shard"])
    faults, number = [], 0
    for shard in range(-(-total // per_shard)):
        tar, file = _files(name, shard)
        expected = min(per_shard, total - shard * per_shard)
        part = list(cuts[shard * per_shard : shard * per_shard + expected]) if cuts is not None else None
        try:
            rows = _rows(folder, file)
            if len(rows) != expected or (part and [row["id"] for row in rows] != [cut.id for cut in part]):
                raise AsrLabError(
                    f"{counted(len(rows), 'utterance')}, not the {expected} it was made of", where=folder.file(file)
                )
            _check(folder.file(tar), rows, part)
            number += len(rows)
        except AsrLabError as error:
            faults.append(f"{Path(error.where).name}: {error.what}")
        progress(min(total, (shard + 1) * per_shard), total)
    if faults:
        raise AsrLabError(
            f"{counted(len(faults), 'shard', 'are')} not as written: {listing(faults, 5)}",
            where=folder.file(name),
            hint="once both files of a shard are removed, asr-lab data shard, called as before, makes it anew",
        )
    return number
