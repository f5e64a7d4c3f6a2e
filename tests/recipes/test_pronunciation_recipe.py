"""Pronunciation as a user trains, evaluates and serves it: one encoder and one model on tones, all tiny."""

import json
import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import artifacts, newest, ok, refused
from forked_engine import by_forks  # noqa: F401 - a fixture
from learners import TINY, learners

from asr_lab.training.callbacks import KeepEach

DATA = "data: {train: c/train.jsonl.gz, val: c/val.jsonl.gz, test: c/test.jsonl.gz}\n"


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """A folder with learners, a registered encoder, and a registered `cross` that starts from it."""
    folder = tmp_path_factory.mktemp("school")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        for seed, (name, count) in enumerate((("train", 80), ("val", 20), ("test", 20))):
            learners(Path("c"), count, name=name, seed=seed)
        learners(Path("c"), 4, name="right", seed=7, error_rate=0.0)
        Path("encoder.yaml").write_text(
            "recipe: pronunciation\nrun: {name: encoder, register_as: pronunciation-encoder}\nmodel: {type: simple}\n"
            f"loss: {{errors: 0, diagnosis: 0}}\ntrain: {{choose: per, epochs: 3, examples: 0}}\n{DATA}"
        )
        Path("cross.yaml").write_text(
            "recipe: pronunciation\nrun: {register_as: pronunciation-cross}\ntrain: {epochs: 7, examples: 1}\n"
            f"model: {{type: cross, pretrained: models:/pronunciation-encoder/1}}\n{DATA}"
        )
        said = ok("train", "encoder.yaml", "cross.yaml", *TINY)
        folder.joinpath("said.txt").write_text(said)
    return folder


@pytest.fixture
def at_school(school, monkeypatch):
    monkeypatch.chdir(school)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{school}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{school}/mlflow.db")


def table_of(run, path: str) -> pd.DataFrame:
    return pd.read_parquet(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path))


def test_training_prints_examples_and_beats_predicting_nothing(at_school):
    said = Path("said.txt").read_text()
    assert said.index("recognised") < said.index("predicted")
    assert "models:/pronunciation-encoder/1" in said
    assert "models:/pronunciation-cross/1" in said
    run = newest("pronunciation")
    figures = run.data.metrics
    assert figures["test/error_f1"] > figures["test/flag_all/error_f1"] + 0.15
    assert figures["test/trivial/error_f1"] == 0
    assert figures["test/per"] < figures["test/trivial/per"] / 2
    assert figures["test/error_f1_low"] < figures["test/error_f1"] < figures["test/error_f1_high"]
    assert figures["test/wrong_text/flagged"] > 2 * figures["test/wrong_text/flagged_of_own_text"]
    for name in ("test/gop/pr_auc", "test/fused/error_f1", "test/hierarchy/error_f1", "test/correct_diagnosis"):
        assert 0 < figures[name] <= 1
    assert "test/error_f1_by_l1/korean" in figures
    assert "test/error_f1_by_speaker/mina" in figures
    assert any(name.startswith("legacy/") for name in figures)
    assert run.data.tags["asr_lab.scorer"] == "canonical-anchored"
    assert run.data.tags["asr_lab.model_type"] == "pronunciation-cross"
    assert run.data.tags["asr_lab.base"] == "models:/pronunciation-encoder/1"


def test_the_best_by_each_figure_is_kept_and_decisions_rest_on_validation(at_school):
    run = newest("pronunciation")
    kept = artifacts(run.info.run_id)
    assert {"model-per", "model-loss", "examples.parquet", "summary.parquet"} <= kept
    folder = next(Path("checkpoints").glob(f"*{run.info.run_id[:8]}*/model"), None) or next(
        path.parent for path in Path().rglob("decisions.json") if json.loads(path.read_text())["fusion"]
    )
    decisions = json.loads((folder / "decisions.json").read_text())
    assert decisions["fitted_on"] == run.data.tags["asr_lab.data.val"]
    assert not list(folder.glob("*.bin"))
    examples = pd.read_parquet(
        mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="examples.parquet")
    )
    assert examples["epoch"].tolist() == [*range(1, 8)]


