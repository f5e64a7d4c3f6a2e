"""A run, run again: what is the same, what differs, and every figure held against the first time."""

import shutil

import mlflow
import pytest
from conftest import artifacts, newest, ok, refused
from made import made_run

from asr_lab.errors import AsrLabError
from asr_lab.system.distributed import rank_and_world_size
from asr_lab.tracking import reproduction
from asr_lab.tracking.connection import StoreUnavailableError
from asr_lab.tracking.spool.delivery import Delivery

pytestmark = pytest.mark.usefixtures("at_home")


def registered() -> set[tuple[str, str]]:
    return {(one.name, one.version) for one in mlflow.MlflowClient().search_model_versions()}


@pytest.mark.parametrize("family", ["deepspeech2", "adapter"])
def test_a_run_is_reproduced_to_the_last_bit_and_leaves_the_registry_alone(family, home):
    original, before = newest(family), registered()
    adapter = (home / "adapters" / "john_adapter.pt").read_bytes()
    said = ok("reproduce", original.info.run_id, "--tolerance", "0")
    assert "reproduced, identical" in said
    again = newest(family, "reproduce")
    assert again.data.tags["mlflow.parentRunId"] == original.info.run_id
    assert again.data.tags["asr_lab.reproduced"] == "identical"
    assert again.info.status == "FINISHED"
    assert "reproduce/figures.csv" in artifacts(again.info.run_id, "reproduce")
    assert registered() == before
    assert (home / "adapters" / "john_adapter.pt").read_bytes() == adapter
    client = mlflow.MlflowClient()
    curves = [client.get_metric_history(run.info.run_id, "test/wer" if family == "adapter" else "train/loss")
              for run in (original, again)]  # fmt: skip
    assert [point.value for point in curves[0]] == [point.value for point in curves[1]]


def test_an_evaluation_and_each_speaker(home):
    ok("evaluate", "--model", "models:/deepspeech2/1", "--data", "john/all.jsonl.gz")
    assert "reproduced, identical" in ok("reproduce", newest("evaluate", "evaluate").info.run_id, "--tolerance", "0")
    ok("adapter", "--each", "speaker", "--data", "john/all.jsonl.gz", "data.cross_fit=2", "train.epochs=1")
    before = registered()
    assert "reproduced, identical" in ok("reproduce", newest("adapter", "group").info.run_id, "--tolerance", "0")
    assert registered() == before


def test_check_says_what_differs(home):
    original = newest("deepspeech2")
    client = mlflow.MlflowClient()
    kept = original.data.tags["asr_lab.versions"]
    client.set_tag(original.info.run_id, "asr_lab.versions", kept.replace("torch 2.", "torch 1."))
    try:
        said = ok("reproduce", original.info.run_id, "--check", "--format", "csv")
        rows = {line.split(",")[0]: line for line in said.splitlines() if "," in line}
        assert rows["torch"].endswith("False")
        assert rows["seed"].endswith("True")
        assert rows["data train"].endswith("True")
    finally:
        client.set_tag(original.info.run_id, "asr_lab.versions", kept)


def test_other_data_are_refused(home):
    original = newest("deepspeech2").info.run_id
    said = refused("reproduce", original, "data.val=john/all.jsonl.gz")
    assert "data val: not what the run had" in said
    said = refused("reproduce", original, "data.val=nowhere.jsonl.gz")
    assert "data val: not what the run had" in said


def test_moved_data_are_named(home):
    original = newest("adapter")
    shutil.copytree(home / "john", home / "moved", dirs_exist_ok=True)
    (home / "john").rename(home / "gone")
    try:
        assert "not what the run had" in refused("reproduce", original.info.run_id)
        ok("reproduce", original.info.run_id, "data.train=moved/all.jsonl.gz", "--tolerance", "0")
    finally:
        (home / "gone").rename(home / "john")


def test_figures_that_differ_are_reported_and_kept(home):
    original = newest("deepspeech2").info.run_id
    mlflow.MlflowClient().log_metric(original, "val/wer", 0.9, step=999)
    said = refused("reproduce", original)
    assert "not reproduced: 1 of" in said
    assert "val/wer" in said
    assert newest("deepspeech2", "reproduce").data.tags["asr_lab.reproduced"] == "different"


def checked(run_id: str, *more: str) -> dict[str, str]:
    """What `--check` says, a line a circumstance."""
    said = ok("reproduce", run_id, *more, "--check", "--format", "csv")
    return {line.split(",")[0]: line for line in said.splitlines() if "," in line}


