"""Recordings of any length: no word is lost or doubled at a cut, times hold to the end, memory does not grow."""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch.nn.utils.rnn import pad_sequence

from asr_lab.data.audio import read_blocks, read_file
from asr_lab.data.segmentation import Cutting, Piece
from asr_lab.data.text import SPACE, WORD_START, TextNormalizer
from asr_lab.decoding.greedy import best_path, to_text
from asr_lab.errors import AsrLabError
from asr_lab.models.recognizer import Recognizer
from asr_lab.serving import long_recordings
from asr_lab.serving.engine import Engine, Request
from asr_lab.serving.long_recordings import Transcriber
from asr_lab.units import SAMPLE_RATE

UNITS = ["<pad>", SPACE, *"abcdefgh"]
HOP = 320
LETTER_S, GAP_S, SPACE_S = 0.08, 0.02, 0.06
WORDS = ["ab", "cafe", "bead", "deaf", "had", "gag", "badge", "fed", "chafed", "abc"]


@dataclass
class Tones(Recognizer):
    """Recognises letters by their frequency: each 20 ms is the letter whose tone is in it, if it is not silent."""

    model_type = "tones"

    def output_frames(self, num_samples):
        return num_samples // HOP

    def extract(self, samples):
        return torch.from_numpy(samples[: len(samples) // HOP * HOP].reshape(-1, HOP).copy())

    def collator(self, **_):
        return SimpleNamespace(
            pad=lambda rows: {"rows": pad_sequence(rows, batch_first=True), "lengths": torch.tensor([*map(len, rows)])}
        )

    def logits(self, batch):
        spectrum = torch.fft.rfft(batch["rows"] * torch.hann_window(HOP), dim=-1).abs()
        power_BUV = torch.stack([spectrum[..., bin_of(unit)] for unit in range(1, len(UNITS))], dim=-1)
        silent_BU1 = torch.full_like(power_BUV[..., :1], 0.05)
        return 10 * (torch.cat([silent_BU1, power_BUV], dim=-1) + 1e-3).log(), batch["lengths"]

    def save(self, folder):
        pytest.fail("a recogniser that only transcribes is saved")


def bin_of(unit):
    return 8 + 6 * unit


def tone(unit, seconds, level):
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return level * np.sin(2 * np.pi * bin_of(unit) * SAMPLE_RATE / HOP * time)


@pytest.fixture(scope="module")
def engine():
    model = SimpleNamespace(device=torch.device("cpu"), config=SimpleNamespace(pad_token_id=0))
    tones = Tones(model, {unit: place for place, unit in enumerate(UNITS)}, TextNormalizer())
    return Engine(tones, segmentation="energy")  # silero-vad takes tones for no speech, rightly


def speak(seconds, pause_every, seed=0):
    """A recording with its words and their times; a pause of 0.3 to 0.8 s after `pause_every` words each."""
    draw, parts, words, at = np.random.default_rng(seed), [np.zeros(8000)], [], 8000
    while at < seconds * SAMPLE_RATE:
        word = WORDS[int(draw.integers(len(WORDS)))]
        letters = [np.concatenate([tone(UNITS.index(one), LETTER_S, 0.3), np.zeros(HOP)]) for one in word]
        spoken = np.concatenate(letters)[:-HOP]
        words.append((word, at / SAMPLE_RATE, (at + len(spoken)) / SAMPLE_RATE))
        ends = len(words) % pause_every == 0
        after = np.zeros(round(draw.uniform(0.3, 0.8) * SAMPLE_RATE)) if ends else tone(1, SPACE_S, 0.02)
        parts += [spoken, after]
        at += len(spoken) + len(after)
    return np.concatenate(parts).astype(np.float32), words


@pytest.mark.parametrize(("pause_every", "batch_size"), [(3, 0), (3, 4), (3, 16), (40, 1), (100_000, 1), (100_000, 4)])
def test_no_word_is_lost_or_doubled_and_times_hold(engine, pause_every, batch_size):
    samples, words = speak(150, pause_every)
    (result,) = engine.transcribe([Request(audio=samples, words=True)], batch_size=batch_size)
    assert result.text == " ".join(word for word, _, _ in words)
    assert [one.text for one in result.words] == [word for word, _, _ in words]
    for found, (_, start_s, end_s) in zip(result.words, words, strict=True):
        assert abs(found.start_s - start_s) < 0.06
        assert abs(found.end_s - end_s) < 0.06
    assert result.duration_s == pytest.approx(len(samples) / SAMPLE_RATE)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_file_is_read_in_blocks_and_gives_the_same(engine, tmp_path, rate, monkeypatch):
    samples, words = speak(40, 5)
    if rate != SAMPLE_RATE:
        import soxr

        samples = soxr.resample(samples, SAMPLE_RATE, rate)
    file = tmp_path / "talk.flac"
    soundfile.write(file, np.stack([samples, samples], axis=1), rate)
    monkeypatch.setattr(long_recordings, "read_audio", None)  # reads all of it
    (result,) = engine.transcribe([Request(audio=file, words=True)])
    assert result.text == " ".join(word for word, _, _ in words)
    assert abs(result.words[-1].end_s - words[-1][2]) < 0.06
    assert "2 channels" in result.note
    blocks = list(read_blocks(file, "talk"))
    assert max(map(len, blocks)) < 11 * SAMPLE_RATE
    whole = read_file(file)
    np.testing.assert_allclose(np.concatenate(blocks)[: len(whole)], whole, atol=2e-4)


def test_a_recording_that_ends_early_is_an_error_of_its_request(engine, tmp_path):
    file = tmp_path / "cut.flac"
    soundfile.write(file, speak(40, 5)[0], SAMPLE_RATE)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    bad, good = engine.transcribe([Request(audio=file), Request(audio=speak(5, 3)[0])])
    assert isinstance(bad.error, AsrLabError)
    assert good.text


def test_silence_of_any_length_has_no_text(engine):
    hiss = np.random.default_rng(0).normal(0, 0.01, 40 * SAMPLE_RATE).astype(np.float32)
    for samples in (np.zeros(40 * SAMPLE_RATE, dtype=np.float32), hiss):
        (result,) = engine.transcribe([Request(audio=samples, words=True)])
        assert (result.text, result.words) == ("", ())
        assert "no speech" in result.note


def test_segmentation_can_be_switched_off(engine):
    samples, words = speak(35, 5)
    whole = Engine(engine.recognizer, segmentation="none")
    (result,) = whole.transcribe([Request(audio=samples, words=True)])
    assert [one.text for one in result.words] == result.text.split()
    assert result.words[-1].text == words[-1][0]


@pytest.mark.parametrize("last_s", np.arange(29.0, 31.0, 0.2).round(1))
def test_the_last_word_is_there_around_the_bound(engine, last_s):
    samples, words = speak(last_s - 0.9, 6)
    spoken = np.concatenate([samples, np.zeros(max(0, round(last_s * SAMPLE_RATE) - len(samples)), dtype=np.float32)])
    (result,) = engine.transcribe([Request(audio=spoken, words=True)])
    assert result.words[-1].text == words[-1][0]
    assert abs(result.words[-1].end_s - words[-1][2]) < 0.06


def test_a_word_of_subwords_is_not_written_twice_where_a_stretch_is_decoded_in_part(monkeypatch):
    units = ["<pad>", f"{WORD_START}ab", f"{WORD_START}cad", "e"]
    path, frame_s = [1, 0, 2, 2, 2, 0], 0.02  # the second word begins with a subword of several frames
    recognizer = SimpleNamespace(units=units, frame_shift_s=frame_s)
    samples = np.random.default_rng(0).normal(0, 0.1, 2 * round(len(path) * frame_s * SAMPLE_RATE)).astype(np.float32)
    edges = [0, len(samples) // 2, len(samples)]
    parts = [
        Piece(samples=samples[start:end], first=start, start=start, end=end) for start, end in itertools.pairwise(edges)
    ]
    monkeypatch.setattr(long_recordings, "_STRETCH_S", len(path) * frame_s / 2)
    monkeypatch.setattr(long_recordings, "no_speech", lambda _: "")
    monkeypatch.setattr(long_recordings, "pieces", lambda *_: iter(parts))

    def encode(signals):
        paths = [path, [3, 0, 1, 1, 0, 0]]
        return [torch.nn.functional.one_hot(torch.tensor(one), len(units)).float() for one in paths[: len(signals)]]

    def decode(logits_UV):
        ((classes),) = best_path(logits_UV[None], torch.tensor([len(logits_UV)]), 0)
        return to_text(classes, units), ()

    text, _, _ = Transcriber(recognizer, encode, decode, 2).transcribe([], Cutting())
    assert text == "ab cade ab"
