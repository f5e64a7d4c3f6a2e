"""DeepSpeech2: shapes, padding, directions, learning, keeping."""

import subprocess
import sys

import pytest
import torch

from asr_lab.models.ctc import ctc_loss
from asr_lab.models.deepspeech2 import Padding, output_length
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC

SMALL = {"vocab_size": 7, "hidden_size": 16, "conv_channels": 4}


def model(**changes) -> DeepSpeech2ForCTC:
    torch.manual_seed(0)
    return DeepSpeech2ForCTC(DeepSpeech2Config(**{**SMALL, **changes}))


@pytest.mark.parametrize(("frames", "expected"), [(1, 1), (2, 1), (3, 2), (99, 50), (101, 51)])
def test_output_length_is_half_rounded_up(frames, expected):
    assert output_length(torch.tensor([frames])).item() == expected


@pytest.mark.parametrize("rnn_type", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_shapes(rnn_type, bidirectional):
    network = model(rnn_type=rnn_type, bidirectional=bidirectional)
    output = network(torch.randn(2, 60, 80), torch.tensor([60, 41]), torch.tensor([[1, 2], [3, -100]]))
    assert output.logits.shape == (2, 30, 7)
    assert output.logit_lengths.tolist() == [30, 21]
    assert torch.isfinite(output.loss)
    assert network.config.rnn_output_size == (32 if bidirectional else 16)


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_padding_changes_nothing(rnn_type):
    network = model(rnn_type=rnn_type).eval()
    short, long = torch.randn(1, 37, 80), torch.randn(1, 90, 80)
    batch = torch.full((2, 90, 80), 9.0)  # what lies in the padding must not matter
    batch[0, :37], batch[1] = short[0], long[0]
    with torch.inference_mode():
        alone = network(short, torch.tensor([37])).logits
        together = network(batch, torch.tensor([37, 90])).logits
    torch.testing.assert_close(together[0, : alone.size(1)], alone[0], atol=1e-5, rtol=0)


def test_the_backward_rnn_equals_pytorchs_packed_one():
    network = model(num_layers=1).eval()
    layer = network.rnn_layers[0]
    packed_rnn = torch.nn.GRU(80, 16, batch_first=True, bidirectional=True)
    for name, parameter in layer.forward_rnn.named_parameters():
        getattr(packed_rnn, name).data.copy_(parameter)
    for name, parameter in layer.backward_rnn.named_parameters():
        getattr(packed_rnn, f"{name}_reverse").data.copy_(parameter)
    x, lengths = torch.randn(3, 20, 80), torch.tensor([20, 11, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.relu(layer.batch_norm(x.flatten(0, 1)).view_as(x)),
        lengths,
        batch_first=True,
        enforce_sorted=False,
    )
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_rnn(packed)[0], batch_first=True)
    ours = layer(x, Padding(lengths, 20))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(ours[row, :length], expected[row, :length], atol=1e-6, rtol=0)


def test_batch_norm_in_training_sees_real_frames_alone():
    network = model().train()
    x = torch.randn(2, 30, 80)
    x[1, 10:] = 1000.0
    network(x, torch.tensor([30, 10]))
    reference = model().train()
    x[1, 10:] = -1000.0
    reference(x, torch.tensor([30, 10]))
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, reference.get_buffer(name), msg=name)


def test_ctc_loss_is_the_mean_over_utterances_of_the_loss_per_label():
    logits, lengths = torch.randn(2, 12, 5), torch.tensor([12, 9])
    labels = torch.tensor([[1, 2, 3], [4, -100, -100]])
    log_probs = logits.log_softmax(-1).transpose(0, 1)
    single = [
        torch.nn.functional.ctc_loss(
            log_probs[:length, row : row + 1], target[None], (length,), (len(target),), reduction="sum"
        )
        / len(target)
        for row, (length, target) in enumerate([(12, labels[0]), (9, labels[1, :1])])
    ]
    torch.testing.assert_close(ctc_loss(logits, lengths, labels, blank=0), sum(single) / 2)


