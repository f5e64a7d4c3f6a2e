"""Read audio of any rate and number of channels as a mono signal at `SAMPLE_RATE`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from lhotse.cut import Cut

from asr_lab.errors import AsrLabError
from asr_lab.units import FRAME_LENGTH, SAMPLE_RATE

Signal = npt.NDArray[np.float32]
HEADERLESS_SUFFIXES = (".pcm",)
HEADERLESS: dict[str, Any] = {
    "samplerate": SAMPLE_RATE,
    "channels": 1,
    "format": "RAW",
    "subtype": "PCM_16",
    "endian": "LITTLE",
}
"""Format assumed for files without a header: 16-bit samples, as in KsponSpeech."""


def probe(path: Path) -> Any:
    """Return the header of an audio file (`samplerate`, `frames`, `channels`) after checking that it is complete.

    Raises `AsrLabError` if the file is missing, empty, not audio, or truncated.
    """
    _check_there(path)
    if path.stat().st_size == 0:
        raise AsrLabError("the audio file is empty (0 bytes)", where=str(path))
    with _opened(path, str(path)) as file:
        file.seek(max(0, file.frames - 1))
        readable = file.frames == 0 or len(file.read(1)) == 1
        if not readable or _riff_is_cut(path) or _ends_in_half_a_sample(path):
            raise AsrLabError("the audio file is cut off: it holds less than its header says", where=str(path))
        if file.frames == 0:
            raise AsrLabError("the audio file holds no samples", where=str(path))
        return file


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise AsrLabError("no such audio file", where=str(path))


def _riff_is_cut(path: Path) -> bool:
    """Return whether a WAV file is shorter than its header says; libsndfile reads such files without an error."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE" or head[4:8] == b"\xff\xff\xff\xff":
        return False
    return 8 + int.from_bytes(head[4:8], "little") > path.stat().st_size + 1  # + 1: an odd chunk may lack its pad


def _ends_in_half_a_sample(path: Path) -> bool:
    return path.suffix.lower() in HEADERLESS_SUFFIXES and path.stat().st_size % 2 == 1


@contextmanager
def _opened(source: Path | BinaryIO, where: str) -> Iterator[Any]:
    """Open a sound file; raise errors of libsndfile as `AsrLabError`."""
    if isinstance(source, Path):
        _check_there(source)
    headerless = HEADERLESS if isinstance(source, Path) and source.suffix.lower() in HEADERLESS_SUFFIXES else {}
    try:
        with soundfile.SoundFile(str(source) if isinstance(source, Path) else source, **headerless) as file:
            yield file
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless audio, such as .raw
        reason = getattr(error, "error_string", str(error)).strip()
        raise AsrLabError(
            f"not an audio file, or cut off: {reason}",
            where=where,
            allowed="complete WAV, FLAC, OGG or MP3 files",
        ) from error


def read_file(path: Path) -> Signal:
    """Return the samples (num_samples,) of a file: mono, `SAMPLE_RATE` Hz, float32 in [-1, 1].

    Channels are averaged, other rates resampled (soxr, high quality). Raises `AsrLabError` if the file is missing,
    empty, not audio, truncated, or has samples that are not finite.
    """
    probe(path)
    return read_audio(path, str(path))


def read_audio(
    source: Path | BinaryIO,
    where: str,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channels: Sequence[int] | None = None,
) -> Signal:
    """Read a path or an open file like `read_file`, optionally a segment of it or some channels.

    `where` names it in messages. Raises `AsrLabError` also if the segment goes beyond the end.
    """
    with _opened(source, where) as file:
        rate = file.samplerate
        file.seek(min(round(start_s * rate), file.frames))
        wanted = file.frames - file.tell() if duration_s is None else round(duration_s * rate)
        samples = file.read(wanted, dtype="float32", always_2d=True)
    if len(samples) < wanted:
        raise AsrLabError(
            f"the audio is cut off: {len(samples) / rate:.2f} s of the {wanted / rate:.2f} s it should hold",
            where=where,
        )
    return _clean(samples if channels is None else samples[:, list(channels)], rate, where)


def _clean(samples: npt.NDArray[np.float32], rate: int, where: str) -> Signal:
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise AsrLabError(f"{bad} samples are not numbers (NaN or infinite)", where=where)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    if len(mono) < FRAME_LENGTH:
        raise AsrLabError(
            f"the audio is too short: {len(mono) / SAMPLE_RATE * 1000:.0f} ms",
            where=where,
            allowed=f"at least {FRAME_LENGTH / SAMPLE_RATE * 1000:.0f} ms",
        )
    return np.ascontiguousarray(mono, dtype=np.float32)


def read_cut(cut: Cut) -> Signal:
    """Return the samples (num_samples,) of an utterance at `SAMPLE_RATE`, its channels averaged.

    Raises as `read_audio` does, and for cuts with several sources or with transforms.
    """
    recording = cut.recording
    if len(recording.sources) != 1 or recording.transforms:
        raise AsrLabError(
            f"utterance {cut.id} has several sources or transforms",
            allowed="one audio file an utterance; Lhotse's cuts.save_audios() writes them",
        )
    (source,) = recording.sources
    wanted = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    return read_audio(
        Path(source.source),
        source.source,
        start_s=cut.start,
        duration_s=cut.duration,
        channels=[source.channels.index(channel) for channel in wanted],
    )


def without_silence(samples: Signal, top_db: float = 30.0) -> Signal:
    """Remove stretches more than `top_db` below the loudest frame, as KoSpeech does for PCM files.

    Frames of 2048 samples every 512, reflected at the ends (librosa's `effects.split`, McFee et al. 2015). Silent
    signals are returned unchanged.
    """
    length, hop = 2048, 512
    padded = np.pad(samples.astype(np.float64), length // 2, mode="reflect" if len(samples) > length // 2 else "edge")
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    power = (frames**2).mean(axis=1)
    if power.max() == 0:
        return samples
    loud = 10 * np.log10(np.maximum(power, 1e-10) / max(power.max(), 1e-10)) > -top_db
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))) * hop
    pieces = [samples[start : min(end, len(samples))] for start, end in edges.reshape(-1, 2)]
    return np.concatenate(pieces)


def change_speed(samples: Signal, factor: float) -> Signal:
    """Change tempo and pitch together, as `sox speed` does (speed perturbation, Ko et al. 2015)."""
    if factor == 1.0:
        return samples
    stretched: Signal = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")
    return stretched
