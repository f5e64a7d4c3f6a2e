"""The wav2vec2 family by its commands: a tiny base is trained and registered once, and all else starts from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import WORDS, artifacts, make_corpus, newest, ok, refused
from conftest import run as typed
from empty_store import empty_store
from encoders import base_folder
from forked_engine import by_forks  # noqa: F401 - a fixture
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCTC

from asr_lab.data.audio import read_file
from asr_lab.recipes.comparison import train as recipe
from asr_lab.recipes.recognition.train import train
from asr_lab.tracking import load_model

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


def plain(said: str) -> str:
    """What was said in one line."""
    return " ".join(said.split())


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
    served = mlflow.pyfunc.load_model("models:/tiny-lora@champion")
    (text,) = served.predict(pd.DataFrame({"audio": [audio]}))["text"]
    assert text == ok("transcribe", "test/audio/v00.wav", "--model", "models:/tiny-lora@champion").strip()
    for name in ("tiny-lora", "models:/tiny-lora/1"):  # beside others on the base
        row = json.loads(ok("transcribe", "test/audio/v00.wav", "--model", TINY, "--adapter", name, "--json"))
        assert (row["text"], row["adapter"]) == (text, "models:/tiny-lora/1")
        shared = mlflow.pyfunc.load_model(TINY).predict(pd.DataFrame({"audio": [audio]}), params={"adapter": name})
        assert (shared["text"][0], shared["adapter"][0]) == (text, "models:/tiny-lora/1")
    assert "no adapter 'nobody'" in refused("transcribe", "test/audio/v00.wav", "--model", TINY, "--adapter", "nobody")
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
    run = tune(*LORA, "--merged", "run.register_as=whole", "train.epochs=1")
    assert run.data.params["model.merged"] == "True"
    folder = Path(mlflow.artifacts.download_artifacts("models:/whole/1")) / "artifacts" / "model"
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()
    ok("evaluate", "--model", str(folder), "--data", "test/all.jsonl.gz")
    assert newest("evaluate", "evaluate").data.metrics["test/wer"] == wer(run)


def test_merging_is_for_adapters(home):
    (home / "other.yaml").write_text("recipe: deepspeech2\n")
    said = refused("train", "other.yaml", *ON[:3], "--merged")
    assert "--merged is for adapters (model.tune=lora); the recipe 'deepspeech2' trains none" in said
    assert "it is for model.tune=lora" in refused("train", "w.yaml", *ON, f"model.pretrained={TINY}", "--merged")
    assert "--merged takes no value" in refused("train", "w.yaml", *ON, "--merged", "true")


def test_adapters_that_are_trained_are_registered_as_one_plain_model(home):
    base = base_folder(home / "theirs")
    run = tune("model.tune=lora", "model.freeze_layers=2", f"model.pretrained={base}", "train.epochs=1")
    id = run.info.run_id
    for _ in range(2):  # asked twice it is made once
        said = ok("register", id[:8], "--name", "merged-later", "--merged")
        assert f"{run.info.run_name} is models:/merged-later/1" in said
        assert "warning" not in said
    adapted = load_model(f"runs:/{id}/model")
    assert adapted.added_params > 0  # the run's own model stays what it was
    folder = Path(mlflow.artifacts.download_artifacts("models:/merged-later/1")) / "artifacts" / "model"
    base.rename(home / "theirs-away")
    heard = pd.DataFrame({"audio": [(home / "test/audio/v00.wav").read_bytes()]})
    assert len(mlflow.pyfunc.load_model("models:/merged-later/1").predict(heard)) == 1
    values = adapted.extract(read_file(home / "test/audio/v00.wav"))
    logits, _ = adapted.logits(adapted.collator().pad([values]))
    with torch.inference_mode():
        plain = AutoModelForCTC.from_pretrained(folder)(values[None]).logits
    torch.testing.assert_close(plain, logits.cpu(), atol=1e-5, rtol=1e-4)
    assert "models:/merged-later/2" in ok("register", id[:8], "--name", "merged-later")
    (home / "theirs-away").rename(base)
    assert ok("register", id[:8], "--name", "merged-later", "--merged").count("models:/merged-later/1") == 1


def test_of_a_plain_model_nothing_is_merged():
    said = ok("register", base_run().info.run_id[:8], "--name", "tiny", "--merged")
    assert "models:/tiny/1" in said
    assert "--merged has no effect: the model has no adapters" in said


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


def test_a_registered_model_needs_no_folder_of_this_machine(home):
    base = base_folder(home / "mine")
    kept = tune("model.tune=lora", "model.freeze_layers=2", f"model.pretrained={base}", "train.epochs=1")
    assert f"load only on a machine with {base}" in ok("register", kept.info.run_id[:8], "--name", "adapters-alone")
    said = ok("train", "w.yaml", *ON, f"model.pretrained={base}", "model.tune=lora", "model.freeze_layers=2",
              "train.epochs=1", "run.register_as=alone")  # fmt: skip
    assert "registered as one plain model" in said
    base.rename(home / "mine-away")
    heard = pd.DataFrame({"audio": [(home / "test/audio/v00.wav").read_bytes()]})
    assert len(mlflow.pyfunc.load_model("models:/alone/1").predict(heard)) == 1


def test_dry_run_says_what_would_learn():
    said = ok("train", "w.yaml", *ON, f"model.pretrained={TINY}", *LORA, "--dry-run")
    assert "M trainable" in said
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
    assert "1 utterance too short for the model, left out: u00" in said
    assert "too short to be recognised: u00" in refused("train", "w.yaml", *ON, *SIZES, f"data.test={path}")
    assert "too short to be recognised: u00" in refused("evaluate", "--model", TINY, "--data", path)
    said = refused("transcribe", "short/audio/u00.wav", "short/audio/u01.wav", "--model", TINY)
    assert "too short for this model: 24.4 ms" in said
    assert "1 of 2 files could not be read" in said


def test_a_persons_adapter_is_for_another_kind_of_model():
    said = refused("adapter", "--name", "ann", "--base", TINY, "--data", "corpus/all.jsonl.gz")
    assert "this model is a wav2vec2" in said


def test_a_deepspeech2_is_no_base(home):
    (home / "d.yaml").write_text("recipe: deepspeech2\n")
    ok("train", "d.yaml", *ON[:3], "model.hidden_size=8", "model.conv_channels=4", "train.epochs=1",
       "run.register_as=ds")  # fmt: skip
    said = refused("train", "w.yaml", *ON, "model.pretrained=models:/ds/1")
    assert "the base is a deepspeech2, not one of the wav2vec2 family" in said
    said = refused("train", "d.yaml", *ON[:3], "model.pretrained=models:/tiny/1")
    assert "is a wav2vec2, not a deepspeech2" in said


# the arms of a comparison by one command

ARMS = f"""
recipe: arms
run: {{name: ways, threads: 1}}
data: {{train: corpus/all.jsonl.gz, val: corpus/all.jsonl.gz, test: test/all.jsonl.gz}}
augment: {{strength: 0}}
model: {{pretrained: "{TINY}"}}
train: {{epochs: 1, batch_size: 16}}
arms:
  base: untouched
  broken: {{model.tune: full, train.lr: 1.0}}
  r4: {{model: {{tune: lora, freeze_layers: 1, lora: {{r: 4}}}}}}