def test_evaluate_finds_the_type_and_says_what_is_undefined(at_school):
    said = ok("evaluate", "--model", "models:/pronunciation-cross@champion", "--data", "c/test.jsonl.gz",
              "--save-predictions", "--learner-pages")  # fmt: skip
    run = newest("evaluate", "evaluate")
    trained = newest("pronunciation")
    assert run.data.metrics["test/error_f1"] == pytest.approx(trained.data.metrics["test/error_f1"])
    assert re.search(rf"error_f1 +{run.data.metrics['test/error_f1']:.3f}", said)
    assert run.data.tags["asr_lab.model_type"] == "pronunciation-cross"
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="eval/test_predictions.jsonl")
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert len(rows) == 20
    assert artifacts(run.info.run_id, "learners") == {"learners/juan.html", "learners/mina.html"}
    page = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="learners/mina.html"))
    assert page.read_text().count("data:audio/ogg") == sum(row["speaker"] == "mina" for row in rows)
    assert len(rows[0]["error_score"]) == len(rows[0]["canonical"]) == len(rows[0]["flags"])
    said = ok("evaluate", "--model", "models:/pronunciation-cross@champion", "--data", "c/right.jsonl.gz")
    assert "error_f1" in said.split("undefined")[0]
    assert "test/error_f1" not in newest("evaluate", "evaluate").data.metrics


def test_an_evaluation_by_jobs_is_that_of_one_process(at_school, by_forks):  # noqa: F811
    command = ("evaluate", "models:/pronunciation-cross@champion", "c/test.jsonl.gz", "evaluate.batch_size=3")
    ok(*command)
    alone = newest("evaluate", "evaluate")
    by_forks.kill_first = True
    assert "was lost (SIGKILL), submitted again" in ok(*command, "--engine", "local", "--jobs", 2)
    run = newest("evaluate", "evaluate")
    assert run.info.run_id != alone.info.run_id
    tables = [table_of(one, "eval/test.parquet") for one in (alone, run)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    figures = [
        {name: value for name, value in one.data.metrics.items() if not name.startswith(("perf/", "system/"))}
        for one in (alone, run)
    ]
    assert figures[0] == figures[1]
    assert "test/error_f1" in figures[0]
    assert not list(Path("jobs").iterdir())


def test_compare_tests_the_difference_of_f1(at_school):
    said = ok("compare", "--family", "pronunciation", "--metric", "test/error_f1", "--format", "json")
    rows = {row["run"]: row for row in json.loads(said[said.index("[") : said.rindex("]") + 1])}
    encoder = next(row for name, row in rows.items() if name.startswith("encoder"))
    assert encoder["difference"] < 0
    assert encoder["p"] < 0.05


def test_the_registered_model_assesses_a_recording_by_its_phonemes(at_school):
    served = mlflow.pyfunc.load_model("models:/pronunciation-cross@champion")
    row = table_of(newest("pronunciation"), "eval/test.parquet").iloc[0]
    audio = Path("c/audio", f"{row['id']}.wav").read_bytes()
    found = served.predict(pd.DataFrame({"audio": [audio], "phonemes": [" ".join(row["canonical"])]}))
    told = json.loads(found["phonemes"][0])
    assert [one["phoneme"] for one in told] == list(row["canonical"])
    assert [one["error_score"] for one in told] == pytest.approx(list(row["error_score"]), abs=2e-3)
    assert found["text"][0].split() == list(row["recognised"])
    heard = served.predict(pd.DataFrame({"audio": [audio]}))
    assert heard["text"][0]


def test_a_training_that_is_cut_off_goes_on_in_the_same_run(at_school, monkeypatch):
    command = ("train", "cross.yaml", *TINY, "train.epochs=2", "run.seed=5")
    real = KeepEach.on_evaluate

    def cut_off(self, args, state, control, metrics, **rest):
        real(self, args, state, control, metrics)
        if state.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeepEach, "on_evaluate", cut_off)
        from conftest import run as invoke

        assert invoke(*command).exit_code != 0
    before = newest("pronunciation")
    assert before.info.status == "KILLED"
    assert "continuing" in ok(*command)
    after = newest("pronunciation")
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert len(mlflow.MlflowClient().get_metric_history(after.info.run_id, "val/per")) >= 2


def test_mistakes_are_one_message(at_school):
    assert "has no mispronounced phoneme" in refused("train", "cross.yaml", "data.val=c/right.jsonl.gz")
    assert "train.encoder_lr" in refused("train", "cross.yaml", "train.encoder_rate=1")
    assert "are for recognisers of text" in refused(
        "evaluate", "--model", "models:/pronunciation-cross@champion", "--data", "c/test.jsonl.gz",
        "evaluate.phonemes=true",
    )  # fmt: skip
    plan = ok("train", "cross.yaml", "--dry-run")
    assert "41 classes" in plan
    assert "fine-tuned from models:/pronunciation-encoder/1" in plan
