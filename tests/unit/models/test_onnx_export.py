"""Exported graphs: logits of other lengths and batches than were traced, with adapters, and in 8 bits."""

import numpy as np
import pytest
import torch
from encoders import recognizer, speech, tuned

from asr_lab.data.text import BLANK, SPACE, TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import MLPAdapter
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from asr_lab.models.onnx_graph import strides_of, write_graph
from asr_lab.models.onnx_int8 import quantize
from asr_lab.models.onnx_recognizer import OnnxDeepSpeech2, OnnxNetwork

UNITS = {unit: index for index, unit in enumerate([BLANK, SPACE, *"abcde"])}


def deepspeech2(adapter: str = "", **sizes) -> DeepSpeech2Recognizer:
    torch.manual_seed(0)
    config = DeepSpeech2Config(**{"vocab_size": len(UNITS), "hidden_size": 16, "conv_channels": 4, **sizes})
    made = DeepSpeech2Recognizer(DeepSpeech2ForCTC(config).eval(), dict(UNITS), TextNormalizer())
    if adapter:
        made.adapter = MLPAdapter(config.rnn_output_size, (8,), len(UNITS), residual=adapter == "residual").eval()
        torch.nn.init.normal_(made.adapter.layers[-2].weight)
    return made


def lora():
    made = recognizer(tuned(speech(), tune="lora", freeze_layers=1))
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return made


def signals(*seconds: float) -> list[np.ndarray]:
    draw = np.random.default_rng(len(seconds))
    return [draw.normal(0, 0.1, round(16000 * one)).astype(np.float32) for one in seconds]


def difference(source, network: OnnxNetwork, given: list[np.ndarray]) -> float:
    """The largest difference of logits in real frames."""
    exported = OnnxDeepSpeech2(network, source.vocabulary, source.normalizer, kernels=(1,), strides=(1,))
    expected, lengths = source.logits(source.collator().pad([source.extract(one) for one in given]))
    got, own = exported.logits(exported.collator().pad([exported.extract(one) for one in given]))
    assert own.tolist() == lengths.tolist() == [source.output_frames(len(one)) for one in given]
    return max(float((got[row, :n] - expected[row, :n]).abs().max()) for row, n in enumerate(lengths.tolist()))


MADE = {
    "gru": deepspeech2,
    "lstm, one direction, plain adapter": lambda: deepspeech2("plain", rnn_type="lstm", bidirectional=False),
    "rnn, residual adapter": lambda: deepspeech2("residual", rnn_type="rnn", head="kospeech_layer_norm"),
    "wav2vec2": lambda: recognizer(speech()),
    "wav2vec2, group norm": lambda: recognizer(speech(norm="group")),
    "wavlm": lambda: recognizer(speech("wavlm", "group")),
    "lora": lora,
}


@pytest.mark.parametrize("made", MADE)
def test_logits_are_those_of_the_model_for_other_lengths_and_batches(made, tmp_path):
    source = MADE[made]()
    write_graph(source, tmp_path / "model.onnx")
    network = OnnxNetwork(tmp_path / "model.onnx", source.blank)
    for seconds in ((0.03,), (2.2,), (0.4, 1.9, 0.7), (1.0, 1.0)):
        assert difference(source, network, signals(*seconds)) < 1e-5
    kernels, strides = zip(*strides_of(source), strict=True)
    exported = OnnxDeepSpeech2(network, source.vocabulary, source.normalizer, kernels=kernels, strides=strides)
    assert exported.min_samples == source.min_samples
    assert [exported.output_frames(n) for n in range(300, 3000, 7)] == [
        source.output_frames(n) for n in range(300, 3000, 7)
    ]


@pytest.mark.parametrize("sizes", [{}, {"rnn_type": "lstm", "bidirectional": False}])
def test_eight_bits_are_near_and_small(sizes, tmp_path):
    source = deepspeech2(hidden_size=96, **sizes)
    write_graph(source, tmp_path / "model.onnx")
    quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    given = signals(0.9, 1.6)
    assert 0 < difference(source, OnnxNetwork(tmp_path / "int8.onnx", 0), given) < 0.1
    assert (tmp_path / "int8.onnx").stat().st_size < 0.5 * (tmp_path / "model.onnx").stat().st_size


@pytest.mark.parametrize("settings", [{"normalize": "speech"}, {"streaming": True, "bidirectional": False}])
def test_features_that_the_graph_would_normalise_otherwise_are_refused(settings, tmp_path):
    with pytest.raises(AsrLabError) as raised:
        write_graph(deepspeech2(**settings), tmp_path / "model.onnx")
    assert "model.normalize=utterance" in raised.value.allowed
    assert not list(tmp_path.iterdir())
