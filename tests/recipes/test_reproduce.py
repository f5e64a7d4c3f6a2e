"""A run, run again: what is the same, what differs, and every figure held against the first time."""

import shutil

import mlflow
import pytest
from conftest import artifacts, newest, ok, refused

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


def test_an_evaluation_and_everyone(home):
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


def test_figures_that_differ_are_told_and_kept(home):
    original = newest("deepspeech2").info.run_id
    mlflow.MlflowClient().log_metric(original, "val/wer", 0.9, step=999)
    said = refused("reproduce", original)
    assert "not reproduced: 1 of" in said
    assert "val/wer" in said
    assert newest("deepspeech2", "reproduce").data.tags["asr_lab.reproduced"] == "different"


def test_a_run_that_is_not_there():
    assert "no run 'nobody'" in refused("reproduce", "nobody")
