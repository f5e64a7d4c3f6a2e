"""Sample rates, hops and the conversions between seconds, samples and frames."""

from __future__ import annotations

SAMPLE_RATE = 16_000  # Hz; every model here hears this rate, other rates are resampled on reading
FRAME_SHIFT_S = 0.010  # s; hop of the filter bank
FRAME_LENGTH_S = 0.020  # s; window of the filter bank (KoSpeech's 20 ms)
FRAME_SHIFT = int(SAMPLE_RATE * FRAME_SHIFT_S)  # 160 samples
FRAME_LENGTH = int(SAMPLE_RATE * FRAME_LENGTH_S)  # 320 samples
NUM_MEL_BINS = 80


def num_frames(num_samples: int) -> int:
    """Filter-bank frames of a signal (whole windows only, Kaldi's `snip_edges`); 16000 samples -> 99."""
    return max(0, 1 + (num_samples - FRAME_LENGTH) // FRAME_SHIFT) if num_samples >= FRAME_LENGTH else 0


def num_samples(duration_s: float) -> int:
    """Samples of a duration in seconds at `SAMPLE_RATE`."""
    return round(duration_s * SAMPLE_RATE)


def hms(seconds: float) -> str:
    """A duration for people: `7.3 s`, `2 min 05 s`, `3 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
