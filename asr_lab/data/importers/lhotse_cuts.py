"""Import manifests of Lhotse: cuts, or recordings and supervisions, as JSON lines, compressed or not.

Lhotse Shar, a folder with `cuts.000000.jsonl.gz` and `recording.000000.tar`, is read too. A cut of one file stays a
reference to it. What has transforms (speed, volume, ...), is padded, mixed, of several files or in a tar is rendered to
FLAC in `out/audio`. Sources that are commands are not run.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, MultiCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio.backend import audio_backend
from lhotse.cut import Cut, MixedCut, PaddingCut
from lhotse.cut.set import deserialize_cut
from lhotse.utils import fastcopy

from asr_lab.data import guesses, manifest
from asr_lab.data.audio import probe
from asr_lab.data.importers.audio_paths import AudioPaths
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_fields import says_no_text
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.media import written_audio
from asr_lab.errors import AsrLabError, listing, reason

_OVER_S = 0.02  # of a cut beyond its supervision, by rounding
_ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz")


def import_cuts(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a manifest of cuts as `all`, or a folder with recordings and supervisions; an utterance a supervision.

    Relative paths start from `audio`, else from the folder of the manifest, else from the working folder, as in Lhotse.
    Raises one `AsrLabError` that names every faulty line.
    """
    report = ImportReport()
    reader = _Reader(source, audio, report)
    numbered = reader.cuts() if reader.is_shar else list(reader.cuts())  # those of a shar have their audio with them
    total = len(numbered) if isinstance(numbered, list) else 0
    speakers = speakers.guessing()
    cuts: list[Cut] = []
    for done, (line, whole) in enumerate(numbered, start=1):
        try:
            cuts += [_utterance(cut, speakers) for cut in reader.utterances(whole)]
        except AsrLabError as error:
            report.add_error(str(whole.id), error, file=reader.file, line=line)
        progress(done, total)
    for id in [id for id, number in Counter(cut.id for cut in cuts).items() if number > 1]:
        report.add(id, "duplicate id", file=reader.file)
    cuts = list({cut.id: cut for cut in reversed(cuts)}.values())[::-1]
    if reader.num_rendered:
        report.notes.append(f"{reader.num_rendered} cuts with transforms, padding or mixtures are rendered to FLAC")
    if reader.num_trimmed:
        report.notes.append(f"{reader.num_trimmed} cuts are longer than their supervision: cut to it")
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(cuts))
    if not cuts:
        report.refuse(source, "no cut with a supervision")
    return ImportResult(splits={"all": cuts}, report=report)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, object) of JSON lines, compressed or not; raises `AsrLabError` if a line is none."""
    line = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for line, content in enumerate(file, start=1):
                if content.strip():
                    row = json.loads(content)
                    if not isinstance(row, dict):
                        raise AsrLabError(f"line {line} is not a JSON object", where=str(path))
                    yield line, row
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise AsrLabError(f"not a manifest, or cut off, after line {line}: {reason(error)}", where=str(path)) from error


class _Reader:
    """Reads the cuts of a manifest, and makes utterances of them."""

    def __init__(self, source: Path, audio: Path | None, report: ImportReport) -> None:
        self._report, self.num_rendered, self.num_trimmed = report, 0, 0
        self._files = _files(source)
        self.is_shar = "shar" in self._files
        self.file = self._files.get("shar") or self._files.get("cuts") or self._files["supervisions"]
        self._paths = AudioPaths(audio) if audio else AudioPaths(self.file.parent, Path())

    def cuts(self) -> Iterator[tuple[int, Cut]]:
        """Yield (line, cut); lines that are no cuts become faults."""
        if self.is_shar:
            yield from self._of_shar()
            return
        if "cuts" not in self._files:
            yield from self._of_recordings()
            return
        for line, row in rows_of(self.file):
            try:
                yield line, deserialize_cut(row if "type" in row else {**row, "type": "MonoCut"})
            except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
                id = str(row.get("id", f"line {line}"))
                self._report.add(id, "not a Lhotse cut", reason(error), file=self.file, line=line)

    def _of_shar(self) -> Iterator[tuple[int, Cut]]:
        """Yield (number, cut) of the shards of Lhotse Shar, with the audio in memory."""
        number = 0
        try:
            for number, cut in enumerate(CutSet.from_shar(in_dir=self.file), start=1):
                yield number, cut
        except Exception as error:  # of tars, JSON and what Lhotse asserts
            raise AsrLabError(
                f"not shards of Lhotse, or cut off, after cut {number}: {reason(error)}", where=str(self.file)
            ) from error

    def _of_recordings(self) -> Iterator[tuple[int, Cut]]:
        """Yield a cut for each recording, with its supervisions."""
        try:
            recordings = RecordingSet.from_recordings(
                Recording.from_dict(row) for _, row in rows_of(self._files["recordings"])
            )
            numbered = [(line, SupervisionSegment.from_dict(row)) for line, row in rows_of(self.file)]
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise AsrLabError(
                f"not recordings and supervisions of Lhotse: {reason(error)}", where=str(self.file)
            ) from error
        known = {recording.id for recording in recordings}
        if unused := len(known - {segment.recording_id for _, segment in numbered}):
            self._report.notes.append(f"{unused} of {len(known)} recordings have no supervision, and are not used")
        for line, segment in numbered:
            if segment.recording_id not in known:
                self._report.add(
                    segment.id, "no recording of its supervision", segment.recording_id, file=self.file, line=line
                )
        lines = {segment.recording_id: line for line, segment in reversed(numbered)}
        segments = SupervisionSet.from_segments(segment for _, segment in numbered if segment.recording_id in known)
        for cut in CutSet.from_manifests(recordings=recordings, supervisions=segments):
            if cut.supervisions:
                yield lines[cut.recording.id], cut

    def utterances(self, whole: Cut) -> Iterator[Cut]:
        """Yield an utterance for each supervision of a cut."""
        if isinstance(whole, PaddingCut):
            raise AsrLabError("a cut of padding alone")
        if not whole.supervisions:
            self._report.left_out["a cut without a supervision"] += 1
            return
        if len(whole.supervisions) > 1 and _overlap(whole.supervisions):
            raise AsrLabError(
                f"{len(whole.supervisions)} supervisions overlap: {listing(one.id for one in whole.supervisions)}",
                allowed="supervisions one after the other, or cuts of one each",
            )
        self._locate(whole)
        is_one = len(whole.supervisions) == 1
        is_longer = isinstance(whole, MonoCut | MultiCut) and _is_longer(whole)
        self.num_trimmed += is_one and is_longer
        for cut in [whole] if is_one and not is_longer else whole.trim_to_supervisions(keep_overlapping=False):
            own_id = is_one and "supervisions" not in self._files
            cut = fastcopy(cut, id=whole.id if own_id else manifest.supervision(cut).id)
            self._check_spoken(cut)
            yield cut if _is_plain(cut) else self._rendered(cut)

    def _locate(self, whole: Cut) -> None:
        """Replace the paths of a cut by those of its files; raises `AsrLabError` for what is no file."""
        tracks = [track.cut for track in whole.tracks] if isinstance(whole, MixedCut) else [whole]
        for track in tracks:
            for source in track.recording.sources if isinstance(track, MonoCut | MultiCut) and track.recording else ():
                if source.type == "command":
                    raise AsrLabError(
                        f"the audio is a command, not a file: {str(source.source)[:60]}",
                        allowed="files; cuts.save_audios() of Lhotse writes them",
                    )
                if source.type not in ("file", "memory"):
                    raise AsrLabError(f"the audio is a {source.type}: {str(source.source)[:60]}", allowed="files")
                if source.type == "file":
                    path = self._paths.find(str(source.source))
                    probe(path)
                    source.source = str(path.resolve())
            if isinstance(track, MonoCut | MultiCut) and not track.recording:
                raise AsrLabError("a cut of features, without a recording")

    @staticmethod
    def _check_spoken(cut: Cut) -> None:
        if says_no_text(manifest.text(cut)):
            raise AsrLabError("the transcript is missing")

    def _rendered(self, cut: Cut) -> Cut:
        """Return a cut of the FLAC that is written of it."""
        try:
            with audio_backend("LibsndfileBackend"):
                samples = np.atleast_2d(cut.load_audio())
        except Exception as error:  # of any backend and transform
            raise AsrLabError(f"the cut cannot be rendered: {reason(error)}") from error
        target = written_audio().target(f"{cut.id.replace('/', '-')}.flac")
        target.parent.mkdir(parents=True, exist_ok=True)
        loud = max(1.0, float(np.abs(samples).max()))  # mixtures may be louder than full scale
        soundfile.write(target, samples.T / loud, cut.sampling_rate, subtype="PCM_16")
        self.num_rendered += 1
        segment = manifest.supervision(cut)
        custom = {key: value for key, value in (segment.custom or {}).items() if key != "audio_digest"}
        return manifest.utterance(
            id=cut.id,
            audio=target,
            text=manifest.text(cut),
            speaker=segment.speaker or "",
            language=segment.language or "",
            gender=segment.gender or "",
            **custom,
        )


def _is_plain(cut: Cut) -> bool:
    """Return whether a cut is a stretch of one file, as it is."""
    if not isinstance(cut, MonoCut | MultiCut) or cut.recording is None:
        return False
    recording = cut.recording
    return len(recording.sources) == 1 and recording.sources[0].type == "file" and not recording.transforms


def _is_longer(cut: Cut) -> bool:
    """Return whether a cut has more than its supervision, which is inside it."""
    segment = cut.supervisions[0]
    is_inside = segment.start >= 0 and segment.end <= cut.duration
    return bool(is_inside and segment.duration < cut.duration - _OVER_S)


def _overlap(segments: list[SupervisionSegment]) -> bool:
    ordered = sorted(segments, key=lambda segment: segment.start)
    return any(later.start < one.end - 0.01 for one, later in pairwise(ordered))


def _utterance(cut: Cut, speakers: Speakers) -> Cut:
    """Return an utterance with its speaker and the digest of its audio; the supervision is that of the cut."""
    segment, path = manifest.supervision(cut), Path(str(cut.recording.sources[0].source))
    speaker, is_guessed = speakers.speaker(segment.speaker or "", str(path), cut.id)
    custom = dict(segment.custom or {})
    custom.setdefault("corpus", "")
    custom["audio_digest"] = manifest.file_digest(path)
    segment = fastcopy(segment, speaker=speaker, custom=custom)
    guesses.mark(segment, *["speaker"] * is_guessed)
    utterance = fastcopy(cut, supervisions=[segment])
    manifest.check([utterance])
    return utterance


def _files(source: Path) -> dict[str, Path]:
    """Return what the manifests are -> file: `cuts`, or `recordings` and `supervisions`."""
    if source.is_dir() and any(source.glob("cuts.*.jsonl*")) and any(source.glob("recording.*.tar")):
        return {"shar": source}
    paths = [source] if source.is_file() else sorted(path for path in source.iterdir() if path.name.endswith(_ENDINGS))
    kinds: dict[str, list[Path]] = {"cuts": [], "recordings": [], "supervisions": []}
    for path in paths:
        if kind := _kind(path):
            kinds[kind].append(path)
    if source.is_file() and (kinds["recordings"] or kinds["supervisions"]):
        raise AsrLabError(
            f"the file has {'recordings' if kinds['recordings'] else 'supervisions'} alone",
            where=str(source),
            allowed="a manifest of cuts, or the folder with recordings and supervisions",
        )
    single = {kind: own[0] for kind, own in kinds.items() if len(own) == 1}
    if len(kinds["cuts"]) == 1:
        return {"cuts": single["cuts"]}
    if not kinds["cuts"] and {"recordings", "supervisions"} <= set(single):
        return single
    several = [path.name for own in kinds.values() if len(own) > 1 for path in own]
    raise AsrLabError(
        f"several manifests: {listing(several)}" if several else "no manifest of Lhotse",
        where=str(source),
        allowed="JSON lines of cuts (.jsonl, .jsonl.gz), or a folder with one of recordings and one of supervisions",
    )


def _kind(path: Path) -> str:
    """Return what a manifest holds, by its first line; "" if it is none of Lhotse's."""
    try:
        _, row = next(rows_of(path), (0, {}))
    except AsrLabError:
        return ""
    keys = set(row)
    if (
        "supervisions" in keys
        or "tracks" in keys
        or row.get("type") in ("MonoCut", "MultiCut", "MixedCut", "PaddingCut")
    ):
        return "cuts"
    if {"sources", "sampling_rate"} <= keys:
        return "recordings"
    return "supervisions" if {"recording_id", "start", "duration"} <= keys else ""
