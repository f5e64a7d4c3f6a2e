"""What a recorded run leaves for the MLflow UI: origin, result, tables, the machine, models with their data."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from made import client, made_model, made_run
from made_l2 import by_hand
from outages import spec

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import Dataset, RegisteredModel
from asr_lab.metrics.pronunciation import with_phone_errors
from asr_lab.models.pronunciation.decisions import Decisions
from asr_lab.recipes.pronunciation.scoring import decide, record
from asr_lab.tracking.erasure.scrub import scrub
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.tracking.recorder import MOST_SHOWN_ROWS
from asr_lab.tracking.tracker import MlflowTracker

pytestmark = pytest.mark.usefixtures("store")
WER = {"val/wer": 0.25, "val/wer_low": 0.2, "val/wer_high": 0.3, "val/utterances": 80}


def table(count: int) -> pd.DataFrame:
    rows = [(f"u{number}", f"word {number}", "word", "ann" if number % 2 else "bo") for number in range(count)]
    return pd.DataFrame(rows, columns=["id", "reference", "hypothesis", "speaker"])


def recorded(**more):
    with MlflowTracker().start(spec(**more)) as run:
        run.metrics(WER)
        run.note("best epoch 3")
    return client().get_run(run.run_id)


def test_a_run_says_where_it_comes_from_and_what_came_of_it():
    run = recorded()
    tags = run.data.tags
    assert tags["mlflow.note.content"].splitlines() == [
        "WER 25.0 % (20.0 to 30.0) on 80 validation utterances",
        "",
        "best epoch 3",
    ]
    assert tags["mlflow.user"] == run.info.user_id != "unknown"
    assert tags["mlflow.source.name"] == tags["asr_lab.command"]
    assert len(tags["mlflow.runColor"]) == 7
    names = list(tags)
    assert names.index("asr_lab.family") < names.index("asr_lab.signature") < names.index("asr_lab.process")
    assert "mlflow.sharedViewState.asr_lab" in client().get_experiment(run.info.experiment_id).tags


def test_the_run_of_mlflow_run_has_its_tags_in_the_same_order(monkeypatch):
    run_id = client().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    MlflowTracker().announce(spec().family)
    assert "asr_lab.process" in client().get_run(run_id).data.tags
    names = list(recorded().data.tags)
    assert names.index("asr_lab.command") < names.index("asr_lab.signature") < names.index("asr_lab.process")


def test_a_run_that_failed_says_why():
    with pytest.raises(AsrLabError), MlflowTracker().start(spec()) as run:
        raise AsrLabError("the disk is full")
    assert client().get_run(run.run_id).data.tags["mlflow.note.content"] == "FAILED: the disk is full"


def test_utterances_are_logged_as_mlflow_logs_tables_up_to_a_cap():
    with MlflowTracker().start(spec()) as run:
        run.table(table(MOST_SHOWN_ROWS + 5), "eval/val.parquet", shown=True)
        run.table(table(3), "eval/test.parquet", shown=True)
        run.table(table(3), "eval/other.parquet")
    logged = json.loads(client().get_run(run.run_id).data.tags["mlflow.loggedArtifacts"])
    assert logged == [{"path": f"tables/{split}.json", "type": "table"} for split in ("val", "test")]
    experiment = client().get_run(run.run_id).info.experiment_id
    shown = client().load_table(experiment, "tables/val.json", run_ids=[run.run_id])
    assert len(shown) == MOST_SHOWN_ROWS
    assert list(shown)[:2] == ["utterance", "hypothesis"]
    assert shown["utterance"][2] == "u2: word 2"
    assert len(pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.run_id}/eval/val.parquet"))) == 1005


def test_assessed_utterances_are_shown_too_with_what_was_recognised():
    assessed = decide(with_phone_errors(by_hand()), Decisions())
    with MlflowTracker().start(spec()) as run:
        record(run, assessed, "test")
    experiment = client().get_run(run.run_id).info.experiment_id
    shown = client().load_table(experiment, "tables/test.json", run_ids=[run.run_id])
    assert shown["utterance"][0] == "cat: D AH K AH T"
    assert shown["hypothesis"][0] == "D AH K AE T"
    assert shown["flags"][0] == [1, 0, 1, 0, 0]


def test_a_speaker_who_is_forgotten_leaves_the_shown_table(tmp_path):
    for name in ("eval", "tables"):
        (tmp_path / name).mkdir()
    table(4).to_parquet(tmp_path / "eval" / "val.parquet")
    shown = tmp_path / "tables" / "val.json"
    shown.write_text(table(4).to_json(orient="split", index=False))
    assert scrub(tmp_path, {"ann"}).rewritten == ["eval/val.parquet", "tables/val.json"]
    assert [row[0] for row in json.loads(shown.read_text())["data"]] == ["u0", "u2"]
    assert scrub(tmp_path, {"nobody"}).rewritten == []


def samples(run_id: str) -> list[int]:
    return [point.step for point in client().get_metric_history(run_id, "system/cpu_utilization_percentage")]


def test_the_machine_is_recorded_and_a_run_that_is_continued_goes_on(monkeypatch):
    monkeypatch.setattr("asr_lab.system.processes.process_mark", lambda: "here|999999|1")
    first = MlflowTracker().start(spec())
    with pytest.raises(KeyboardInterrupt), first:
        raise KeyboardInterrupt
    assert samples(first.run_id) == [0]
    again = MlflowTracker().reopen(spec(), first.run_id)
    with again:
        pass
    assert samples(first.run_id) == [0, 1]
    assert client().get_run(first.run_id).data.metrics["system/system_memory_usage_megabytes"] > 0


def test_the_machine_is_not_recorded_where_that_is_turned_off(monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    assert samples(recorded().info.run_id) == []


def test_a_model_has_a_name_a_result_and_figures_by_data_set():
    Path("weights").mkdir()
    Path("weights/w.bin").write_text("1")
    with MlflowTracker().start(spec()) as run:
        run.dataset(Dataset("corpus/dev", "val", "d1", "corpus/dev.jsonl.gz", 80, 0.1))
        run.metrics(WER | {"train/loss": 1.0})
        run.model(RegisteredModel(name="tiny.v2", files={"model": Path("weights")}), register=True)
    (model,) = client().search_logged_models([client().get_run(run.run_id).info.experiment_id])
    assert model.name == "tiny_v2"  # MLflow takes no dots there
    assert {metric.key: metric.dataset_name for metric in model.metrics} == dict.fromkeys(WER, "corpus/dev") | {
        "train/loss": None
    }
    assert model.tags["mlflow.note.content"].startswith("WER 25.0 %")
    version = client().get_model_version("tiny.v2", "1")
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "tiny.v2", "version": version.version}]
    assert version.description.startswith("WER 25.0 %")
    packaged = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    assert mlflow.models.Model.load(packaged).load_input_example(packaged)["audio"][0]
    assert (MlflowStore().resolve(f"runs:/{run.run_id}/model") / "w.bin").is_file()


def test_models_of_older_runs_are_called_model_and_found():
    run_id = made_run("old")
    model_id = made_model(run_id)
    assert client().get_logged_model(model_id).name == "model"
    from asr_lab.serving.logged_model import stored_uri

    assert stored_uri(client(), f"runs:/{run_id}/model") == f"models:/{model_id}"
    assert stored_uri(client(), f"runs:/{run_id}/final") == f"runs:/{run_id}/final"
