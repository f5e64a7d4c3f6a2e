"""Long recordings are cut into stretches of speech and at quiet spots, and nothing is lost."""

from functools import cache
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest

from asr_lab.data.segmentation import BLOCK, Cutting, Segmenter, cut_points, levels, loud, pieces, stretches
from asr_lab.units import SAMPLE_RATE

ENERGY = Cutting(method="energy", pause_s=0.2, pad_s=0.05, longest_s=4.0, context_s=0.5)


@cache
def voice():
    """Harmonics whose level changes four times a second, as that of syllables does; never silent."""
    time = np.arange(150 * SAMPLE_RATE) / SAMPLE_RATE
    harmonics = sum(np.sin(2 * np.pi * 120 * n * time[:SAMPLE_RATE]) / n for n in range(1, 20))
    hiss = np.random.default_rng(0).normal(0, 1e-3, len(time))
    return (0.1 * np.tile(harmonics, 150) * (1.2 + np.sin(2 * np.pi * 4.1 * time)) + hiss).astype(np.float32)


def spoken(seconds, at=0):
    return voice()[at * SAMPLE_RATE :][: round(seconds * SAMPLE_RATE)].copy()


def silence(seconds, level=0.0):
    return np.random.default_rng(1).normal(0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


def blocks_of(samples, seconds=10.0):
    size = round(seconds * SAMPLE_RATE)
    return [samples[at : at + size] for at in range(0, len(samples), size)]


@pytest.mark.parametrize("level", [0.0, 1e-5, 1e-3])
def test_silence_and_a_quiet_background_have_no_pieces_and_pauses_part_stretches(level):
    assert list(pieces([silence(5)], ENERGY)) == []
    recording = np.concatenate([silence(1, level), spoken(2), silence(0.5, level), spoken(1.5), silence(2, level)])
    found = list(pieces(blocks_of(recording), ENERGY))
    expected = [(1.0, 3.0), (3.5, 5.0)]
    assert len(found) == 2
    for piece, (start_s, end_s) in zip(found, expected, strict=True):
        assert start_s - 0.06 <= piece.start / SAMPLE_RATE <= start_s
        assert end_s <= piece.end / SAMPLE_RATE <= end_s + 0.06
        assert piece.first == piece.start  # no context over a pause
        np.testing.assert_array_equal(piece.samples, recording[piece.start : piece.end])


@pytest.mark.parametrize("seconds", [3.9, 4.1, 7.0, 29.95, 150.0])
def test_speech_without_a_pause_is_cut_and_no_sample_is_lost(seconds):
    recording = spoken(seconds)
    found = list(pieces(blocks_of(recording), ENERGY))
    assert found[0].start == 0
    assert found[-1].end == len(recording)
    assert all(one.end == other.start for one, other in pairwise(found))
    longest = round(ENERGY.longest_s * SAMPLE_RATE)
    assert all(longest // 4 < one.end - one.start <= longest for one in found[:-1])
    for one in found:
        np.testing.assert_array_equal(one.samples, recording[one.first : one.first + len(one.samples)])
        after = one.first + len(one.samples) - one.end
        assert one.start - one.first == (0 if one is found[0] else round(ENERGY.context_s * SAMPLE_RATE))
        assert after == min(round(ENERGY.context_s * SAMPLE_RATE), len(recording) - one.end)


def test_a_cut_is_at_the_quietest_spot():
    recording = spoken(6)
    quiet = slice(round(3.1 * SAMPLE_RATE), round(3.2 * SAMPLE_RATE))
    recording[quiet] *= 1e-2
    (cut,) = cut_points(levels(recording), 0, len(recording) // BLOCK, ENERGY)
    assert quiet.start < cut * BLOCK < quiet.stop


@pytest.mark.parametrize("block_s", [0.37, 10.0, 1000.0])
def test_pieces_do_not_depend_on_the_blocks(block_s):
    parts = [part for n in range(40) for part in (spoken(1 + n % 7, n), silence(0.25 + n % 3 / 10))]
    recording = np.concatenate(parts)
    once = [(one.start, one.end) for one in pieces(blocks_of(recording, 30.0), ENERGY)]
    assert [(one.start, one.end) for one in pieces(blocks_of(recording, block_s), ENERGY)] == once
    assert sum(other - one for one, other in once) >= sum(len(part) for part in parts[::2])


def test_a_long_recording_is_not_kept():
    segmenter, most = Segmenter(ENERGY), 0
    for _ in range(20):
        list(segmenter.push(spoken(10)))
        most = max(most, sum(map(len, segmenter._kept)))
    assert most <= 70 * SAMPLE_RATE


def test_stretches_are_padded_to_the_middle_of_a_pause_at_most_and_do_not_touch():
    speech = np.zeros(100, dtype=bool)
    speech[[*range(10, 40), *range(64, 90)]] = True
    assert stretches(speech, Cutting(pause_s=0.2, pad_s=0.5)) == [(0, 51), (52, 100)]
    assert stretches(speech, Cutting(pause_s=0.3, pad_s=0.0)) == [(10, 90)]


def test_what_lies_far_below_the_loud_levels_is_no_speech():
    assert loud(np.array([-20.0, -50.0, -70.0, -120.0]), by_floor=False).tolist() == [True, True, False, False]


@pytest.mark.skipif(not (find_spec("silero_vad") and find_spec("onnxruntime")), reason="silero-vad is not installed")
def test_silero_takes_a_hum_for_no_speech():
    time = np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE
    hum = (0.3 * np.sin(2 * np.pi * 50 * time)).astype(np.float32)
    assert list(pieces([hum], Cutting(method="vad"))) == []
    assert list(pieces([hum], Cutting(method="energy")))
