"""What holds no speech, and what only sounds as if."""

import numpy as np
import pytest
from conftest import FSDD, tone_word

from asr_lab.data.audio import read_file
from asr_lab.data.speech_activity import SpeechActivity, no_speech

RATE = 16_000


def noise(seconds: float, slope: float = 0.0, level: float = 0.1) -> np.ndarray:
    """Noise whose power falls with frequency: 0 white, 1 pink."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(int(seconds * RATE)))
    signal = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** (slope / 2))
    return (level * signal / signal.std()).astype(np.float32)


@pytest.mark.parametrize("level", [0, 1e-5, 1e-4])
def test_silence(level):
    assert no_speech(np.full(RATE, level, np.float32)) == "silence"


@pytest.mark.parametrize("seconds", [0.3, 1, 10])
@pytest.mark.parametrize("slope", [0, 1])
@pytest.mark.parametrize("level", [0.001, 0.1])
def test_steady_noise(seconds, slope, level):
    pause = np.zeros(int(seconds * RATE / 3), np.float32)
    assert no_speech(noise(seconds, slope, level)) == "steady noise"
    assert no_speech(np.concatenate([pause, noise(seconds, slope, level), pause])) == "steady noise"


def clicks(seconds: float, *at_s: float) -> np.ndarray:
    """Clicks of 1 to 12 ms in digital silence."""
    signal, draw = np.zeros(round(seconds * RATE), np.float32), np.random.default_rng(0)
    for number, at in enumerate(at_s):
        length = round((0.001, 0.005, 0.012)[number % 3] * RATE)
        start = round(at * RATE)
        signal[start : start + length] = draw.normal(0, 0.3, length) * np.exp(-np.arange(length) / length * 3)
    return signal


@pytest.mark.parametrize("at_s", [(1.0,), (0.2, 0.9, 1.4, 1.41, 2.8)])
def test_clicks(at_s):
    assert no_speech(clicks(3, *at_s)) == "clicks"
    assert no_speech(clicks(9, *at_s)) == "clicks"
    assert no_speech(clicks(3, *at_s) + noise(3, level=0.001)) == "steady noise"
    word = tone_word("a", np.random.default_rng(0))
    spoken = clicks(3, *at_s)
    spoken[32_000 : 32_000 + len(word)] += word
    assert not no_speech(spoken)


def test_a_sung_vowel_and_a_whisper_may_be_speech():
    time = np.arange(2 * RATE) / RATE
    vowel = sum(0.05 / n * np.sin(2 * np.pi * 120 * n * time) for n in range(1, 60))
    assert not no_speech(vowel.astype(np.float32) + noise(2, level=0.001))
    assert not no_speech((noise(2) * (1 + np.sin(2 * np.pi * 3 * time))).astype(np.float32))


def test_one_word_in_minutes_of_noise_may_be_speech():
    signal = noise(120, level=0.01)
    word = tone_word("cab", np.random.default_rng(0))
    for start in (0, 63_500, len(signal) - len(word)):
        beside = signal.copy()
        beside[start : start + len(word)] += word
        assert not no_speech(beside)
    assert no_speech(signal) == "steady noise"
    assert no_speech(np.concatenate([signal, np.zeros(5 * RATE, np.float32)])) == "steady noise"


def test_speech_is_never_taken_for_noise():
    words = [tone_word(word, np.random.default_rng(0)) for word in ("a", "cab", "fad beef")]
    assert not any(no_speech(one) for one in words)
    assert not any(no_speech(one[: RATE // 50]) for one in words)
    assert not any(no_speech(np.round(one * 4) / 128) for one in words)  # of few bits
    assert not any(no_speech((one + noise(2)[: len(one)] * 0.3).astype(np.float32)) for one in words)


@pytest.mark.skipif(not FSDD.is_dir(), reason="FSDD is not there")
def test_no_digit_of_fsdd_is_taken_for_noise():
    files = sorted(FSDD.glob("*.wav"))[::20]
    assert len(files) == 100
    assert not [file.name for file in files if no_speech(read_file(file))]


def test_pieces_are_assessed_as_the_whole_in_bounded_memory():
    word, pause = tone_word("cab", np.random.default_rng(1)), np.zeros(2 * RATE, np.float32)
    signals = [
        pause,
        noise(11),
        np.concatenate([noise(9), word, noise(6)]),
        np.concatenate([pause, word, pause, pause]),
        np.concatenate([noise(9), clicks(9, 0.5, 4.2, 8.9), word]),
    ]
    for signal in signals:
        for size in (1777, 3200, 100_000):
            activity = SpeechActivity()
            assert activity.no_speech() == "silence"
            for start in range(0, len(signal), size):
                activity.push(signal[start : start + size])
                assert activity.no_speech() == no_speech(signal[: start + size])
                assert len(activity._kept) <= 8 * RATE + size
