"""The wav2vec2 family by its commands: a tiny base is trained and registered once, and all else starts from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import soundfile
from conftest import WORDS, artifacts, make_corpus, newest, ok, refused
from empty_store import empty_store
from encoders import base_folder

ON = ("data.train=corpus/all.jsonl.gz", "data.val=corpus/all.jsonl.gz", "data.test=test/all.jsonl.gz",
      "train.batch_size=4", "run.threads=1")  # fmt: skip
SIZES = ("model.hidden_size=64", "model.num_layers=2", "model.conv_channels=32", "model.dropout=0")
TINY = "models:/tiny@champion"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with corpora and a registered tiny base that hears them."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", empty_store(folder / "mlflow.db"))
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        rng = np.random.default_rng(1)
        make_corpus(folder / "corpus", {f"u{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(48)})
        make_corpus(folder / "test", {f"v{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(8)}, seed=9)
        (folder / "w.yaml").write_text("recipe: wav2vec2\n")
        said = ok(
            "train",
            "w.yaml",
            *ON,
            *SIZES,
            "train.epochs=20",
            "train.lr=3e-3",
            "augment.strength=0",
            "run.register_as=tiny",
        )
        (folder / "said.txt").write_text(said)
    return folder


@pytest.fixture(autouse=True)
def _there(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")


def base_run():
    return mlflow.MlflowClient().get_run(mlflow.MlflowClient().get_model_version("tiny", "1").run_id)


def tune(*keys: str):
    """The run of a short training from the tiny base."""
    ok("train", "w.yaml", *ON, f"model.pretrained={TINY}", "train.epochs=2", *keys)
    return newest("wav2vec2")


def wer(run) -> float:
    return run.data.metrics["test/wer"]


LORA = ("model.tune=lora", "model.freeze_layers=1")


def test_a_tiny_base_learns_from_scratch_and_is_registered(home):
    run = base_run()
    assert wer(run) < 0.2
    assert run.data.metrics["model/params"] == run.data.metrics["model/trainable_params"]
    assert run.data.tags["asr_lab.family"] == run.data.tags["asr_lab.model_type"] == "wav2vec2"
    assert "wav2vec2" in (home / "said.txt").read_text()
    assert {"eval/test.html", "eval/test.parquet"} <= artifacts(run.info.run_id, "eval")


def test_evaluate_and_transcribe_take_it():
    assert "test/wer" in ok("evaluate", "--model", TINY, "--data", "test/all.jsonl.gz")
    assert newest("evaluate", "evaluate").data.tags["asr_lab.model_type"] == "wav2vec2"
    assert newest("evaluate", "evaluate").data.metrics["test/wer"] == wer(base_run())
    assert ok("transcribe", "test/audio/v00.wav", "test/audio/v01.wav", "--model", TINY).count("v0") == 2


def test_lora_starts_from_the_base_and_serves_with_it(home):
    run = tune(*LORA, "run.register_as=tiny-lora")
    assert run.data.tags["asr_lab.base"] == "models:/tiny/1"
    assert wer(run) <= wer(base_run()) + 0.1  # the base's head and vocabulary go on learning
    metrics, expected = run.data.metrics, 16 * 64 * 2 * 3 + 64 * len(WORDS_UNITS) + len(WORDS_UNITS)
    assert metrics["model/trainable_params"] == expected
    assert metrics["model/size_mb"] < base_run().data.metrics["model/size_mb"] / 5
    audio = (home / "test/audio/v00.wav").read_bytes()
    import pandas as pd

    served = mlflow.pyfunc.load_model("models:/tiny-lora@champion")
    (text,) = served.predict(pd.DataFrame({"audio": [audio]}))["text"]
    assert text == ok("transcribe", "test/audio/v00.wav", "--model", "models:/tiny-lora@champion").strip()
    ok("evaluate", "--model", "models:/tiny-lora@champion", "--data", "test/all.jsonl.gz")
    assert newest("evaluate", "evaluate").data.metrics["test/wer"] == wer(run)


WORDS_UNITS = ["<pad>", "<unk>", "|", *sorted(set("".join(WORDS)))]


@pytest.mark.parametrize(
    ("keys", "share"),
    [
        (("model.tune=head",), (0.0, 0.02)),
        (("model.tune=upper", "model.freeze_layers=1"), (0.2, 0.6)),
        (("model.tune=full",), (0.7, 0.99)),
        ((*LORA, "model.lora.method=dora", "model.lora.r=4", "model.lora.alpha=8"), (0.005, 0.1)),
    ],
)
def test_the_arms_of_a_comparison_learn_what_they_say(keys, share):
    run = tune(*keys, "train.epochs=1", "train.gradient_checkpointing=true")
    assert share[0] < run.data.metrics["model/trainable_share"] < share[1]
    assert wer(run) < 0.5


def test_adapters_go_on_learning_or_become_part_of_the_weights(home):
    first = tune(*LORA, "train.epochs=1", "run.register_as=phase1")
    second = tune(*LORA, "train.epochs=1", "model.pretrained=models:/phase1/1")
    assert second.data.tags["asr_lab.base"] == "models:/phase1/1"
    assert second.data.metrics["model/trainable_params"] == first.data.metrics["model/trainable_params"]
    folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{second.info.run_id}/final"))
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "models:/tiny/1"
    said = refused("train", "w.yaml", *ON, *LORA, "model.pretrained=models:/phase1/1", "model.lora.r=32")
    assert "model.lora=" in said
    third = tune("model.tune=full", "model.pretrained=models:/phase1/1", "train.epochs=1", "train.lr=1e-5")
    assert third.data.metrics["model/params"] == base_run().data.metrics["model/params"]
    assert abs(wer(third) - wer(first)) < 0.2  # it starts from what the adapters have learned


def test_a_merged_model_needs_no_base(home):
    run = tune(*LORA, "model.merged=true", "run.register_as=whole", "train.epochs=1")
    folder = Path(mlflow.artifacts.download_artifacts("models:/whole/1")) / "artifacts" / "model"
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()
    ok("evaluate", "--model", str(folder), "--data", "test/all.jsonl.gz")
    assert newest("evaluate", "evaluate").data.metrics["test/wer"] == wer(run)


@pytest.mark.parametrize(("kind", "norm", "tune_"), [("wav2vec2", "group", "upper"), ("hubert", "layer", "lora"),
                                                     ("wavlm", "layer", "head")])  # fmt: skip
def test_bases_of_others_get_a_new_head_and_vocabulary(home, kind, norm, tune_):
    base = base_folder(home / f"{kind}-{norm}", kind, norm)
    below = ("model.freeze_layers=2",) if tune_ != "head" else ()
    said = ok("train", "w.yaml", *ON, f"model.pretrained={base}", f"model.tune={tune_}", *below, "train.epochs=1")
    assert "fine-tuning" in said
    run = newest("wav2vec2")
    assert run.data.params["model.num_layers"] == "4"  # what the base has
    assert json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/vocab.json")).keys() == set(WORDS_UNITS)
    ok("evaluate", "--model", f"runs:/{run.info.run_id}/model", "--data", "test/all.jsonl.gz")


def test_dry_run_says_what_would_learn():
    said = ok("train", "w.yaml", *ON, f"model.pretrained={TINY}", *LORA, "--dry-run")
    assert "of them learn" in said
    assert "fine-tuned from models:/tiny/1" in said


def test_reproduce_makes_the_same_figures_again():
    run = tune(*LORA, "train.epochs=1", "run.seed=5")
    assert "reproduced, identical" in ok("reproduce", run.info.run_id[:8])


# what is refused, in one message each


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("model.pretrained=nobody/has-this",), "model.pretrained=FOLDER"),
        (("model.pretrained=./nothing",), "not a model"),
        (("model.tune=lora",), "model.tune is for a pretrained base"),
        ((f"model.pretrained={TINY}", "model.freeze_layers=4"), "model.freeze_layers has no effect with tune=full"),
        ((f"model.pretrained={TINY}", "model.merged=true"), "it is for model.tune=lora"),
        ((f"model.pretrained={TINY}", "model.tune=lora"), "leaves none of the base's 2 layers"),
        ((f"model.pretrained={TINY}", *LORA, "model.lora.targets=query"), "no linear layer query"),
        ((f"model.pretrained={TINY}", "model.hidden_size=128"), "it has hidden_size=64"),
        ((f"model.pretrained={TINY}", "data.text.lowercase=false"), "it has lowercase=True"),
        (("model.hidden_size=65",), "no multiple of num_heads=4"),
        (("augment.freq_masks=2",), "augment.freq_masks: no such key"),
    ],
)
def test_mistakes_in_the_configuration(monkeypatch, keys, expected):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert expected in refused("train", "w.yaml", *ON, *keys)


def test_clips_that_are_too_short(home):
    shutil.copytree(home / "corpus", home / "short", dirs_exist_ok=True)
    path = make_corpus(home / "short", {f"u{i:02d}": "cab dad" for i in range(6)})
    from asr_lab.data import manifest

    cuts = list(manifest.read(path))
    soundfile.write(cuts[0].recording.sources[0].source, np.zeros(390, np.float32), 16000, subtype="PCM_16")
    cuts[0] = manifest.utterance(id="u00", audio=Path(cuts[0].recording.sources[0].source), text="cab",
                                 speaker="ann", language="en")  # fmt: skip
    manifest.write(cuts, path)
    said = ok("train", "w.yaml", *ON, *SIZES, f"data.train={path}", "--dry-run")
    assert "1 utterances too short for the model, left out: u00" in said
    assert "too short to be recognised: u00" in refused("train", "w.yaml", *ON, *SIZES, f"data.test={path}")
    assert "too short to be recognised: u00" in refused("evaluate", "--model", TINY, "--data", path)
    said = refused("transcribe", "short/audio/u00.wav", "short/audio/u01.wav", "--model", TINY)
    assert "too short for this model: 24.4 ms" in said
    assert "1 of 2 files could not be read" in said


def test_a_persons_adapter_is_for_another_kind_of_model():
    said = refused("adapter", "--name", "ann", "--base", TINY, "--data", "corpus/all.jsonl.gz")
    assert "a person's adapter is for a deepspeech2, this model is a wav2vec2" in said


def test_a_deepspeech2_is_no_base(home):
    (home / "d.yaml").write_text("recipe: deepspeech2\n")
    ok("train", "d.yaml", *ON[:3], "model.hidden_size=8", "model.conv_channels=4", "train.epochs=1",
       "run.register_as=ds")  # fmt: skip
    said = refused("train", "w.yaml", *ON, "model.pretrained=models:/ds/1")
    assert "the base is a deepspeech2, not one of the wav2vec2 family" in said
    said = refused("train", "d.yaml", *ON[:3], "model.pretrained=models:/tiny/1")
    assert "is a wav2vec2, not a deepspeech2" in said
