"""The adapter: its network, its file, and what is refused."""

import os
import pickle
from dataclasses import replace

import psutil
import pytest
import torch
from full_disks import full_disk

from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import AdapterManager, Base, MLPAdapter, check_name, weights_digest
from asr_lab.models.adapter.network import Distillation

BASE = Base(digest="d" * 32, vocabulary_digest="v" * 32, input_dim=12, output_dim=5, uri="models:/deepspeech2/1")


def adapter(*hidden: int) -> MLPAdapter:
    torch.manual_seed(0)
    return MLPAdapter(12, hidden or (8, 6), 5)


@pytest.mark.parametrize("hidden", [(256,), (512, 256), (512, 256, 128)])
def test_the_network_of_the_spec(hidden):
    network = MLPAdapter(1024, hidden, 2000)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Linear", "ReLU", "Dropout"] * len(hidden) + ["Linear", "LogSoftmax"]
    logits = network(torch.randn(2, 3, 1024)).logits
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, 3))


def test_size_of_the_spec():
    assert sum(p.numel() for p in MLPAdapter(1024, (512, 256), 2000).parameters()) == 1_170_128


def test_the_file_of_the_spec(tmp_path):
    path = AdapterManager(tmp_path).save_adapter("john", adapter(), BASE)
    assert path == tmp_path / "john_adapter.pt"
    content = torch.load(path, weights_only=True)
    assert set(content["adapter_state_dict"]) == {f"{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")}
    assert content["input_dim"] == 12
    assert content["hidden_dims"] == [8, 6]
    assert content["output_dim"] == 5
    assert content["adapter_name"] == "john"


def test_saved_and_loaded_gives_the_same_numbers(tmp_path):
    manager, network = AdapterManager(tmp_path), adapter().eval()
    manager.save_adapter("john", network, BASE)
    again = manager.load_adapter("john", BASE, blank=0)
    frames = torch.randn(1, 4, 12)
    assert torch.equal(network(frames).logits, again(frames).logits)


def test_info_is_what_the_file_says(tmp_path):
    manager = AdapterManager(tmp_path)
    manager.save_adapter("김철수", adapter(), BASE, created="2026-11-21")
    info = manager.get_adapter_info("김철수")
    assert (info.adapter_name, info.input_dim, info.hidden_dims, info.output_dim) == ("김철수", 12, (8, 6), 5)
    assert info.base == "models:/deepspeech2/1"
    assert info.num_params == sum(p.numel() for p in adapter().parameters())


@pytest.mark.parametrize(
    "name", ["../../x", "a/b", "", "a b", "-x", "--yes", "x.pt", "..", "a" * 65, "/etc/passwd", "a\n"]
)
def test_a_name_is_never_a_path(name, tmp_path):
    with pytest.raises(AsrLabError, match="not an adapter name"):
        check_name(name)
    with pytest.raises(AsrLabError):
        AdapterManager(tmp_path / "adapters").save_adapter(name, adapter(), BASE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["john", "Jane_2", "a-b", "김철수"])
def test_names_that_are_allowed(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "e" * 32}, "another base"),
        ({"vocabulary_digest": "w" * 32}, "another vocabulary"),
        ({"input_dim": 13}, "12 inputs"),
        ({"output_dim": 6}, "5 classes"),
        ({"normalization": "speech"}, "normalises features by 'utterance', this one by 'speech'"),
    ],
)
def test_another_base_is_refused(tmp_path, change, message):
    manager = AdapterManager(tmp_path)
    manager.save_adapter("john", adapter(), replace(BASE, normalization="utterance"))
    with pytest.raises(AsrLabError, match=message):
        manager.load_adapter("john", replace(BASE, **({"normalization": "utterance"} | change)), blank=0)


def test_a_file_of_the_older_system_loads_with_a_warning(tmp_path):
    network = adapter()
    older = {
        "adapter_state_dict": network.layers.state_dict(),
        "input_dim": 12,
        "hidden_dims": [8, 6],
        "output_dim": 5,
        "adapter_name": "old",
    }
    torch.save(older, tmp_path / "old_adapter.pt")
    with pytest.warns(UserWarning, match="not checked"):
        again = AdapterManager(tmp_path).load_adapter("old", BASE, blank=0)
    assert torch.equal(again.layers[0].weight, network.layers[0].weight)


class _Payload:
    def __reduce__(self):
        return os.mkdir, ("ran-foreign-code",)


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"adapter_state_dict": _Payload()}, "evil_adapter.pt")
    with pytest.raises(AsrLabError, match="would run code"):
        AdapterManager(".").get_adapter_info("evil")
    assert not (tmp_path / "ran-foreign-code").exists()
    (tmp_path / "plain_adapter.pt").write_bytes(pickle.dumps(_Payload()))
    with pytest.raises(AsrLabError) as refused:
        AdapterManager(".").get_adapter_info("plain")
    assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "ran-foreign-code").exists()


def test_a_cut_off_file_is_refused(tmp_path):
    manager = AdapterManager(tmp_path)
    path = manager.save_adapter("john", adapter(), BASE)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AsrLabError, match="truncated"):
        manager.get_adapter_info("john")


def test_a_missing_adapter_lists_those_there_are(tmp_path):
    manager = AdapterManager(tmp_path)
    manager.save_adapter("john", adapter(), BASE)
    with pytest.raises(AsrLabError, match=r"no adapter 'jane'[\s\S]*john"):
        manager.get_adapter_info("jane")


