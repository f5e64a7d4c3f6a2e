"""Where utterances begin in a stream: pauses are left out, quiet beginnings are not, whatever the pieces."""

import numpy as np
import pytest

from asr_lab.serving.onset import Onset

RATE = 16_000


def tone(seconds: float, level: float) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 300 * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def noise(seconds: float, level: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, int(seconds * RATE)).astype(np.float32)


def begun(onset: Onset, samples: np.ndarray, size: int) -> np.ndarray:
    """What an utterance gets of samples in pieces of this size."""
    parts: list[np.ndarray] = []
    for start in range(0, len(samples), size):
        piece = samples[start : start + size]
        if parts:
            onset.follow(piece)
        if len(part := piece if parts else onset.find(piece)):
            parts.append(part)
    return np.concatenate([np.zeros(0, np.float32), *parts])


@pytest.mark.parametrize("size", [777, 3200, 100_000])
@pytest.mark.parametrize(("pause", "most_s"), [(np.zeros(RATE, np.float32), 0.01), (noise(1, 1e-3), 0.21)])
def test_a_pause_before_an_utterance_is_left_out(size, pause, most_s):
    onset, speech = Onset(), tone(0.5, 0.3)
    assert len(begun(onset, speech, size)) == len(speech)
    utterance = np.concatenate([pause, tone(0.1, 0.01), speech])  # it begins 30 dB below its loudest
    kept = begun(onset, utterance, size)
    assert np.array_equal(kept, utterance[-len(kept) :])
    assert 0 <= len(kept) - (0.6 * RATE) <= most_s * RATE


def test_what_comes_first_begins_an_utterance_unless_it_is_digital_silence():
    assert len(Onset().find(noise(0.2, 1e-3))) == 0.2 * RATE
    onset = Onset()
    assert len(onset.find(np.zeros(RATE, np.float32))) == 0
    assert len(onset.pause) == 0.2 * RATE
