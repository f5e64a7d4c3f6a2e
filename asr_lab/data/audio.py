"""Reading audio: any rate and channel count in, one clean signal at `SAMPLE_RATE` out."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from lhotse.cut import Cut

from asr_lab.errors import AsrLabError
from asr_lab.units import FRAME_LENGTH, SAMPLE_RATE

Signal = npt.NDArray[np.float32]


def read_file(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> Signal:
    """Samples (num_samples,) of a file, or of a piece of it: mono, `SAMPLE_RATE` Hz, float32 in [-1, 1].

    Several channels are averaged, other rates resampled (soxr, high quality). Raises `AsrLabError` when the file
    is missing, empty, not audio, shorter than asked for, or holds samples that are not numbers.
    """
    if not path.is_file():
        raise AsrLabError("no such audio file", where=str(path))
    if path.stat().st_size == 0:
        raise AsrLabError("the audio file is empty (0 bytes)", where=str(path))
    return read_audio(path, str(path), start_s, duration_s)


def read_audio(
    source: Path | BinaryIO, where: str, start_s: float = 0.0, duration_s: float | None = None
) -> Signal:
    """As `read_file`, from a path or an open file; `where` is what messages call it."""
    try:
        with soundfile.SoundFile(str(source) if isinstance(source, Path) else source) as file:
            rate = file.samplerate
            file.seek(min(round(start_s * rate), file.frames))
            wanted = file.frames - file.tell() if duration_s is None else round(duration_s * rate)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AsrLabError(
            f"not an audio file, or cut off: {error.error_string.strip()}",
            where=where,
            allowed="WAV, FLAC, OGG or MP3, whole and not cut off",
        ) from error
    if len(samples) < wanted:
        raise AsrLabError(
            f"the audio is cut off: {len(samples) / rate:.2f} s of the {wanted / rate:.2f} s it should hold",
            where=where,
        )
    return _clean(samples, rate, where)


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
    """Samples (num_samples,) of an utterance at `SAMPLE_RATE`; raises as `read_file` does."""
    return read_file(Path(cut.recording.sources[0].source), start_s=cut.start, duration_s=cut.duration)


def change_speed(samples: Signal, factor: float) -> Signal:
    """Speed perturbation (Ko et al. 2015): tempo and pitch together, as `sox speed` does."""
    if factor == 1.0:
        return samples
    stretched: Signal = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")
    return stretched
