"""compare and promote as a user runs them, on runs that assess pronunciation."""

import json
import re

import numpy as np
import pytest
from conftest import ok, refused
from made import client, made_run
from made_l2 import at_random

from asr_lab.metrics import pronunciation

IDS: dict[str, str] = {}


def assessment(seed, *, skill, recognised=True):
    """The same utterances said in the same way, and a detector of so much skill."""
    table, draw = at_random(60), np.random.default_rng(seed)
    sure = [skill * (2 * np.array(row) - 1) + draw.normal(0, 1, len(row)) for row in table["errors"]]
    table["error_score"] = [(1 / (1 + np.exp(-row))).tolist() for row in sure]
    if not recognised:
        table["recognised"] = [["AA"] for _ in range(len(table))]
    return pronunciation.with_phone_errors(pronunciation.flagged(table, "error_score", 0.5))


def made_assessment(name, table, data="d1", register=""):
    """A finished run of the family `pronunciation` that logged the table."""
    tags = {"asr_lab.data.test": data, "asr_lab.scorer": pronunciation.SCORER}
    run_id = made_run(name, family="pronunciation", wer=None, params={"model.type": name}, tags=tags, register=register)
    found = pronunciation.detection(table, "error_score")
    figures = {f"test/{key}": found[key] for key in ("error_f1", "pr_auc")} | {"val/error_f1": found["error_f1"]}
    figures |= {"test/per": pronunciation.per(table).value, "test/trivial/per": pronunciation.trivial(table)["per"]}
    for key, value in figures.items():
        client().log_metric(run_id, key, value)
    table.to_parquet("test.parquet")
    client().log_artifact(run_id, "test.parquet", "eval")
    IDS[name] = run_id


@pytest.fixture(scope="module", autouse=True)
def lab(tmp_path_factory):
    """A detector that knows, one that guesses, one that knows but recognises nothing, and one on other data."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        made_assessment("knows", assessment(1, skill=2.0))
        made_assessment("guesses", assessment(2, skill=0.0), register="pronunciation-cross")
        made_assessment("mute", assessment(3, skill=2.0, recognised=False), register="pronunciation-cross")
        made_assessment("abroad", assessment(4, skill=3.0), data="d2")
        yield


def rows(*arguments):
    """What compare prints as JSON, by the runs' names."""
    printed = ok("compare", *arguments, "--format", "json")
    return {row["run"]: row for row in json.loads(printed[: printed.rindex("]") + 1])}


def ids(*names):
    return [IDS[name] for name in names]


def test_detectors_are_compared_in_f1_where_more_is_better():
    three = ids("guesses", "knows", "mute")
    said = ok("compare", *three, "--metric", "test/error_f1")
    assert re.search(r"best test/error_f1: (knows|mute)\n", said)
    assert re.search(r"significantly worse than (knows|mute) in test/error_f1: guesses\n", said)
    against = rows(*three, "--metric", "test/error_f1", "--vs", IDS["guesses"])
    assert 0 < against["knows"]["low"] < against["knows"]["difference"] < against["knows"]["high"]
    assert against["knows"]["p"] < 0.001
    said = ok("compare", *three, "--metric", "test/error_f1", "--vs", IDS["guesses"])
    assert re.search(r"significantly better than guesses in test/error_f1: (knows, mute|mute, knows)\n", said)


def test_assessments_stand_beside_the_trivial_predictor():
    found = rows("--family", "pronunciation", "--metric", "test/per")
    assert set(found) == set(IDS)
    shown = {"model.type", "val/error_f1", "test/error_f1", "test/pr_auc", "test/per", "test/trivial/per"}
    assert shown <= set(found["knows"])
    said = ok("compare", *ids("knows", "mute"), "--metric", "test/per")
    assert "significantly worse than knows in test/per: mute" in said
    assert "best test/trivial/per" not in said


def test_no_winner_across_data():
    said = ok("compare", *ids("knows", "abroad"), "--metric", "test/error_f1")
    assert "evaluated on different data (test): no winner is called in test/error_f1" in said


def test_what_was_recognised_stands_under_what_was_said():
    said = ok("compare", *ids("knows", "mute"), "--utterances", "--limit", "2")
    assert "0 better, 60 worse, 0 equal, of 60 utterances" in said
    assert "test/per 0.0% -> " in said
    refusal = refused("compare", *ids("knows", "mute"), "--utterances", "--metric", "test/error_f1")
    assert "does not count the errors of single utterances" in refusal
    assert "test/per" in refusal


def test_figures_without_counts_are_not_tested():
    assert "significan" not in ok("compare", *ids("knows", "mute"), "--metric", "test/pr_auc")
    refusal = refused("compare", *ids("knows", "mute"), "--metric", "test/pr_auc", "--vs", "best")
    assert "allowed: val/ or test/ with one of wer, cer, per, error_f1" in refusal
    client().log_metric(IDS["knows"], "test/cer", 0.5)
    client().log_metric(IDS["mute"], "test/cer", 0.4)
    said = ok("compare", *ids("knows", "mute"), "--metric", "test/cer")
    assert "no winner is called, its utterances have no char_substitutions, which cer needs" in said


def test_a_page_calls_more_f1_better(tmp_path):
    page = tmp_path / "page.html"
    three = ids("guesses", "knows", "mute")
    ok("compare", *three, "--metric", "test/error_f1", "--format", "html", "--out", page)
    content = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    column = next(column for column in content["columns"] if column["name"] == "test/error_f1")
    assert column["better"] == "higher"


def test_the_gate_of_a_registered_model_goes_by_f1():
    said = ok("promote", "pronunciation-cross/2", "--dry-run")  # mute, after guesses
    assert "significantly better: +" in said
    assert "error F1" in said
    ok("promote", "pronunciation-cross/2")
    assert "not significantly better: -" in refused("promote", "pronunciation-cross/1")
