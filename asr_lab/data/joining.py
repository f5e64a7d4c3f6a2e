"""Joins utterances with pauses into longer ones, as they follow each other in a long recording.

A recogniser trained only on single utterances has never seen a pause or a second speaker: on a long recording of such
utterances its error rate is two to three times that on each of them alone (experiments/RESULTS.md).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from lhotse.cut import Cut

from asr_lab.config.schema import Joining, Sound
from asr_lab.data import columns, noise
from asr_lab.data.audio import Signal
from asr_lab.units import num_samples

_JOIN, _PAUSES = 10, 11  # random streams; `augment` has others
_FLOOR_S = 0.05  # s; the quietest stretch of an utterance that is repeated as its background
_SHORT_S = 0.1  # s; the longest of half of the pauses, as between words
_MANY = 0.5  # share of utterances too long to be joined, above which it is reported
_NOISE_DB = (-60.0, -20.0)  # of noise in a pause, relative to the power of the speech


def random_stream(seed: int, epoch: int, purpose: int, cut_id: str) -> np.random.Generator:
    """Return the random numbers of one purpose for an utterance in an epoch: a resumed run draws the same."""
    return np.random.default_rng([seed, epoch, purpose, zlib.crc32(cut_id.encode())])


class Joiner:
    """Joins the utterances of a batch, and fills the pauses; a function of (seed, epoch, utterances)."""

    def __init__(self, settings: Joining, seed: int) -> None:
        self.settings, self.seed = settings, seed

    def chains(self, cuts: Sequence[Cut], epoch: int) -> list[list[Cut]]:
        """Return the utterances of a batch, each once, in chains that are to be joined.

        All chains of a batch but one are about as long, so that little of it is padding.
        """
        draw = random_stream(self.seed, epoch, _JOIN, cuts[0].id)
        two_s = 2 * max(cut.duration for cut in cuts)
        if draw.random() >= self.settings.join_share or two_s >= self.settings.join_s:
            return [[cut] for cut in cuts]
        longest_s = float(draw.uniform(two_s, self.settings.join_s))
        chains, left_s = list[list[Cut]](), 0.0
        for place in draw.permutation(len(cuts)).tolist():
            cut = cuts[place]
            if not chains or cut.duration > left_s:
                chains.append([])
                left_s = longest_s
            chains[-1].append(cut)
            left_s -= cut.duration + self._mean_pause_s
        return chains

    @property
    def _mean_pause_s(self) -> float:
        return sum(self._pauses_s) / 4  # as `join` draws them: half of them short

    @property
    def _pauses_s(self) -> tuple[float, float]:
        return self.settings.join_pause_s[0], self.settings.join_pause_s[-1]

    def join(self, signals: Sequence[Signal], cut_id: str, epoch: int) -> Signal:
        """Return signals (num_samples,) one after the other, with pauses between them, and often around them.

        All pauses are of one kind: zeros, noise, or the quietest stretch of the first signal, repeated.
        """
        draw = random_stream(self.seed, epoch, _PAUSES, cut_id)
        kind = int(draw.integers(3))
        power = float(np.mean(np.concatenate(signals).astype(np.float64) ** 2))
        level = np.sqrt(power) * 10 ** (draw.uniform(*_NOISE_DB) / 20)
        floor = quietest(signals[0])

        def pause(most_s: float, least_s: float = 0.0) -> Signal:
            length = num_samples(float(draw.uniform(least_s, most_s)))
            if kind == 0 or length == 0:
                return np.zeros(length, dtype=np.float32)
            if kind == 1:
                return noise.generate("pink" if draw.random() < 0.5 else "white", length, draw) * np.float32(level)
            return noise.loop_from(floor, length, draw)

        least_s, most_s = self._pauses_s
        short_s = max(least_s, min(most_s, _SHORT_S))
        parts = [pause(most_s / 2) if draw.random() < 0.5 else pause(0.0)]
        for signal in signals:
            parts += [signal, pause(most_s if draw.random() < 0.5 else short_s, least_s)]
        parts[-1] = pause(most_s / 2) if draw.random() < 0.5 else pause(0.0)
        return np.concatenate(parts)


def unjoined_warnings(settings: Sound, cuts: Iterable[Cut]) -> list[str]:
    """Return a line if few batches can be joined, as most utterances are too long."""
    if not (isinstance(settings, Joining) and settings.join_share):
        return []
    longest_s = settings.join_s
    share = float(np.mean(2 * columns.durations(cuts) >= longest_s))
    line = f"augment.join_s={longest_s:g}: {share:.0%} of the utterances are half as long or longer, and batches with "
    return [f"{line}such utterances are not joined"] if share > _MANY else []


def quietest(signal: Signal) -> Signal:
    """Return the quietest 50 ms of a signal (num_samples,); all of a shorter one."""
    length = num_samples(_FLOOR_S)
    if len(signal) <= length:
        return signal
    power = np.cumsum(np.concatenate([[0.0], signal.astype(np.float64) ** 2]))
    start = int(np.argmin(power[length:] - power[:-length]))
    return signal[start : start + length]