def test_a_slip_is_no_new_person(tmp_path):
    manager = AdapterManager(tmp_path)
    for name in ("john", "mina-2"):
        manager.save_adapter(name, adapter(), BASE)
    for slip, meant in (("jahn", "john"), ("jhon", "john"), ("mina2", "mina-2")):
        with pytest.raises(AsrLabError, match=f"did you mean '{meant}'") as refused:
            manager.find(slip)
        assert not refused.value.next_command
    with pytest.raises(AsrLabError) as refused:
        manager.find("jane")
    assert "did you mean" not in refused.value.what
    assert "name=jane" in refused.value.next_command
    with pytest.raises(AsrLabError) as refused:
        manager.find("voices/weights.pt")  # a file, not a person to be trained
    assert not refused.value.next_command


def residual() -> MLPAdapter:
    torch.manual_seed(0)
    return MLPAdapter(12, (8, 6), 5, residual=True)


def test_a_residual_adapter_starts_as_its_base_exactly():
    frames, base_logits = torch.randn(2, 3, 12), torch.randn(2, 3, 5)
    assert torch.equal(residual().eval()(frames, base_logits).logits, base_logits.log_softmax(-1))


def test_a_residual_adapter_learns(tmp_path):
    network, frames, logits = residual(), torch.randn(9, 12), torch.randn(9, 5)
    lengths, labels = torch.tensor([5, 4]), torch.tensor([[1, 2], [3, -100]])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        loss = network(frames, logits, lengths, labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0]
    manager = AdapterManager(tmp_path)
    manager.save_adapter("john", network, BASE)
    again = manager.load_adapter("john", BASE, blank=0)
    assert torch.equal(again(frames, logits).logits, network.eval()(frames, logits).logits)


def test_a_residual_file_fails_in_an_older_reader(tmp_path):
    path = AdapterManager(tmp_path).save_adapter("john", residual(), BASE)
    content = torch.load(path, weights_only=True)
    assert "residual_state_dict" in content
    assert "adapter_state_dict" not in content  # an older reader stops at this key instead of printing garbage
    assert AdapterManager(tmp_path).get_adapter_info("john").form == "residual"


def test_imitating_the_base_brings_a_plain_adapter_near_it():
    torch.manual_seed(0)
    head, frames = torch.nn.Linear(12, 5), torch.randn(400, 12)
    network = MLPAdapter(12, (64,), 5, dropout=0.0)
    imitation, wanted = Distillation(network), head(frames).detach() * 4
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    first = float(imitation(frames=frames, base_logits=wanted).loss)
    for _ in range(200):
        optimizer.zero_grad()
        loss = imitation(frames=frames, base_logits=wanted).loss
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.05 * first
    agree = (network.eval()(frames).logits.argmax(-1) == wanted.argmax(-1)).float().mean()
    assert agree > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("input_dim"), "input_dim missing"),
        (lambda c: c.pop("adapter_state_dict"), "neither adapter_state_dict"),
        (lambda c: c["adapter_state_dict"].pop("3.bias"), "3.bias is missing"),
        (lambda c: c["adapter_state_dict"].update({"9.bias": torch.ones(2)}), "9.bias is unknown"),
        (lambda c: c.update(hidden_dims=[8, 7]), r"3.weight has the shape \(6, 8\) instead of \(7, 8\)"),
        (lambda c: c.update(hidden_dims=["wide"]), "sizes are not numbers"),
        (lambda c: c.update(hidden_dims=[0]), "hidden_dims"),
        (lambda c: c["adapter_state_dict"].update({"0.bias": "x"}), "is not a tensor"),
    ],
)
def test_a_file_that_is_wrong_is_one_message(tmp_path, change, message):
    manager = AdapterManager(tmp_path)
    path = manager.save_adapter("john", adapter(), BASE)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(AsrLabError, match=message):
        manager.load_adapter("john", BASE, blank=0)


def test_a_full_disk_leaves_the_former_file(tmp_path):
    manager = AdapterManager(tmp_path)
    before = manager.save_adapter("john", adapter(), BASE).read_bytes()
    larger = MLPAdapter(12, (900, 900), 5)
    with full_disk(200_000), pytest.raises(AsrLabError, match="cannot be written"):
        manager.save_adapter("john", larger, BASE)
    assert manager.path("john").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["john_adapter.pt"]


def test_a_file_of_before_torch_1_6_is_read(tmp_path):
    manager, network = AdapterManager(tmp_path), adapter()
    content = torch.load(manager.save_adapter("john", network, BASE), weights_only=True)
    torch.save(content, tmp_path / "john_adapter.pt", _use_new_zipfile_serialization=False)
    assert manager.get_adapter_info("john").hidden_dims == (8, 6)


def test_info_does_not_read_the_weights(tmp_path):
    """A file of 200 MB is told about in a process whose memory hardly grows."""
    path = AdapterManager(tmp_path).save_adapter("big", MLPAdapter(4000, (12_000,), 100), BASE)
    assert path.stat().st_size > 190e6
    before = psutil.Process().memory_info().rss
    AdapterManager(tmp_path).get_adapter_info("big")
    assert psutil.Process().memory_info().rss - before < 50e6


def test_freeze_and_unfreeze():
    network = adapter()
    network.freeze()
    assert not any(p.requires_grad for p in network.parameters())
    network.unfreeze()
    assert all(p.requires_grad for p in network.parameters())


def test_the_digest_tells_any_change():
    network = adapter()
    before = weights_digest(network)
    assert before == weights_digest(adapter())
    network.layers[0].bias.data[0] += 1e-7
    assert weights_digest(network) != before
