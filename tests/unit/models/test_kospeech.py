"""KoSpeech's checkpoints: its own numbers for each head, whole pickles without its package, and what is refused.

`KoSpeechDeepSpeech2` below is written after the description of sooftware/KoSpeech: packed RNNs, frames masked after
each module of the convolutions.
"""

import collections
import io
import os
import sys
import types

import pytest
import torch
from torch import nn

from asr_lab.errors import AsrLabError
from asr_lab.models import load_model, unpickle
from asr_lab.models.adapter import AdapterManager
from asr_lab.models.kospeech import import_checkpoint, read_vocabulary
from asr_lab.models.unpickle import read_weights

CLASSES = 12


class Linear(nn.Module):
    def __init__(self, size_in, size_out, bias=True):
        super().__init__()
        self.linear = nn.Linear(size_in, size_out, bias=bias)

    def forward(self, x):
        return self.linear(x)


class LayerNorm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.gamma, self.beta, self.eps = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size)), eps

    def forward(self, z):
        return self.gamma * (z - z.mean(-1, keepdim=True)) / (z.std(-1, keepdim=True) + self.eps) + self.beta


class MaskCNN(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.sequential = nn.Sequential(
            nn.Conv2d(1, channels, (41, 11), stride=(2, 2), padding=(20, 5), bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20),
            nn.Conv2d(channels, channels, (21, 11), stride=(2, 1), padding=(10, 5), bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardtanh(0, 20),
        )

    def forward(self, x, lengths):
        for module in self.sequential:
            x = module(x)
            if isinstance(module, nn.Conv2d) and module.in_channels == 1:
                lengths = (lengths - 1) // 2 + 1
            for row, length in enumerate(lengths.tolist()):
                x[row, :, :, length:] = 0
        return x, lengths


class Extractor(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = MaskCNN(channels)


class Layer(nn.Module):
    def __init__(self, kind, size_in, hidden, bidirectional):
        super().__init__()
        self.batch_norm = nn.BatchNorm1d(size_in)
        self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[kind](
            size_in, hidden, batch_first=True, bidirectional=bidirectional
        )

    def forward(self, x, lengths):
        x = torch.relu(self.batch_norm(x.transpose(1, 2))).transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]


class KoSpeechDeepSpeech2(nn.Module):
    def __init__(self, head="H3", kind="gru", hidden=8, layers=2, bidirectional=True, channels=4):
        super().__init__()
        wide = hidden * (2 if bidirectional else 1)
        self.conv = Extractor(channels)
        self.rnn_layers = nn.ModuleList(
            Layer(kind, channels * 20 if index == 0 else wide, hidden, bidirectional) for index in range(layers)
        )
        self.fc = {
            "H1": lambda: nn.Sequential(Linear(wide, hidden), nn.ReLU(), Linear(hidden, CLASSES, bias=False)),
            "H2": lambda: nn.Sequential(LayerNorm(wide), Linear(wide, CLASSES, bias=False)),
            "H3": lambda: nn.Sequential(nn.LayerNorm(wide), Linear(wide, CLASSES, bias=False)),
        }[head]()

    def forward(self, features, lengths):
        x, lengths = self.conv.conv(features.transpose(1, 2).unsqueeze(1), lengths)
        batch, channels, bins, frames = x.shape
        x = x.permute(0, 3, 1, 2).reshape(batch, frames, channels * bins)
        for layer in self.rnn_layers:
            x = layer(x, lengths)
        return self.fc(x).log_softmax(-1), lengths


THEIRS = (Linear, LayerNorm, MaskCNN, Extractor, Layer, KoSpeechDeepSpeech2)


def theirs(**sizes) -> KoSpeechDeepSpeech2:
    """A model of theirs whose batch norms and scales are not those of a new one."""
    torch.manual_seed(3)
    model = KoSpeechDeepSpeech2(**sizes)
    for name, tensor in model.state_dict().items():
        if tensor.dtype == torch.float32 and tensor.dim() == 1:
            tensor.copy_(torch.rand_like(tensor) + (0.5 if "var" in name or "weight" in name or "gamma" in name else 0))
    return model.eval()


@pytest.fixture
def kospeech_package(monkeypatch):
    """While it is called, their classes belong to a package `kospeech`; afterwards there is no such package."""

    def pickled(save):
        module = types.ModuleType("kospeech.models.deepspeech2.model")
        names = ["kospeech", "kospeech.models", "kospeech.models.deepspeech2", module.__name__]
        for name in names:
            monkeypatch.setitem(sys.modules, name, module if name == module.__name__ else types.ModuleType(name))
        for kind in THEIRS:
            setattr(module, kind.__name__, kind)
            monkeypatch.setattr(kind, "__module__", module.__name__)
        save()
        for name in names:
            monkeypatch.delitem(sys.modules, name)

    return pickled


@pytest.fixture
def vocab(tmp_path):
    """11 units; the blank that KoSpeech appends makes 12 classes."""
    rows = ["0,<pad>,0", "1,<sos>,0", "2,<eos>,0", "3, ,90", "4,.,80"]
    rows += [f"{index},{unit},{70 - index}" for index, unit in enumerate("그이는다가고", start=5)]
    path = tmp_path / "vocab.csv"
    path.write_text("id,char,freq\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def assert_same_numbers(original, checkpoint, vocab):
    recognizer = import_checkpoint(checkpoint, vocab)
    features, lengths = torch.randn(3, 90, 80), torch.tensor([90, 71, 40])
    for row, length in enumerate(lengths.tolist()):
        features[row, length:] = 0  # as their collate function pads
    with torch.inference_mode():
        wanted, frames = original(features, lengths)
        output = recognizer.model(features, lengths)
    assert output.logit_lengths.tolist() == frames.tolist()
    for row, length in enumerate(frames.tolist()):
        ours = output.logits[row, :length].log_softmax(-1)
        torch.testing.assert_close(ours, wanted[row, :length], atol=1e-5, rtol=0)
    return recognizer


@pytest.mark.parametrize("head", ["H1", "H2", "H3"])
@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_output_equals_the_original_for_each_head(head, kind, bidirectional, tmp_path, vocab):
    original = theirs(head=head, kind=kind, bidirectional=bidirectional)
    torch.save({f"module.encoder.{k}": v for k, v in original.state_dict().items()}, tmp_path / "model.pt")
    recognizer = assert_same_numbers(original, tmp_path / "model.pt", vocab)
    recognizer.save(tmp_path / "out")
    again = load_model(tmp_path / "out")
    assert again.blank == CLASSES - 1
    assert again.model.config.head == {"H1": "mlp", "H2": "kospeech_layer_norm", "H3": "layer_norm"}[head]
    for name, tensor in recognizer.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])


def test_the_older_layer_norm_is_not_taken_for_the_standard_one(tmp_path, vocab):
    older = theirs(head="H2")
    renamed = {"fc.0.gamma": "fc.0.weight", "fc.0.beta": "fc.0.bias"}
    torch.save(older.state_dict(), tmp_path / "h2.pt")
    torch.save({renamed.get(key, key): value for key, value in older.state_dict().items()}, tmp_path / "h3.pt")
    features, lengths = torch.randn(1, 60, 80), torch.tensor([60])
    with torch.inference_mode():
        one, other = (
            import_checkpoint(tmp_path / name, vocab).model(features, lengths).logits for name in ("h2.pt", "h3.pt")
        )
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("head", ["H1", "H2", "H3"])
def test_whole_pickled_models_are_read_without_their_package(head, wrapped, zipped, tmp_path, vocab, kospeech_package):
    original = theirs(head=head)
    path = tmp_path / "model.pt"
    kospeech_package(
        lambda: torch.save(
            nn.DataParallel(original) if wrapped else original, path, _use_new_zipfile_serialization=zipped
        )
    )
    assert_same_numbers(original, path, vocab)
    assert "kospeech" not in sys.modules


def test_rnns_in_a_plain_list_are_found(tmp_path, vocab, kospeech_package):
    original = theirs(head="H1")
    layers = list(original.rnn_layers)
    del original.rnn_layers
    original.__dict__["rnn_layers"] = layers  # KoSpeech v1.0 to v1.2: their weights are in no state dict
    kospeech_package(lambda: torch.save(original, tmp_path / "model.pt"))
    assert not any(key.startswith("rnn") for key in original.state_dict())
    assert_same_numbers(original, tmp_path / "model.pt", vocab)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_state_dicts_inside_are_found(key, tmp_path, vocab):
    original = theirs()
    torch.save({"epoch": 3, key: original.state_dict(), "optimizer": {"lr": 0.1}}, tmp_path / "model.pt")
    assert_same_numbers(original, tmp_path / "model.pt", vocab)


class Runs:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("call", "arguments"),
    [(os.mkdir, ("ran",)), (eval, ("__import__('os').mkdir('ran')",)), (exec, ("import os; os.mkdir('ran')",))],
)
def test_code_in_a_checkpoint_is_refused_and_does_not_run(call, arguments, zipped, tmp_path, vocab, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": theirs().state_dict(), "extra": Runs(call, *arguments)}
    torch.save(content, "model.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(AsrLabError, match="it would run"):
        import_checkpoint(tmp_path / "model.pt", vocab)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_cannot_change_torch():
    function = torch._utils._rebuild_tensor_v2
    before = function.__defaults__
    # GLOBAL, then BUILD with (None, {"__defaults__": ("changed",)}): setattr on what was named
    build = b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'__defaults__'\n(S'changed'\ntstb."
    with pytest.raises(AttributeError):
        unpickle._Unpickler(io.BytesIO(build)).load()
    assert function.__defaults__ == before


def test_a_defaultdict_beside_the_weights_does_no_harm(tmp_path, vocab):
    content = {"state_dict": theirs().state_dict(), "counts": collections.defaultdict(int, a=1)}
    torch.save(content, tmp_path / "model.pt")
    assert set(read_weights(tmp_path / "model.pt")) == set(content["state_dict"])


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"PK\x03\x04 cut", b"", b"\x80\x02" + b"(" * 5000])
def test_what_is_no_checkpoint_is_not_said_to_run_code(content, tmp_path):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(AsrLabError, match=r"not a PyTorch checkpoint, or truncated: ."):
        read_weights(tmp_path / "model.pt")
    (tmp_path / "x_adapter.pt").write_bytes(content)
    with pytest.raises(AsrLabError, match=r"not an adapter file, or truncated: ."):
        AdapterManager(tmp_path).get_adapter_info("x")


def test_what_has_no_place_is_refused_with_its_keys(tmp_path, vocab):
    state = theirs().state_dict()
    torch.save({**state, "decoder.attention.weight": torch.ones(2)}, tmp_path / "more.pt")
    with pytest.raises(AsrLabError, match=r"decoder\.attention\.weight"):
        import_checkpoint(tmp_path / "more.pt", vocab)
    lacking = {key: value for key, value in state.items() if key != "rnn_layers.1.rnn.bias_hh_l0"}
    torch.save(lacking, tmp_path / "less.pt")
    with pytest.raises(AsrLabError, match=r"rnn_layers\.1\.forward_rnn\.bias_hh_l0 is missing"):
        import_checkpoint(tmp_path / "less.pt", vocab)


def test_another_architecture_is_refused(tmp_path, vocab):
    torch.save(nn.TransformerEncoderLayer(8, 2).state_dict(), tmp_path / "transformer.pt")
    with pytest.raises(AsrLabError, match="not a DeepSpeech2"):
        import_checkpoint(tmp_path / "transformer.pt", vocab)


def test_a_vocabulary_of_another_length_names_both_lengths(tmp_path, vocab):
    torch.save(theirs().state_dict(), tmp_path / "model.pt")
    shorter = tmp_path / "shorter.csv"
    shorter.write_text("\n".join(vocab.read_text(encoding="utf-8").splitlines()[:-2]) + "\n", encoding="utf-8")
    with pytest.raises(AsrLabError, match=r"12 classes, the vocabulary 10 units"):
        import_checkpoint(tmp_path / "model.pt", shorter)


def test_files_that_hold_no_weights(tmp_path, vocab):
    torch.save({"optimizer": {}, "trainset_list": [1], "validset": 2, "epoch": 3}, tmp_path / "trainer_states.pt")
    with pytest.raises(AsrLabError, match=r"no weights.*optimizer"):
        read_weights(tmp_path / "trainer_states.pt")
    torch.save(theirs().state_dict(), tmp_path / "model.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:3000])
    with pytest.raises(AsrLabError, match="truncated"):
        read_weights(tmp_path / "cut.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(AsrLabError):
        read_weights(tmp_path / "text.pt")


def test_special_units_are_never_written_and_unknown_characters_are_left_out(tmp_path, vocab):
    torch.save(theirs().state_dict(), tmp_path / "model.pt")
    recognizer = import_checkpoint(tmp_path / "model.pt", vocab)
    units = recognizer.units
    assert recognizer.encode_text("그 힣이.") == [5, 3, 6, 4]  # 힣 is not in the vocabulary, `.` is
    logits = torch.full((1, 6, CLASSES), -9.0)
    for frame, unit in enumerate(["<sos>", "그", "|", "이", "<eos>", "<blank>"]):
        logits[0, frame, units.index(unit)] = 9.0
    assert recognizer.decode(logits, torch.tensor([6])) == ["그 이"]


def test_vocabulary_files(tmp_path, vocab):
    assert read_vocabulary(vocab)["<blank>"] == 11
    korean = tmp_path / "cp949.csv"
    korean.write_bytes("id,char,freq\n0,<pad>,0\n1,가,3\n".encode("cp949"))
    assert read_vocabulary(korean) == {"<pad>": 0, "가": 1, "<blank>": 2}
    for content, message in [("a,b\n1,2\n", "not a vocabulary"), ("id,char\n1,가\n", "not 0, 1, 2")]:
        wrong = tmp_path / "wrong.csv"
        wrong.write_text(content, encoding="utf-8")
        with pytest.raises(AsrLabError, match=message):
            read_vocabulary(wrong)


def test_a_vocabulary_of_jamo_makes_a_recogniser_of_jamo(tmp_path):
    units = ["<pad>", "<sos>", "<eos>", "|", *"\u1100\u1102\u1103\u1161\u1173\u11ab\u11af"]
    rows = [f"{index},{unit},1" for index, unit in enumerate(units)]
    (tmp_path / "grapheme.csv").write_text("id,grpm,freq\n" + "\n".join(rows) + "\n", encoding="utf-8")
    torch.save(theirs().state_dict(), tmp_path / "model.pt")
    recognizer = import_checkpoint(tmp_path / "model.pt", tmp_path / "grapheme.csv")
    assert recognizer.normalizer.units == "jamo"
    classes = recognizer.encode_text("그는 간다")
    assert classes == [4, 8, 5, 8, 9, 3, 4, 7, 9, 6, 7]
    assert "".join(recognizer.units[index] for index in classes)[:2] == "\u1100\u1173"