def test_the_models_are_those_that_the_run_used_and_not_those_of_today(home):
    client = mlflow.MlflowClient()
    ok("evaluate", "--data", "john/all.jsonl.gz", "--model", "models:/deepspeech2@champion")
    evaluated = newest("evaluate", "evaluate").info.run_id
    ok("adapter", "--each", "speaker", "--data", "john/all.jsonl.gz", "data.cross_fit=2", "train.epochs=1")
    first = client.get_model_version("deepspeech2", "1")
    other = client.create_model_version("deepspeech2", first.source, run_id=first.run_id)
    client.set_registered_model_alias("deepspeech2", "champion", other.version)
    try:
        for run_id in (evaluated, newest("adapter", "group").info.run_id):
            assert checked(run_id)["base"] == "base,models:/deepspeech2/1,models:/deepspeech2/1,True"
        assert "reproduced, identical" in ok("reproduce", evaluated, "--tolerance", "0")
        assert newest("evaluate", "reproduce").data.tags["asr_lab.base"] == "models:/deepspeech2/1"
        asked = checked(evaluated, f"evaluate.model=models:/deepspeech2/{other.version}")
        assert asked["base"].endswith(f"models:/deepspeech2/{other.version},False")
    finally:
        client.set_registered_model_alias("deepspeech2", "champion", "1")
        client.delete_model_version("deepspeech2", str(other.version))


def test_a_base_or_an_adapter_of_other_weights_is_said(home):
    client = mlflow.MlflowClient()
    ok("evaluate", "--model", "models:/deepspeech2/1", "--adapter", "john", "--data", "john/all.jsonl.gz")
    run = newest("evaluate", "evaluate")
    assert {line.rpartition(",")[2] for what, line in checked(run.info.run_id).items() if "digest" in what} == {"True"}
    client.set_tag(run.info.run_id, "asr_lab.base_digest", "another")
    file = home / "adapters" / "john_adapter.pt"
    kept = file.read_bytes()
    file.write_bytes(kept + b".")
    try:
        rows = checked(run.info.run_id)
        assert rows["base digest"].endswith("False")
        assert rows["adapter digest"].endswith("False")
        assert "base digest, adapter digest: not what the run had" in refused("reproduce", run.info.run_id)
    finally:
        file.write_bytes(kept)


def test_an_adapter_of_the_registry_is_the_version_it_was(home):
    adapter = "models:/deepspeech2-adapter-john@champion"
    ok("evaluate", "--model", "models:/deepspeech2/1", "--adapter", adapter, "--data", "john/all.jsonl.gz")
    run = newest("evaluate", "evaluate")
    assert reproduction.pinned(run)["evaluate.adapter"].startswith("models:/deepspeech2-adapter-john/")
    assert checked(run.info.run_id)["adapter digest"].endswith("True")


def test_a_repetition_that_waits_has_no_verdict(home, monkeypatch):
    ok("evaluate", "--model", "models:/deepspeech2/1", "--data", "john/all.jsonl.gz", "run.name=waits")
    original = newest("evaluate", "evaluate").info.run_id

    def away(*_, **__):
        raise StoreUnavailableError("the server does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "make_run", away)
        said = refused("reproduce", original)
    assert "no verdict" in said
    assert "try: asr-lab sync" in said
    ok("sync")
    repeated = newest("evaluate", "reproduce")
    assert repeated.data.tags["mlflow.parentRunId"] == original
    assert "asr_lab.reproduced" not in repeated.data.tags
    began_as = repeated.data.tags["asr_lab.spool"]
    assert reproduction.arrived(began_as) == repeated.info.run_id
    with pytest.raises(AsrLabError, match="the repetition cannot be read"):
        reproduction.arrived("0" * 32)
    with pytest.raises(AsrLabError, match="the figures cannot be compared"):
        reproduction.figures("0" * 32, original, 0.0)


def test_of_steps_that_were_logged_twice_the_last_counts():
    runs = [made_run("twice", points=3) for _ in range(2)]
    client = mlflow.MlflowClient()
    client.log_metric(runs[0], "train/loss", 99.0, timestamp=1, step=1)  # before the run was continued
    table = reproduction.figures(*runs, 0.0).set_index("metric")
    assert table.loc["train/loss", "verdict"] == "identical"
    assert table.loc["train/loss", "points"] == "3"
    client.log_metric(runs[1], "train/loss", 99.0, timestamp=9_999_999_999_999, step=1)
    assert reproduction.figures(*runs, 0.0).set_index("metric").loc["train/loss", "verdict"] == "different"


def test_how_many_processes_trained_is_held_against_one(monkeypatch):
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    trained = "tags.`asr_lab.family` = 'deepspeech2' and tags.`asr_lab.kind` = 'train' and tags.`asr_lab.command` != ''"
    original = client.search_runs(experiments, trained)[0]  # none of those that are made up
    assert original.data.tags["asr_lab.world_size"] == "1"
    client.set_tag(original.info.run_id, "asr_lab.world_size", "4")
    assert checked(original.info.run_id)["processes"] == "processes,4,1,False"
    client.set_tag(original.info.run_id, "asr_lab.world_size", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert "reproduced by one process" in refused("reproduce", original.info.run_id)
    assert rank_and_world_size() == (1, 2)


def test_a_run_that_is_not_there():
    assert "no run 'nobody'" in refused("reproduce", "nobody")
