"""Decode what libsndfile does not read (m4a, aac, webm, mp4, ...) to FLAC, with PyAV, or with ffmpeg where it is.

PyAV is the extra `media` of asr_lab; ffmpeg is used if it is on PATH and PyAV is not there.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import soundfile

from asr_lab.data.containers import HEAD_BYTES, kind_of
from asr_lab.errors import AsrLabError
from asr_lab.system.files import temporary

MEDIA = ("MP4 (m4a)", "WebM", "AAC", "AMR", "WMA", "WavPack")
"""Kinds of files, by their first bytes, that need a decoder."""
_WAYS = "PyAV (pip install 'asr_lab[media]'), or ffmpeg on PATH"
_FFMPEG_S = 3600
_DURATION = re.compile(r"Duration: (?P<h>\d+):(?P<m>\d+):(?P<s>[\d.]+)")
_WITHOUT_DURATION = ("AAC", "AMR")  # it is estimated from their size
_TOLERANCE_S = 0.5
_FLAC_BYTES = 2**20  # by which FLAC can be larger than its samples


@dataclass(frozen=True)
class Most:
    """How much of a file is decoded: one frame beyond it, by which a longer file is known."""

    seconds: float = math.inf
    samples: float = math.inf
    """Of all channels."""

    def frames(self, rate: int, channels: int) -> float:
        return min(self.seconds * rate, self.samples / channels)


def needs_decoder(path: Path) -> bool:
    """Return whether a file is of a kind that libsndfile does not read."""
    with path.open("rb") as file:
        return kind_of(file.read(HEAD_BYTES)) in MEDIA


def decode(path: Path, target: Path, most: Most | None = None) -> None:
    """Write the first audio stream of a file as FLAC of 16 bits, at its own rate, with its channels, up to `most`.

    Raises `AsrLabError` if there is neither PyAV nor ffmpeg, or the file cannot be decoded.
    """
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    most = most or Most()
    if find_spec("av"):
        expected_s = _with_pyav(path, target, most, has_duration=kind not in _WITHOUT_DURATION)
    elif command := shutil.which("ffmpeg"):
        expected_s = _with_ffmpeg(command, path, target, most)
    else:
        raise AsrLabError(
            f"{kind} needs a decoder, and there is none",
            where=str(path),
            allowed=_WAYS,
            hint="or convert the files to WAV or FLAC elsewhere",
        )
    decoded = soundfile.info(str(target))
    if decoded.frames > most.frames(decoded.samplerate, decoded.channels):
        return
    decoded_s = decoded.duration
    if kind not in _WITHOUT_DURATION and decoded_s < expected_s - max(_TOLERANCE_S, expected_s / 20):
        raise _undecodable(path, f"{decoded_s:.2f} s of the {expected_s:.2f} s of its header")


def _with_pyav(path: Path, target: Path, most: Most, *, has_duration: bool) -> float:
    """Decode, and return the seconds that the header names, 0 if none."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AsrLabError("no audio in the file", where=str(path))
            stream = container.streams.audio[0]
            rate, channels = stream.rate, stream.layout.nb_channels
            resampler = av.AudioResampler(format="s16", layout=stream.layout, rate=rate)
            is_exact = has_duration and stream.duration
            left = round(stream.duration * stream.time_base * rate) if is_exact else math.inf  # the rest is padding
            left = min(left, most.frames(rate, channels) // 1 + 1)
            with soundfile.SoundFile(target, "w", rate, channels, subtype="PCM_16", format="FLAC") as written:
                for frame in chain(container.decode(stream), (None,)):
                    for piece in resampler.resample(frame):
                        samples = piece.to_ndarray().reshape(-1, channels)
                        samples = samples[: int(min(left, len(samples)))]
                        written.write(samples)
                        left -= len(samples)
                    if not left:
                        break
            return float((container.duration or 0) / av.time_base)
    except (av.error.FFmpegError, soundfile.LibsndfileError, ValueError) as error:
        raise _undecodable(path, getattr(error, "strerror", None) or str(error)) from error


def _with_ffmpeg(command: str, path: Path, target: Path, most: Most) -> float:
    """Decode, and return the seconds that the header names, 0 if none."""
    reading = ["-nostdin", "-hide_banner", "-nostats", "-xerror", "-y", "-i", f"file:{path}", "-map", "0:a:0"]
    limits = ["-t", f"{most.seconds + _TOLERANCE_S:.3f}"] if math.isfinite(most.seconds) else []
    limits += ["-fs", f"{2 * most.samples + _FLAC_BYTES:.0f}"] if math.isfinite(most.samples) else []
    done = subprocess.run(
        [command, *reading, *limits, "-sample_fmt", "s16", "-f", "flac", f"file:{target}"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_FFMPEG_S,
        check=False,
    )
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise _undecodable(path, message.replace(f"file:{path}: ", "").replace(str(path), path.name))
    match = _DURATION.search(done.stderr)
    return 3600 * int(match["h"]) + 60 * int(match["m"]) + float(match["s"]) if match else 0.0


def _undecodable(path: Path, why: str) -> AsrLabError:
    return AsrLabError(f"the audio cannot be decoded, or is cut off: {why}", where=str(path))


class WrittenAudio:
    """Audio that an import writes into a folder; `remove` takes back what was written, and restores what was there."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root if root.is_dir() else root.parent
        self._written: list[Path] = []
        self._replaced: dict[Path, Path] = {}
        self._decoded: dict[Path, Path] = {}

    def target(self, name: str) -> Path:
        """Return where a file of this relative name is written; it must be within the folder."""
        path = self._folder / normalize("NFC", name)
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise AsrLabError(f"a name that leaves the folder: {name}")
        if path.exists() and path not in self._written:
            self._replaced[path] = temporary(path)
            path.replace(self._replaced[path])
        self._written.append(path)
        return path

    def readable(self, path: Path) -> Path:
        """Return the FLAC of a file that needs a decoder, which is written the first time; other files as they are."""
        if not path.is_file() or not needs_decoder(path):
            return path
        if path not in self._decoded:
            inner = path.relative_to(self._root) if path.is_relative_to(self._root) else Path(*path.parts[-2:])
            target = self.target(f"{inner.as_posix()}.flac")
            target.parent.mkdir(parents=True, exist_ok=True)
            written = temporary(target)  # atomic_file lists the folder, for each of many files
            try:
                decode(path, written)
                written.replace(target)
            finally:
                written.unlink(missing_ok=True)
            self._decoded[path] = target
        return self._decoded[path]

    @property
    def num_decoded(self) -> int:
        return len(self._decoded)

    def complete(self) -> None:
        """Remove what the files that were written replace."""
        for path in self._replaced.values():
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the files that were written, and the folders that are empty then; what they replaced is back."""
        for path in self._written:
            path.unlink(missing_ok=True)
        for path, replaced in self._replaced.items():
            replaced.replace(path)
        for folder in sorted({parent for path in self._written for parent in path.parents}, reverse=True):
            if folder.is_relative_to(self._folder.parent) and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


_current: ContextVar[WrittenAudio | None] = ContextVar("written_audio", default=None)


@contextmanager
def writing_audio(folder: Path, root: Path) -> Iterator[WrittenAudio]:
    """Write what an import decodes into `folder`, under the paths from `root`; an error takes it back."""
    audio = WrittenAudio(folder, root)
    token = _current.set(audio)
    try:
        yield audio
        audio.complete()
    except BaseException:
        audio.remove()
        raise
    finally:
        _current.reset(token)


def written_audio() -> WrittenAudio:
    """Return the audio that the current import writes."""
    audio = _current.get()
    assert audio is not None, "only imports write audio"
    return audio


def readable(path: Path) -> Path:
    """Return a file that libsndfile reads: the path itself, or, within an import, the FLAC of what needs a decoder."""
    audio = _current.get()
    return audio.readable(path) if audio else path
