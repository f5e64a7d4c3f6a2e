"""A streaming DeepSpeech2: audio in pieces gives the numbers of the whole, whatever else is in the batch."""

import numpy as np
import pytest
import torch

from asr_lab.config.load import load, parse_overrides
from asr_lab.data.features import RunningStatistics, extract, extract_running, filter_bank, normalize_running
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer, load_recognizer
from asr_lab.models.deepspeech2_streaming import LATENCY_S, LOOK_AHEAD, StreamingEncoder
from asr_lab.units import SAMPLE_RATE, num_frames

VOCABULARY = {"<pad>": 0, "|": 1, "a": 2, "b": 3, "c": 4}
LENGTHS = (16_000, 31_234, 320, 5_001, 300, 481)  # samples; one is too short for any frame


def model(**changes) -> DeepSpeech2ForCTC:
    torch.manual_seed(0)
    shape = {"vocab_size": 5, "hidden_size": 16, "conv_channels": 4, "streaming": True, "bidirectional": False}
    network = DeepSpeech2ForCTC(DeepSpeech2Config(**{**shape, **changes}))
    for name, buffer in network.named_buffers():  # statistics as after training
        if name.endswith("running_mean"):
            buffer.normal_()
    return network.eval()


def signal(num_samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose level changes."""
    draw = np.random.default_rng(seed).normal(0, 0.1, num_samples)
    return (draw * (1.1 + np.sin(np.arange(num_samples) / 3000))).astype(np.float32)


@torch.inference_mode()
def whole(network: DeepSpeech2ForCTC, samples: np.ndarray) -> torch.Tensor:
    if not num_frames(len(samples)):
        return torch.zeros(0, network.config.rnn_output_size)
    features = extract_running(samples)[None]
    return network.encode(features, torch.tensor([features.size(1)]))[0][0]


def in_pieces(network: DeepSpeech2ForCTC, samples: np.ndarray, piece: int) -> torch.Tensor:
    encoder = StreamingEncoder(network)
    state, outputs = encoder.start(), []
    for start in range(0, len(samples), piece):
        last = start + piece >= len(samples)
        (new,), (state,) = encoder.step([samples[start : start + piece]], [state], [last])
        outputs.append(new)
    return torch.cat(outputs)


@pytest.mark.parametrize("rnn_type", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("piece", [1600, 3200, 8000, 32_000, 777])
def test_pieces_give_the_numbers_of_the_whole(rnn_type, piece):
    network, samples = model(rnn_type=rnn_type), signal(31_234)
    with torch.inference_mode():
        expected = network.head(whole(network, samples))
        torch.testing.assert_close(network.head(in_pieces(network, samples, piece)), expected, atol=1e-5, rtol=0)
    assert len(expected) == 97


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_streams_of_a_batch_know_nothing_of_each_other(rnn_type):
    network, draw = model(rnn_type=rnn_type), np.random.default_rng(1)
    signals = [signal(length, seed) for seed, length in enumerate(LENGTHS)]
    encoder = StreamingEncoder(network)
    states, outputs = [encoder.start() for _ in signals], [[] for _ in signals]
    places, going = [0] * len(signals), set(range(len(signals)))
    while going:  # at each step some streams, each with a piece of its own length, also of none
        rows = sorted(row for row in going if draw.random() < 0.7)
        pieces = []
        for row in rows:
            size = int(draw.integers(0, 6000))
            pieces.append(signals[row][places[row] : places[row] + size])
            places[row] += size
        last = [places[row] >= len(signals[row]) for row in rows]
        made, after = encoder.step(pieces, [states[row] for row in rows], last)
        for row, output, state, ended in zip(rows, made, after, last, strict=True):
            outputs[row].append(output)
            states[row] = state
            going -= {row} if ended else set()
    for samples, pieces in zip(signals, outputs, strict=True):
        torch.testing.assert_close(torch.cat(pieces), whole(network, samples), atol=1e-5, rtol=0)


def test_an_output_needs_the_documented_look_ahead_and_no_more():
    network, samples = model(), signal(32_000)
    before = in_pieces(network, samples, 32_000)
    for frame in (10, 40):
        changed = samples.copy()
        needed = round(LATENCY_S * SAMPLE_RATE) + 2 * frame * 160
        changed[needed:] = 0
        after = in_pieces(network, changed, 32_000)
        assert torch.equal(after[frame], before[frame])
        assert not torch.equal(after[frame + 1], before[frame + 1])
        arrived, _ = StreamingEncoder(network).step([samples[:needed]], [StreamingEncoder(network).start()], [False])
        assert len(arrived[0]) == frame + 1
    assert (LOOK_AHEAD, LATENCY_S) == (2400, 0.17)


def test_a_state_can_be_gone_on_from_twice():
    encoder, samples = StreamingEncoder(model()), signal(20_000)
    _, (state,) = encoder.step([samples[:8000]], [encoder.start()], [False])
    (once,), _ = encoder.step([samples[8000:]], [state], [True])
    (again,), _ = encoder.step([samples[8000:]], [state], [True])
    assert torch.equal(once, again)


def test_running_normalisation_looks_back_alone_and_ignores_digital_silence():
    features = filter_bank(signal(16_000))
    normed, _ = normalize_running(features)
    first, so_far = normalize_running(features[:40])
    rest, _ = normalize_running(features[40:], so_far)
    torch.testing.assert_close(torch.cat([first, rest]), normed, atol=1e-6, rtol=0)
    for frame in (0, 30, 98):  # by definition: of the frames so far and half a second of typical speech
        seen = features[: frame + 1].double().flatten()
        prior, count = RunningStatistics(), 4000 + seen.numel()
        mean = (prior.total + seen.sum()) / count
        deviation = ((prior.squares + seen.square().sum()) / count - mean**2).sqrt()
        expected = ((features[frame].double() - mean) / deviation).float()
        torch.testing.assert_close(normed[frame], expected, atol=1e-5, rtol=0)
    silent, after = normalize_running(filter_bank(np.zeros(16_000, np.float32)))
    assert after == RunningStatistics()
    assert torch.isfinite(silent).all()
    assert normalize_running(features[:0], so_far)[1] == so_far


def test_a_recogniser_keeps_its_normalisation(tmp_path):
    samples = signal(16_000)
    for streaming, expected in ((True, extract_running(samples)), (False, extract(samples))):
        network = model(streaming=streaming)
        recognizer = DeepSpeech2Recognizer(network, dict(VOCABULARY), TextNormalizer())
        recognizer.save(tmp_path / str(streaming))
        again = load_recognizer(tmp_path / str(streaming))
        assert again.streams is streaming
        for one in (recognizer, again):
            assert torch.equal(one.extract(samples), expected)
            assert torch.equal(one.collator().extract(samples), expected)


def test_streaming_is_one_key_and_refuses_two_directions():
    def read(*overrides: str):
        return load(None, parse_overrides(["recipe=deepspeech2", *overrides]))

    config = read("model.streaming=true")
    assert (config.model.streaming, config.model.bidirectional) == (True, False)
    assert read().model.bidirectional
    with pytest.raises(AsrLabError) as raised:
        read("model.streaming=true", "model.bidirectional=true")
    assert "model.bidirectional=false" in raised.value.what
