"""The plan of a training: fine-tuning, and what is refused or reported before anything is spent."""

import pytest
import torch
from conftest import make_corpus
from small_experiments import learning, shortest

from asr_lab.config.load import load, parse_overrides
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore, MemoryTracker
from asr_lab.models.deepspeech2_recognizer import load_recognizer
from asr_lab.recipes.recognition import train as recipe
from asr_lab.recipes.recognition.plan import plan
from asr_lab.system.terminal import Console


def test_unknown_characters_and_long_labels_are_reported(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    val = make_corpus(tmp_path / "val", {"v1": "dad zebra", "v2": "cab"})
    planned = plan(learning(corpus, f"data.val={val}"), FolderStore())
    assert any("'z' x 1" in line and "'r' x 1" in line for line in planned.warnings)


QUIET = Console(quiet=True)


@pytest.fixture
def trained(corpus, tmp_path):
    """The folder of a tiny model."""
    tracker = MemoryTracker(tmp_path / "base")
    recipe.train(shortest(corpus), tracker, QUIET)
    return tmp_path / "base" / "memory0" / "model"


def fine_tuning(corpus, folder, *more: str):
    settings = [f"data.train={corpus}", f"data.val={corpus}", "data.test=", f"model.pretrained={folder}", *more]
    return load(None, parse_overrides(settings), "deepspeech2")


def test_fine_tuning_starts_from_the_weights_and_takes_over_the_sizes(corpus, trained):
    planned = plan(fine_tuning(corpus, trained), FolderStore())
    before = load_recognizer(trained)
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(planned.recognizer.model.state_dict()[name], tensor)
    assert planned.config.model.hidden_size == 16
    assert planned.config.model.conv_channels == 4
    assert planned.base_uri == str(trained.resolve())
    assert planned.recognizer.vocabulary == before.vocabulary
    assert all(parameter.requires_grad for parameter in planned.recognizer.model.parameters())


def test_sizes_that_contradict_the_pretrained_model_are_one_message(corpus, trained):
    with pytest.raises(AsrLabError, match=r"model.hidden_size=32 \(it has hidden_size=16\)"):
        plan(fine_tuning(corpus, trained, "model.hidden_size=32"), FolderStore())
    with pytest.raises(AsrLabError, match=r"data.text.lowercase=False"):
        plan(fine_tuning(corpus, trained, "data.text.lowercase=false"), FolderStore())
    plan(fine_tuning(corpus, trained, "model.hidden_size=16"), FolderStore())  # what it has may be said


@pytest.mark.slow
def test_new_characters_are_reported_and_get_classes_where_asked(corpus, trained, tmp_path):
    other = make_corpus(tmp_path / "other", {f"o{i}": "cab jig" for i in range(8)})
    planned = plan(fine_tuning(other, trained), FolderStore())
    assert any("'j' x 8" in line and "'i' x 8" in line for line in planned.warnings)
    planned = plan(fine_tuning(other, trained, "model.extend_vocabulary=true"), FolderStore())
    old, new = load_recognizer(trained), planned.recognizer
    assert planned.warnings == planned.leakage.warnings()  # nothing of characters
    assert new.units == [*old.units, "i", "j"]
    assert torch.equal(new.model.head[1].weight[: len(old.units)], old.model.head[1].weight)
    tracker = MemoryTracker(tmp_path / "extended")
    recipe.train(fine_tuning(other, trained, "model.extend_vocabulary=true", "train.epochs=1"), tracker, QUIET)
    again = load_recognizer(tmp_path / "extended" / "memory0" / "model")
    assert again.vocabulary["j"] == len(old.units) + 1
    assert tracker.runs[0].all_tags["asr_lab.base"] == str(trained.resolve())


def test_extending_from_scratch_has_no_effect_and_is_refused(corpus):
    with pytest.raises(AsrLabError, match="no effect from scratch"):
        plan(shortest(corpus, "model.extend_vocabulary=true"), FolderStore())


def test_a_pretrained_model_that_is_none(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AsrLabError, match="not a model folder"):
        plan(fine_tuning(corpus, tmp_path / "empty"), FolderStore())
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(AsrLabError, match="unknown model type 'whisper'"):
        plan(fine_tuning(corpus, tmp_path / "empty"), FolderStore())
    with pytest.raises(AsrLabError, match="no such model"):
        plan(fine_tuning(corpus, tmp_path / "nowhere"), FolderStore())