compare: {{utterances: 4, rounds: 2}}
"""


@pytest.fixture(scope="module")
def ways(home):
    """The comparison, run once: what it said, its run, and its table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
        Path("ways.yaml").write_text(ARMS)
        said = ok("arms", "ways.yaml")
        run = newest("wav2vec2", "arms")
        table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/compare/table.csv"))
    return said, run, table.set_index("arm")


def test_arms_are_trained_and_held_against_the_first(ways):
    said, run, table = ways
    assert run.info.run_name.startswith("ways-")
    assert list(table.index) == ["base", "broken", "r4"]
    assert table["trainable_params"].tolist()[::2] == [0, 4 * 64 * 2 * 3 + 65 * len(WORDS_UNITS)]
    assert table["added_params"].tolist() == [0, 0, 4 * 64 * 2 * 3]
    assert table.loc["base", "wer"] == wer(base_run())
    assert table.loc["broken", "difference"] == pytest.approx(table.loc["broken", "wer"] - table.loc["base", "wer"])
    assert table.loc["broken", "difference_low"] > 0.3
    assert table.loc["base", "speed_share"] == 1.0
    assert 0.2 < table.loc["r4", "speed_share_low"] <= table.loc["r4", "speed_share"] < 2
    assert table["merged_speed_share"].notna().tolist() == [False, False, True]
    assert table.loc["r4", "size_mb"] < table.loc["base", "size_mb"] / 5
    assert run.data.metrics["test/wer_by_arm/broken"] == table.loc["broken", "wer"]
    assert {"compare/arms.png", "compare/table.csv"} <= artifacts(run.info.run_id, "compare")
    assert {"eval/base.parquet", "eval/r4.parquet"} <= artifacts(run.info.run_id, "eval")
    assert "its interval" in said