def test_labels_that_do_not_fit_count_nothing_and_break_nothing():
    logits = torch.randn(1, 2, 5, requires_grad=True)
    loss = ctc_loss(logits, torch.tensor([2]), torch.tensor([[1, 1, 1, 1]]), blank=0)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_one_batch_can_be_memorised():
    network = model(hidden_size=32).train()
    x, lengths = torch.randn(2, 40, 80), torch.tensor([40, 30])
    labels = torch.tensor([[1, 2, 3, 4], [5, 6, -100, -100]])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    first = None
    for _ in range(60):
        loss = network(x, lengths, labels).loss
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first


LONG = """
import resource
import torch
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
torch.set_num_threads(1)
network = DeepSpeech2ForCTC(DeepSpeech2Config(vocab_size=7, hidden_size=8, conv_channels=4)).eval()
with torch.inference_mode():
    print(network(torch.zeros(1, 60_000, 80), torch.tensor([60_000])).logit_lengths.item())
"""


@pytest.mark.slow
def test_ten_minutes_take_no_more_address_space_than_a_small_machine_has():
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True)
    assert done.stdout.split() == ["30000"], done.stderr


def test_the_memory_format_of_the_convolutions_changes_no_number():
    network = model().eval()
    features, lengths = torch.randn(2, 300, 80), torch.tensor([300, 211])
    with torch.inference_mode():
        own, _ = network.conv(features, lengths)
        plain = features.transpose(1, 2).unsqueeze(1) * (torch.arange(300) < lengths[:, None])[:, None, None, :]
        frames = torch.arange(150) < output_length(lengths)[:, None]
        for layer in network.conv.layers:
            plain = layer(plain) * frames[:, None, None, :]
    torch.testing.assert_close(own, plain.permute(0, 3, 1, 2).flatten(2), atol=1e-5, rtol=0)


def test_saved_and_loaded_gives_the_same_numbers(tmp_path):
    network = model().eval()
    network.save_pretrained(tmp_path)
    again = DeepSpeech2ForCTC.from_pretrained(tmp_path).eval()
    x, lengths = torch.randn(1, 50, 80), torch.tensor([50])
    with torch.inference_mode():
        assert torch.equal(network(x, lengths).logits, again(x, lengths).logits)
    assert (tmp_path / "model.safetensors").is_file()
    assert not list(tmp_path.glob("*.bin"))


def test_a_frozen_base_stays_as_it_is():
    network = model()
    network.freeze_base_model()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(torch.randn(2, 30, 80), torch.tensor([30, 20]))
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    network.unfreeze_base_model()
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.slow
def test_a_network_loaded_for_inference_computes_the_same_and_needs_no_model_class(tmp_path):
    from asr_lab.data.text import TextNormalizer
    from asr_lab.errors import AsrLabError
    from asr_lab.models import load_model
    from asr_lab.models.adapter import weights_digest
    from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer

    vocabulary = {unit: index for index, unit in enumerate(["<pad>", "|", *"abcde"])}
    trained = model(vocab_size=len(vocabulary)).eval()
    trained.conv(torch.randn(2, 40, 80), torch.tensor([40, 30]))
    DeepSpeech2Recognizer(trained, vocabulary, TextNormalizer()).save(tmp_path)
    whole, light = load_model(tmp_path), load_model(tmp_path, inference=True)
    features, lengths = torch.randn(2, 40, 80), torch.tensor([40, 30])
    batch = {"input_features": features, "feature_lengths": lengths}
    with torch.inference_mode():
        assert torch.allclose(whole.logits(batch)[0], light.logits(batch)[0], atol=1e-5)
    assert weights_digest(whole.model) == weights_digest(light.model)
    code = (
        "import sys; from asr_lab.models import load_model; load_model(sys.argv[1], inference=True);"
        "print([one for one in ('transformers', 'peft', 'datasets', 'sklearn', 'matplotlib', 'mlflow')"
        " if one in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_layers": 2', '"num_layers": 1').replace("16", "8"))
    with pytest.raises(AsrLabError, match="weights"):
        load_model(tmp_path, inference=True)
