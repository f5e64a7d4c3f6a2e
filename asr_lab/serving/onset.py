"""Where an utterance begins in audio that comes in pieces.

A pause before it would drag the statistics by which features are normalised, and is not what models learned from.
"""

from __future__ import annotations

import numpy as np

from asr_lab.data.audio import Signal
from asr_lab.data.segmentation import BLOCK, Levels, levels
from asr_lab.units import num_samples

_QUIET_DB = 40.0  # below the loudest 10 ms so far: a pause
_SILENT_DB = -90.0  # digital silence, and rounding to 16 bits
_BEFORE_S = 0.2  # that is kept of a pause that is not digital silence, for quiet beginnings


class Onset:
    """Finds the beginnings of utterances by their level beside what was loudest so far."""

    def __init__(self) -> None:
        self._loudest_db = -np.inf
        self.pause = np.zeros(0, dtype=np.float32)
        """The end of a pause (num_samples,)."""

    def find(self, piece: Signal) -> Signal:
        """Return the samples from shortly before the beginning of an utterance on, () if it does not begin yet."""
        samples = np.concatenate([self.pause, piece])
        levels_T = levels(samples)
        audible_T = levels_T > _SILENT_DB
        loud_T = audible_T & (levels_T > self._loudest_db - _QUIET_DB)
        begins = int(np.argmax(loud_T)) if loud_T.any() else len(loud_T)
        if begins == len(loud_T):
            self.pause = samples[-num_samples(_BEFORE_S) :]
            return samples[:0]
        self.pause = samples[:0]
        self._follow(levels_T)
        silent = np.flatnonzero(~audible_T[:begins])
        return samples[max(begins * BLOCK - num_samples(_BEFORE_S), (silent[-1] + 1) * BLOCK if len(silent) else 0) :]

    def follow(self, piece: Signal) -> None:
        """Take the samples (num_samples,) of an utterance that has begun."""
        if len(piece):
            self._follow(levels(piece))

    def _follow(self, levels_T: Levels) -> None:
        self._loudest_db = max(self._loudest_db, float(levels_T.max()))