def test_what_makes_arms_not_comparable_is_reported_before_and_after(ways):
    """Of other texts no difference is given; what was added counts though it was merged; shared data is named once."""
    raw = ("arms.raw.model.tune=head", "arms.raw.model.head=new", "arms.raw.data.text.lowercase=false")
    merged = (
        "arms.m4.model.tune=lora",
        "arms.m4.model.freeze_layers=1",
        "arms.m4.model.lora.r=4",
        "arms.m4.model.merged=true",
    )
    own = (*raw, *merged, "run.name=unlike", "data.test=corpus/all.jsonl.gz")
    shared, unlike = "train and test 48", "raw gets no difference to base: its text normaliser is nfc-nopunct, that of"
    for said in (plain(ok("arms", "ways.yaml", *own, "--dry-run")), plain(ok("arms", "ways.yaml", *own))):
        assert said.count("the splits share utterances") == said.count(shared) == said.count(unlike) == 1
    run = newest("wav2vec2", "arms")
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/compare/table.csv")
    table = pd.read_csv(path).set_index("arm")
    assert table["p"].isna().tolist() == [True, False, False, True, False]
    assert table["difference"].isna().tolist() == [True, False, False, True, False]
    assert table.loc["m4", "added_params"] == table.loc["r4", "added_params"] == 4 * 64 * 2 * 3
    assert pd.isna(table.loc["m4", "merged_speed_share"])
    assert run.data.metrics["model/added_params_by_arm/m4"] == 4 * 64 * 2 * 3
    note = run.data.tags["mlflow.note.content"]
    assert unlike in note
    assert shared in note


def test_each_arm_is_a_training_under_it(ways):
    _, run, table = ways
    client = mlflow.MlflowClient()
    for name in ("broken", "r4"):
        (own,) = client.search_runs([run.info.experiment_id], f"run_name = '{table.loc[name, 'run']}'")
        assert own.info.run_name == f"ways-{name}-{own.info.run_id[:8]}"
        assert own.data.tags["mlflow.parentRunId"] == run.info.run_id
        assert own.data.tags["asr_lab.base"] == "models:/tiny/1"
        assert own.info.run_id in run.data.tags["asr_lab.compared"]
        assert wer(own) == table.loc[name, "wer"]
    assert "ways-broken" in ok("compare", table.loc["broken", "run"], table.loc["r4", "run"], "--ways")


def test_what_was_trained_before_is_taken_and_what_is_new_is_trained(ways):
    _, _, table = ways
    said = ok("arms", "ways.yaml", "arms.head.model.tune=head", "run.name=more", "--format", "json")
    assert said.count("is already trained: ways-") == 2
    assert "fine-tuning more-head-" in said
    rows = pd.DataFrame(json.loads(said[said.index("[\n") : said.rindex("]") + 1])).set_index("arm")
    assert list(rows.index) == ["base", "broken", "r4", "head"]
    assert rows.loc["broken", "run"] == table.loc["broken", "run"]


@pytest.mark.slow
def test_each_arm_is_trained_by_a_job_and_all_are_measured_by_one(ways, by_forks):  # noqa: F811
    by_forks.kill_first = True
    command = ("arms", "ways.yaml", "run.seed=9", "run.name=jobs", "--engine", "local", "--jobs", 2)
    said = ok(*command)
    assert {"broken: done", "r4: done"} <= set(said.splitlines())
    assert said.count("was lost (SIGKILL), submitted again") == 1
    for name in ("broken", "r4"):
        assert f"method {name} is already trained: jobs-{name}" in said
    assert "its interval" in said
    run = newest("wav2vec2", "arms")
    assert run.info.run_name.startswith("jobs-")
    assert "test/wer_by_arm/r4" in run.data.metrics
    mlflow.MlflowClient().set_terminated(run.info.run_id, "RUNNING")  # as a comparison that was cut off
    before = run.data.tags["asr_lab.compared"].split(",")
    ok(*command, "--new-run")
    again = newest("wav2vec2", "arms")
    assert again.info.run_id != run.info.run_id
    assert not set(before[1:]) & set(again.data.tags["asr_lab.compared"].split(","))


