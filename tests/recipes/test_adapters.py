"""Adapters as people handle them: both forms, everyone of a manifest, lists, export, import, the registry."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import WORDS, artifacts, make_corpus, newest, ok, refused
from forked_engine import by_forks  # noqa: F401 - a fixture

from asr_lab.data import manifest
from asr_lab.models.adapter import AdapterManager

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture(scope="module")
def class_of_three(home):
    """Three people with eight utterances each, in one manifest."""
    rows, rng = [], np.random.default_rng(7)
    for number, name in enumerate(("amy", "bob", "cem")):
        texts = {f"{name}-{i}": " ".join(rng.choice(WORDS, 2)) for i in range(8)}
        rows += list(manifest.read(make_corpus(home / "class" / name, texts, speaker=name, seed=number)))
    manifest.write(rows, home / "class" / "all.jsonl.gz")
    return "class/all.jsonl.gz"


def test_each_speaker_of_a_manifest_gets_an_adapter_and_the_figures_are_pooled(class_of_three):
    said = ok(
        "adapter", "--each", "speaker", "--data", class_of_three, "data.cross_fit=2", "data.sizes=2", "train.epochs=2"
    )
    assert "3 speakers, pooled" in said
    assert "95 % interval" in said
    parent = newest("adapter", "group")
    metrics = parent.data.metrics
    assert metrics["test/utterances"] == 24
    assert {"eval/people.parquet", "eval/growth.parquet", "eval/growth.png"} <= artifacts(parent.info.run_id, "eval")
    client = mlflow.MlflowClient()
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {child.data.tags["asr_lab.speaker"] for child in children} == {"amy", "bob", "cem"}
    assert all(child.info.status == "FINISHED" for child in children)
    growth = growth_of(parent)
    assert list(growth["learned_from"]) == [2, 4]
    assert growth["wer"].iloc[-1] == pytest.approx(metrics["test/wer"])
    local = mlflow.artifacts.download_artifacts(run_id=parent.info.run_id, artifact_path="eval/test.parquet")
    table = pd.read_parquet(local)
    errors = table[["substitutions", "deletions", "insertions"]].sum().sum()
    assert errors / table["words"].sum() == pytest.approx(metrics["test/wer"])
    for name in ("amy", "bob", "cem"):
        assert client.get_model_version_by_alias(f"deepspeech2-adapter-{name}", "champion")


def test_each_speaker_is_tested_on_their_own_utterances(class_of_three, home):
    cuts = list(manifest.read(home / class_of_three))
    number = {cut.id: int(cut.id.split("-")[1]) for cut in cuts}
    manifest.write([cut for cut in cuts if number[cut.id] < 5], home / "class" / "learn.jsonl.gz")
    manifest.write([cut for cut in cuts if number[cut.id] >= 5], home / "class" / "test.jsonl.gz")
    data = ["--each", "speaker", "--data", "class/learn.jsonl.gz", "data.test=class/test.jsonl.gz"]
    ok("adapter", *data, "train.epochs=1", "data.sizes=2")
    parent = newest("adapter", "group")
    assert parent.data.metrics["test/utterances"] == 9
    assert list(growth_of(parent)["learned_from"]) == [2, 5]
    assert "bob" not in pd.read_parquet(scores_of("amy"))["speaker"].unique()
    assert "data.sizes=5: amy has 5" in refused("adapter", *data, "data.sizes=5")
    only_amy = [cut for cut in cuts if cut.id.startswith("amy") and number[cut.id] >= 5]
    manifest.write(only_amy, home / "class" / "amy.jsonl.gz")
    said = refused("adapter", "--each", "speaker", "--data", "class/learn.jsonl.gz", "data.test=class/amy.jsonl.gz")
    assert "bob, cem" in said


def growth_of(group) -> pd.DataFrame:
    file = mlflow.artifacts.download_artifacts(run_id=group.info.run_id, artifact_path="eval/growth.parquet")
    return pd.read_parquet(file)


def scores_of(speaker: str) -> str:
    return mlflow.artifacts.download_artifacts(run_id=newest_of(speaker).info.run_id, artifact_path="eval/test.parquet")


def test_recordings_that_are_there_twice_are_not_parted_by_chance(home):
    cuts = list(manifest.read(home / "john" / "all.jsonl.gz"))
    for number, cut in enumerate(cuts):
        manifest.supervision(cut).custom |= {"copy": number % 2, "block": str(number // 2 % 4)}
    manifest.write(cuts, home / "john" / "copies.jsonl.gz")
    data = ["adapter", "--name", "john", "--data", "john/copies.jsonl.gz", "--dry-run"]
    for chance in ("data.test_share=0.3", "data.cross_fit=4"):
        assert "hold the same recordings" in refused(*data, chance)
    assert "in 4 folds" in ok(*data, "data.cross_fit=block")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["data.sizes=2,4"], "data.sizes needs data.each"),
        (["adapter.form=plain", "adapter.strength=0.5"], "a plain adapter has no scale"),
        (["train.imitate_epochs=9"], "is for adapter.form=plain"),
        (["--each", "speaker"], "either --each or --name"),
        (["train.patience=3"], "no such key"),
    ],
)
def test_keys_without_effect_are_refused(keys, said):
    assert said in refused("adapter", "--name", "john", "--data", "john/all.jsonl.gz", *keys)


def test_each_speaker_needs_data():
    assert "--each needs --data" in refused("adapter", "--each", "speaker")
    named = ["--each", "speaker", "--data", "john/all.jsonl.gz", "run.register_as=them"]
    assert "run.register_as is one name" in refused("adapter", *named)
    assert "no field 'dialect'" in refused("adapter", "--each", "dialect", "--data", "john/all.jsonl.gz")


@pytest.mark.parametrize("form", ["plain", "residual"])
def test_both_forms_can_be_trained_and_used(home, form):
    said = ok("adapter", "--name", f"mia-{form}", "--data", "john/all.jsonl.gz", f"adapter.form={form}")
    assert "held-out utterances" in said
    content = torch.load(home / "adapters" / f"mia-{form}_adapter.pt", weights_only=True)
    assert ("adapter_state_dict" in content) == (form == "plain")
    assert ("residual_state_dict" in content) == (form == "residual")
    found = newest("adapter")
    assert ("train/imitation_loss" in found.data.metrics) == (form == "plain")
    assert ok("transcribe", home / "john/audio/j00.wav", "--adapter", f"mia-{form}").strip()


def test_frames_on_disk_give_the_same_adapter(home):
    files = []
    for where in ("memory", "disk"):
        ok("adapter", "--name", "sam", "--data", "john/all.jsonl.gz", f"adapter.frames={where}", "--new-run")
        files.append(torch.load(home / "adapters/sam_adapter.pt", weights_only=True)["residual_state_dict"])
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])


def test_a_person_with_two_utterances_is_one_message(home):
    make_corpus(home / "two", {"t1": "cab dad", "t2": "bed"}, speaker="tom")
    said = refused("adapter", "--name", "tom", "--data", "two/all.jsonl.gz")
    assert "tom has 2 utterances: too few" in said
    assert "data.test=" in said
    said = ok("adapter", "--name", "tom", "--data", "two/all.jsonl.gz", "data.test=john/all.jsonl.gz", "train.epochs=1")
    assert "on 20 held-out utterances" in said


@pytest.mark.parametrize("given", ["0", "wide", "512,0", "-3", ""])
def test_hidden_dims_that_are_none(given):
    said = refused("adapter", "--name", "john", "--data", "john/all.jsonl.gz", f"adapter.hidden_dims={given}")
    assert "adapter.hidden_dims" in said


def test_folds_that_cannot_be_drawn():
    said = refused("adapter", "--name", "john", "--data", "john/all.jsonl.gz", "data.cross_fit=50")
    assert "cannot be put into 50 folds" in said


def test_list_and_info(home):
    said = ok("adapters", "list", "--format", "json")
    john = next(row for row in json.loads(said) if row["name"] == "john")
    assert (john["form"], john["base"], john["hidden_dims"]) == ("residual", "models:/deepspeech2/1", "32,16")
    assert john["wer"] == pytest.approx(newest_of("john").data.metrics["test/wer"])
    told = json.loads(ok("adapters", "info", "john", "--json"))
    assert told["base_digest"] == newest_of("john").data.tags["asr_lab.base_digest"]
    told = json.loads(ok("adapters", "info", "models:/deepspeech2-adapter-john@champion", "--json"))
    assert told["adapter_name"] == "john"
    registered = json.loads(ok("adapters", "list", "--registry", "--format", "json"))
    own = next(row for row in registered if row["name"] == "john")
    assert (own["version"], own["champion"], own["base"]) == (1, True, "models:/deepspeech2/1")
    assert "no adapters in empty yet" in ok("adapters", "list", "--dir", "empty")


def newest_of(speaker: str):
    client = mlflow.MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`asr_lab.speaker` = '{speaker}' and tags.`asr_lab.kind` = 'train'")[0]


def test_a_broken_file_does_not_hide_the_others(home):
    broken = home / "some" / "broken_adapter.pt"
    ok("adapters", "export", "john", "some")
    broken.write_bytes(b"nothing")
    said = ok("adapters", "list", "--dir", "some")
    assert "john" in said
    assert "cannot be used" in said


def test_export_and_import(home):
    assert "residual" in ok("adapters", "export", "john", "exported")
    exported = home / "exported" / "john_adapter.pt"
    assert exported.read_bytes() == (home / "adapters" / "john_adapter.pt").read_bytes()
    assert "would be replaced" in refused("adapters", "export", "john", "exported")
    said = ok("adapters", "import", exported, "--name", "johnny")
    assert "base models:/deepspeech2/1" in said
    file = home / "john/audio/j01.wav"
    assert ok("transcribe", file, "--adapter", "johnny") == ok("transcribe", file, "--adapter", "john")
    assert "would be replaced" in refused("adapters", "import", exported)


def test_a_plain_file_can_always_be_written(home):
    assert "needs the speaker's audio" in refused("adapters", "export", "john", "older", "--plain")
    said = ok("adapters", "export", "john", "older", "--plain", "--data", "john/all.jsonl.gz")
    assert "plain" in said
    content = torch.load(home / "older" / "john_adapter.pt", weights_only=True)
    assert set(content) >= {"adapter_state_dict", "input_dim", "hidden_dims", "output_dim", "adapter_name"}
    assert content["hidden_dims"] == [32, 16]
    residual, plain = (float(part.split()[1].rstrip("%,")) for part in said.split(": ")[-1].split(", "))
    assert plain <= residual + 15  # points of WER: it says nearly what the residual one says
    assert "plain already" not in said


def test_a_file_of_an_older_system_is_bound_to_its_base(home):
    content = torch.load(home / "adapters" / "john_adapter.pt", weights_only=True)
    older = {key: content[key] for key in ("input_dim", "hidden_dims", "output_dim")}
    older |= {"adapter_state_dict": content["residual_state_dict"], "adapter_name": "old-timer"}
    torch.save(older, home / "old.pt")
    said = ok("adapters", "import", "old.pt")
    assert "base unknown" in said
    assert "was not checked" in said
    said = refused("adapters", "import", "old.pt", "--register", "--overwrite")
    assert "--base" in said
    said = ok("adapters", "import", "old.pt", "--overwrite", "--register", "--base", "models:/deepspeech2@champion")
    assert "registered as models:/deepspeech2-adapter-old-timer/1" in said
    info = AdapterManager().get_adapter_info("old-timer")
    assert info.base == "models:/deepspeech2/1"
    assert info.base_digest == newest_of("john").data.tags["asr_lab.base_digest"]
    version = mlflow.MlflowClient().get_model_version_by_alias("deepspeech2-adapter-old-timer", "champion")
    assert version.tags["asr_lab.base_digest"] == info.base_digest


def test_an_adapter_of_another_size_is_refused_on_import(home):
    content = torch.load(home / "adapters" / "john_adapter.pt", weights_only=True)
    content["output_dim"] += 1
    torch.save({**content, "base_digest": ""}, home / "wide.pt")
    said = refused("adapters", "import", "wide.pt", "--name", "wide", "--base", "models:/deepspeech2@champion")
    assert "classes" in said
    assert not (home / "adapters" / "wide_adapter.pt").exists()


def test_registered_adapters_are_used_by_their_uri(home):
    file, uri = home / "john/audio/j02.wav", "models:/deepspeech2-adapter-john@champion"
    assert ok("transcribe", file, "--adapter", uri) == ok("transcribe", file, "--adapter", "john")
    ok("evaluate", "--adapter", uri, "--data", "john/all.jsonl.gz", "--model", "models:/deepspeech2/1")
    assert "adapter, not a recogniser" in refused("transcribe", file, "--model", uri)
    assert "is not an adapter" in refused("transcribe", file, "--adapter", "models:/deepspeech2/1")


def test_a_registered_name_needs_no_file_and_means_its_own_base(home, tmp_path):
    john = ("evaluate", "--model", "models:/deepspeech2/1", "--data", "john/all.jsonl.gz", "--adapter", "john")
    own, shared = ok(*john), ok(*john, f"evaluate.adapter_dir={tmp_path}")
    assert [line for line in shared.splitlines() if "test/wer" in line] == [
        line for line in own.splitlines() if "test/wer" in line
    ]
    tags = newest("evaluate", "evaluate").data
    assert tags.params["evaluate.adapter"] == "models:/deepspeech2-adapter-john/1"
    assert "did you mean 'john'" in refused(*john[:-1], "jahn")
    file, uri = home / "john/audio/j02.wav", "models:/deepspeech2@champion"
    expected = ok("transcribe", file, "--adapter", "john", "--adapter-dir", tmp_path)
    mlflow.MlflowClient().delete_registered_model_alias("deepspeech2", "champion")
    try:
        assert ok("transcribe", file, "--adapter", "john", "--adapter-dir", tmp_path) == expected
        assert "champion" in refused("transcribe", file, "--model", uri)
    finally:
        mlflow.MlflowClient().set_registered_model_alias("deepspeech2", "champion", "1")


def test_an_adapter_that_does_harm_is_not_used(home):
    """Transcripts that have nothing to do with the sound: what is learned from them helps on no other utterance."""
    draw = np.random.default_rng(5)
    path = make_corpus(home / "lies", {f"l{i:02d}": " ".join(draw.choice(WORDS, 2)) for i in range(16)}, speaker="liz")
    cuts = list(manifest.read(path))
    for cut in cuts[:12]:
        cut.supervisions[0].text = " ".join(draw.choice(WORDS, 2))
    learned, heard = home / "lies" / "train.jsonl.gz", home / "lies" / "test.jsonl.gz"
    manifest.write(cuts[:12], learned)
    manifest.write(cuts[12:], heard)
    ok("adapter", "--name", "liz", "--data", "lies", "train.lr=2e-2")
    found = newest("adapter")
    assert found.data.metrics["adapter/strength"] <= 0.5
    ok("adapter", "--name", "liz", "--data", "lies", "train.lr=2e-2", "adapter.strength=1.0")
    full = newest("adapter")
    assert full.data.metrics["adapter/strength"] == 1
    assert found.data.metrics["test/cer"] <= full.data.metrics["test/cer"]


@pytest.mark.slow
def test_each_speaker_is_adapted_by_a_job_and_the_figures_are_those_of_one_process(class_of_three, by_forks):  # noqa: F811
    command = ["adapter", "--each", "speaker", "--data", class_of_three, "data.cross_fit=2", "data.sizes=2"]
    command += ["train.epochs=2", "run.seed=5"]
    ok(*command)
    alone = newest("adapter", "group")
    by_forks.kill_first = True
    said = ok(*command, "--engine", "local", "--jobs", 2)
    assert {"amy: done", "bob: done", "cem: done"} <= set(said.splitlines())
    assert said.count("was lost (SIGKILL), submitted again") == 1
    run = newest("adapter", "group")
    assert run.info.run_id != alone.info.run_id
    figures = [name for name in alone.data.metrics if name.startswith("test/")]
    assert {name: run.data.metrics[name] for name in figures} == {name: alone.data.metrics[name] for name in figures}
    trained = run.data.tags["asr_lab.compared"].split(",")
    for name, run_id in zip(("amy", "bob", "cem"), trained, strict=True):
        assert f"{name} is already adapted: " in said
        assert run_id == newest_of(name).info.run_id
    pd.testing.assert_frame_equal(growth_of(alone), growth_of(run))


def test_jobs_of_adapters_are_for_each_speaker():
    one = ["adapter", "--name", "john", "--data", "john/all.jsonl.gz", "--engine", "local", "--jobs", "2"]
    assert "--each speaker" in refused(*one)
