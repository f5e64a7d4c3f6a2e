"""The columns of `asr-lab list`: state, duration, deciding metric, marks and size of each run."""

import pytest
from made import client, made_run
from outages import gone

from asr_lab.tracking.queries.overview import overview

pytestmark = pytest.mark.usefixtures("store")


def row(run_id: str):
    (found,) = overview([client().get_run(run_id)]).to_dict("records")
    return found


def test_a_row_names_the_run_and_its_deciding_metric():
    run_id = made_run("base", wer=0.25, tags={"asr_lab.kind": "evaluate"})
    found = row(run_id)
    expected = {"run": "base", "id": run_id[:8], "family": "deepspeech2", "kind": "evaluate", "state": "finished"}
    assert {name: found[name] for name in expected} == expected
    assert (found["metric"], found["value"], found["seconds"], found["marks"]) == ("val/wer", 0.25, 60.0, "")
    assert overview([]).columns.tolist() == list(found)


def test_a_run_without_figures_is_decided_by_the_first_metric_of_its_family():
    found = row(made_run("x", family="pronunciation", wer=None))
    assert found["metric"] == "val/error_f1"
    assert found["value"] != found["value"]


@pytest.mark.parametrize(
    ("status", "tags", "state"),
    [
        ("FAILED", {}, "failed"),
        ("KILLED", {}, "killed"),
        ("RUNNING", {}, "running"),
        ("RUNNING", {"asr_lab.process": gone()}, "cut off"),
    ],
)
def test_a_run_whose_process_is_gone_is_cut_off_and_its_duration_not_known(status, tags, state):
    found = row(made_run("x", status=status, tags=tags))
    assert found["state"] == state
    assert (found["seconds"] != found["seconds"]) == (state == "cut off")


def test_marks_are_kept_archived_and_registered_names():
    tags = {"asr_lab.keep": "1", "asr_lab.archived": "x"}
    assert row(made_run("x", tags=tags, register="digits"))["marks"] == "kept, archived, digits/1@champion"


def test_the_size_is_that_of_artifacts_and_models_on_this_disk():
    plain, with_model = made_run("x"), made_run("y", model=True)
    client().log_text(plain, "a" * 1000, "more.txt")
    assert row(plain)["bytes"] == len("recipe: deepspeech2\n") + 1000
    assert row(with_model)["bytes"] > row(plain)["bytes"]