@pytest.mark.slow
def test_killed_the_same_command_goes_on_with_the_arm(home):
    Path("ways.yaml").write_text(ARMS)
    keys = ("arms", "ways.yaml", "run.seed=4", "arms.broken.train.epochs=2", "train.save_every=1")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-u", "-m", "asr_lab", *keys], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    for line in process.stdout:
        if "fine-tuning ways-r4" in line:
            break
    else:
        raise AssertionError("it ended before it could be killed")
    process.kill()
    process.wait()
    parent = newest("wav2vec2", "arms")
    said = ok(*keys)
    assert f"continuing {parent.info.run_name}" in said
    assert "method broken is done" in said
    assert "continuing ways-r4" in said
    assert mlflow.MlflowClient().get_run(parent.info.run_id).info.status == "FINISHED"


def test_an_arm_of_adapters_is_none_that_was_merged(ways):
    """Merging is no part of a run's signature, but an arm of adapters is measured as such."""
    one = ("model.tune=lora", "model.freeze_layers=1", "model.lora.r=2", "augment.strength=0", "train.batch_size=16")
    ok(
        "train",
        "w.yaml",
        *ON[:3],
        "run.threads=1",
        f"model.pretrained={TINY}",
        "train.epochs=1",
        *one,
        "model.merged=true",
    )
    arms = ("arms.r2.model.tune=lora", "arms.r2.model.freeze_layers=1", "arms.r2.model.lora.r=2", "run.name=apart")
    said = ok("arms", "ways.yaml", *arms, "--format", "json")
    assert "fine-tuning apart-r2-" in said
    rows = pd.DataFrame(json.loads(said[said.index("[\n") : said.rindex("]") + 1])).set_index("arm")
    assert rows.loc["r2", "added_params"] == 2 * 64 * 2 * 3
    assert "method r2 is already trained: apart-r2-" in ok(
        "arms", "ways.yaml", *arms, "run.name=again", "compare.rounds=3"
    )


def test_ended_by_hand_the_same_command_goes_on_with_the_arms(home, monkeypatch):
    keys = ("arms", "ways.yaml", "run.seed=5")

    def train_until(config, *rest, **more):
        if config.model.tune == "lora":
            raise KeyboardInterrupt
        return train(config, *rest, **more)

    (home / "ways.yaml").write_text(ARMS)
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "train", train_until)
        assert typed(*keys).exit_code == 130
    parent = newest("wav2vec2", "arms")
    said = ok(*keys)
    assert f"continuing {parent.info.run_name}" in said
    assert "method broken is done" in said
    assert mlflow.MlflowClient().get_run(parent.info.run_id).info.status == "FINISHED"


def test_a_plan_of_arms_tells_their_sizes_and_spends_nothing(ways):
    before = newest("wav2vec2", "arms").info.run_id
    said = ok("arms", "ways.yaml", "arms.head.model.tune=head", "--dry-run")
    assert f"{65 * len(WORDS_UNITS):,}" in said
    assert "nothing was trained" in said
    assert said.count("the splits share utterances") == 1  # what is learned from is validated on
    again = mlflow.artifacts.download_artifacts(f"runs:/{ways[1].info.run_id}/config.yaml")
    assert "r4" in ok("arms", again, "--dry-run")
    assert newest("wav2vec2", "arms").info.run_id == before


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("arms.r4.model.lora.rank=8", "arms.broken.train.lr=0"), "arms.broken: 1 error"),
        (("arms.r4.model.lora.rank=8", "arms.broken.train.lr=0"), "did you mean"),
        (("arms.r4.model.lora.targets=query",), "arms.r4: model.lora.targets"),
        (("arms.r4=full",), "is neither"),
        (("data.test=",), "compared on test data"),
        (("run.register_as=x",), "asr-lab register RUN"),
        (
            ("arms.r4.run.register_as=x", "arms.broken.data.test=corpus/all.jsonl.gz"),
            "arms.broken.data.test, arms.r4.run.register_as: all methods share data.test",
        ),
        (("model.pretrained=facebook/wav2vec2-xls-r-300m",), "arms.base: the untouched base"),
    ],
)
def test_mistakes_in_arms(ways, keys, expected):
    assert expected in refused("arms", "ways.yaml", *keys)


def test_a_training_whose_losses_are_no_numbers_keeps_nothing():
    base = base_folder(Path("broken"))
    weights = load_file(base / "model.safetensors")
    weights["feature_projection.layer_norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    said = refused("train", "w.yaml", *ON, f"model.pretrained={base}", "train.epochs=1", "run.register_as=broken")
    assert "NaN" in said
    assert "a lower train.lr" in said
    run = newest("wav2vec2")
    assert run.info.status == "FAILED"
    assert not mlflow.MlflowClient().search_registered_models("name = 'broken'")
