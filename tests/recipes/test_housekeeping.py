"""cleanup, keep, note, and the undoing of them, as a user runs them, and what is in MLflow afterwards."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from conftest import ROOT, asr_lab, ok, refused, run
from made import all_run_ids, client, made_model, made_run, made_version

pytestmark = pytest.mark.usefixtures("store")


def is_there(run_id: str) -> bool:
    return client().get_run(run_id).info.lifecycle_stage == "active"


def planned(*arguments: str) -> dict[str, dict]:
    """The plan of a cleanup by run name."""
    return {row["run"]: row for row in json.loads(ok("cleanup", *arguments, "--dry-run", "--format", "json"))}


def files() -> set[Path]:
    return {path for path in Path("mlruns").rglob("*") if path.is_file()}


def test_old_runs_go_and_the_best_stay():
    best, second = made_run("best", wer=0.1, days=30), made_run("second", wer=0.2, days=30)
    young = made_run("young", wer=0.5, days=1)
    plan = planned("--days-old", "7", "--keep-best")
    assert (plan["best"]["what"], plan["second"]["what"]) == ("stays", "goes")
    assert "number 1 of 3 by val/wer" in plan["best"]["why"]
    assert "older than 7 days" in plan["second"]["why"]
    assert "young" not in plan
    assert plan["second"]["bytes"] == sum(path.stat().st_size for path in files() if second in str(path))
    said = ok("cleanup", "--days-old", "7", "--keep-best", "--yes")
    assert "1 selected run goes, " in said
    assert [is_there(one) for one in (best, second, young)] == [True, False, True]


def test_the_best_of_other_data_and_of_another_metric_stay():
    made_run("english", wer=0.1)
    made_run("korean", wer=0.6, tags={"asr_lab.data.val": "d2"})
    made_run("worse", wer=0.3)
    plan = planned("--keep-best", "1")
    assert {name for name, row in plan.items() if row["what"] == "stays"} == {"english", "korean"}
    plan = planned("--keep-best", "2", "--metric", "train/loss")
    assert sum(row["what"] == "stays" for row in plan.values()) == 2
    assert "val/wer" in refused("cleanup", "--keep-best", "--metric", "val/werr", "--dry-run")


def test_what_finished_without_the_metric_is_not_ranked_and_stays():
    judged, sweep = made_run("judged", wer=0.1), made_run("sweep", wer=None)
    odd, failed = made_run("odd", family="oddities"), made_run("failed", wer=None, status="FAILED")
    worse = made_run("worse", wer=0.5)
    plan = planned("--keep-best")
    assert plan["sweep"]["why"] == "not ranked: it has no val/wer"
    assert plan["odd"]["why"] == "not ranked: its family has no deciding metric"
    ok("cleanup", "--keep-best", "--yes")
    assert [is_there(one) for one in (judged, sweep, odd, failed, worse)] == [True, True, True, False, False]


def test_a_metric_without_a_better_side_ranks_nothing():
    made_run("one", model=True)
    assert "direction" in refused("cleanup", "--keep-best", "--metric", "model/score")


def test_what_is_registered_kept_archived_or_running_stays():
    made_run("registered", register="deepspeech2", days=30)
    made_run("kept", days=30)
    made_run("archived", days=30, tags={"asr_lab.archived": "elsewhere"})
    made_run("running", status="RUNNING")
    ok("keep", "kept")
    plan = planned("--pattern", "*")
    assert {row["what"] for row in plan.values()} == {"stays"}
    assert plan["registered"]["why"] == "registered as deepspeech2/1 @champion"
    assert plan["kept"]["why"] == "kept"
    assert plan["archived"]["why"] == "archived"
    assert plan["running"]["why"] == "running"
    before = files(), all_run_ids()
    ok("cleanup", "--pattern", "*", "--purge", "--yes")
    assert (files(), all_run_ids()) == before


def test_what_is_registered_by_its_source_alone_stays():
    by_model, by_run = made_run("by-model"), made_run("by-run")
    made_version("one", f"models:/{made_model(by_model)}", None)
    made_version("two", f"runs:/{by_run}/model", None)
    plan = planned("--pattern", "by-*")
    assert {row["what"] for row in plan.values()} == {"stays"}


@pytest.mark.parametrize("name", ["o'brien", 'the "best"', "김민수", "a%_"])
def test_what_is_registered_under_a_name_with_quotes_stays(name):
    made_run("mine", register=f"deepspeech2-adapter-{name}")
    made_run("plain", register="deepspeech2")
    plan = planned("--pattern", "*")
    assert plan["mine"]["why"] == f"registered as deepspeech2-adapter-{name}/1 @champion"
    assert plan["plain"]["why"] == "registered as deepspeech2/1 @champion"


@pytest.mark.parametrize("name", ["[bold]x", "[/]"])
def test_names_that_look_like_markup_are_shown_as_they_are(name):
    made_run(name, status="FAILED")
    assert name in ok("show", name)
    assert name in ok("reproduce", name, "--check")
    assert name in ok("cleanup", "--failed", "--dry-run")
    from asr_lab.tracking.cleanup import plan

    plan, out = plan.plan(client(), plan.Selection(failed=True), "delete"), ok("cleanup", "--failed", "--yes")
    assert name in out
    from asr_lab.cli.store.cleanup import _report

    _report(plan, [replace(plan.going[0], why="runs [/] again")], "delete", rows=True)


def test_parents_children_and_bases_of_what_stays_stay():
    sweep = made_run("sweep", days=30)
    made_run("trial-a", days=30, parent=sweep)
    made_run("trial-b", days=1, parent=sweep)
    base = made_run("base", days=30)
    adapter = made_run("anns", days=30, family="adapter", tags={"asr_lab.base": f"runs:/{base}/model"})
    first = made_run("first", days=30, model=True)
    logged = client().get_run(first).outputs.model_outputs[0].model_id
    made_run("finer", days=1, params={"model.pretrained": f"models:/{logged}"})
    plan = planned("--days-old", "7")
    assert plan["sweep"]["why"] == "parent of trial-b, which stays"
    assert plan["first"]["why"] == "base of finer, which stays"
    assert {name for name, row in plan.items() if row["what"] == "goes"} == {"trial-a", "base", "anns"}
    ok("keep", adapter)
    ok("keep", sweep)
    plan = planned("--days-old", "7")
    assert plan["base"]["why"] == "base of anns, which stays"
    assert plan["trial-a"]["why"] == "child of sweep, which is kept"


def test_the_best_trial_stays_with_the_best_sweep():
    for name, wer in (("good", 0.2), ("poor", 0.4)):
        sweep = made_run(name, wer=wer, tags={"asr_lab.kind": "sweep"})
        for number, one in enumerate((wer + 0.1, wer)):
            made_run(f"{name}-{number}", wer=one, parent=sweep, tags={"asr_lab.kind": "trial"}, model=name == "good")
    plan = planned("--keep-best", "1")
    assert {name for name, row in plan.items() if row["what"] == "stays"} == {"good", "good-1"}


def test_stale_runs_go_only_when_asked():
    from asr_lab.system.processes import process_mark

    gone = process_mark().split("|")[0] + "|999999999|1"
    here = made_run("here", status="RUNNING", tags={"asr_lab.process": gone})
    alive = made_run("alive", status="RUNNING", tags={"asr_lab.process": process_mark()})
    silent = made_run("silent", status="RUNNING", days=3, tags={"asr_lab.process": "elsewhere|1|1"})
    made_run("speaking", status="RUNNING", tags={"asr_lab.process": "elsewhere|2|1"})
    plan = planned("--family", "deepspeech2")
    assert plan["here"]["why"] == "running in name only (--stale-running takes it)"
    ok("cleanup", "--stale-running", "--yes")
    assert (is_there(here), is_there(alive), is_there(silent)) == (False, True, False)
    ok("restore", "here")
    assert client().get_run(here).info.status == "KILLED"


@pytest.mark.parametrize("stop", ["set_terminated", "delete_run"])
def test_a_cleanup_of_stale_runs_that_was_cut_off_is_finished(stop, monkeypatch):
    stale = made_run("stale", status="RUNNING", days=3, tags={"asr_lab.process": "elsewhere|1|1"})
    killed = made_run("killed", status="KILLED")
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, stop, lambda *_, **__: 1 / 0)
        assert isinstance(run("cleanup", "--stale-running", "--yes").exception, ZeroDivisionError)
    assert is_there(stale)
    ok("cleanup", "--stale-running", "--yes")
    assert [is_there(one) for one in (stale, killed)] == [False, True]


def test_the_database_of_another_server_is_reported_before_runs_are_marked():
    made_run("mine")
    shutil.copy("mlflow.db", "other.db")
    later = made_run("later", status="FAILED")
    said = refused("cleanup", "--failed", "--purge", "--yes", "--backend-store-uri", f"sqlite:///{Path.cwd()}/other.db")
    assert "does not know run" in said
    assert "asr_lab.cleanup" not in client().get_run(later).data.tags


def test_what_mlflow_run_left_behind_is_stale_too():
    store = client()
    left = store.create_run("0", start_time=1, tags={"mlflow.project.entryPoint": "adapter"}, run_name="left")
    store.create_run("0", start_time=1, run_name="someone-elses")
    assert set(planned("--stale-running")) == {"left"}
    ok("cleanup", "--stale-running", "--yes")
    assert not is_there(left.info.run_id)


def test_what_mlflow_run_may_be_about_to_start_is_not_stale():
    """Without a mark of a process: an `mlflow run` of this machine, or a command that has the run's id, may be it."""
    tags = {"mlflow.project.entryPoint": "train", "mlflow.source.name": f"file://{ROOT}"}
    client().create_run("0", tags=tags | {"mlflow.source.name": "file:///a/project#of/others"}, run_name="theirs")
    left = client().create_run("0", tags=tags, run_name="left").info.run_id
    Path("mlflow").write_text("import time\ntime.sleep(600)")
    for words, environment in ((("mlflow", "run", "."), {}), (("mlflow",), {"MLFLOW_RUN_ID": left})):
        alive = subprocess.Popen([sys.executable, *words], env={**os.environ, **environment})
        try:
            assert not planned("--stale-running")
        finally:
            alive.kill()
            alive.wait()
    until = time.monotonic() + 300
    while not (plan := planned("--stale-running")) and time.monotonic() < until:
        time.sleep(1)  # another test may run `mlflow run` meanwhile
    assert {name: row["why"] for name, row in plan.items()} == {"left": "its process is gone"}


def test_failed_ones_of_a_pattern():
    made_run("test_a", status="FAILED")
    made_run("test_b")
    made_run("Test_C", status="KILLED")
    made_run("real", status="FAILED")
    plan = planned("--pattern", "test_*", "--failed")
    assert set(plan) == {"test_a", "Test_C"}
    assert plan["test_a"]["why"] == "failed, like test_*"


def test_soft_is_undone_by_restore():
    run_id = made_run("mine", days=9, table=None, model=True)
    before = files()
    ok("cleanup", "--days-old", "7", "--yes")
    assert files() == before
    tags = client().get_run(run_id).data.tags
    assert tags["asr_lab.cleanup"].startswith("deleted 20")
    assert "older than 7 days" in tags["asr_lab.cleanup"]
    assert "mine" in ok("restore", "mine")
    assert is_there(run_id)
    assert "asr_lab.cleanup" not in client().get_run(run_id).data.tags
    assert ok("restore", "mine").count("nothing to do") == 1


def rows_about(id: str) -> dict[str, int]:
    """Table -> how many of its rows name an id, over the whole database."""
    found = {}
    with sqlite3.connect("mlflow.db") as database:
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
            conditions = " or ".join(f"cast({column} as text) like ?" for column in columns)
            (count,) = database.execute(
                f"select count(*) from {table} where {conditions}", [f"%{id}%"] * len(columns)
            ).fetchone()
            if count:
                found[table] = count
    return found


def test_purge_erases_rows_files_and_models_of_exactly_these():
    gone, stays = made_run("gone", model=True, status="FAILED"), made_run("stays", model=True)
    other = client().create_run("0", run_name="of someone else")
    deleted_experiment = client().create_experiment("deleted")
    client().delete_experiment(deleted_experiment)
    deleted = made_run("deleted before")
    client().delete_run(deleted)
    model = client().get_run(gone).outputs.model_outputs[0].model_id
    for folder in ("checkpoints", "spool"):
        for id in (gone, stays):
            Path(folder, id).mkdir(parents=True)
    rest = {path for path in files() if gone not in str(path) and model not in str(path)}
    ok("cleanup", "--failed", "--purge", "--yes")
    assert rows_about(gone) == {}
    assert rows_about(model) == {}
    assert files() == rest
    assert not list(Path("mlruns").rglob(f"*{gone}*")) + list(Path("mlruns").rglob(f"*{model}*"))
    assert all_run_ids() == {stays, other.info.run_id, deleted}
    assert client().get_experiment(deleted_experiment).lifecycle_stage == "deleted"
    assert [path.name for path in sorted(Path("checkpoints").iterdir())] == [stays]
    kept = client().get_run(stays)
    assert [one.dataset.name for one in kept.inputs.dataset_inputs] == ["corpus/all"]
    mlflow.pyfunc.load_model(f"models:/{kept.outputs.model_outputs[0].model_id}")


def test_what_was_deleted_before_is_purged_when_asked():
    run_id = made_run("old", days=9)
    ok("cleanup", "--pattern", "old", "--yes")
    assert "only deleted runs" in refused("cleanup", "--pattern", "old", "--purge", "--yes")
    assert run_id in all_run_ids()
    assert planned("--deleted", "--purge")["old"]["why"].startswith("deleted before")
    ok("cleanup", "--deleted", "--purge", "--yes")
    assert rows_about(run_id) == {}
    assert files() == set()


def test_checkpoints_only():
    run_id, kept = made_run("mine"), made_run("kept")
    ok("keep", kept)
    for id in (run_id, kept):
        Path("checkpoints", id, "checkpoint-8").mkdir(parents=True)
        Path("checkpoints", id, "checkpoint-8", "weights").write_bytes(b"x" * 1000)
        client().log_artifact(id, "checkpoints/" + id + "/checkpoint-8/weights", "checkpoints")
    assert planned("--family", "deepspeech2", "--checkpoints-only")["mine"]["bytes"] == 2000
    ok("cleanup", "--family", "deepspeech2", "--checkpoints-only", "--yes")
    assert {path.parent.parent.name for path in Path("checkpoints").rglob("weights")} == {kept}
    assert {item.path for item in client().list_artifacts(run_id)} == {"config.yaml"}
    assert client().get_run(run_id).data.metrics["val/wer"] == 0.3
    assert len(client().get_metric_history(run_id, "train/loss")) == 1


@pytest.mark.parametrize("option", ["--pattern", "--family", "--metric"])
def test_an_option_without_a_value_selects_nothing(option):
    """As in a script whose variable is not set."""
    run_id = made_run("mine", days=9, table=None)
    assert option in refused("cleanup", "--days-old", "7", option, "", "--purge", "--yes")
    assert is_there(run_id)


def test_it_asks_and_no_means_no():
    run_id = made_run("mine", status="FAILED")
    assert run("cleanup", "--failed").exit_code == 1  # no answer is a no
    assert is_there(run_id)


def test_what_changed_since_the_plan_is_left_alone():
    from asr_lab.tracking.cleanup import apply, plan

    ids = [made_run(name, status="FAILED") for name in ("resumed", "kept", "erased", "goes")]
    plan = plan.plan(client(), plan.Selection(failed=True), "delete")
    client().update_run(ids[0], status="RUNNING")
    ok("keep", ids[1])
    client().delete_run(ids[2])
    left = apply.apply(client(), plan, done=lambda: None)
    assert {line.record.name: line.why for line in left} == {
        "resumed": "runs again",
        "kept": "kept",
        "erased": "is deleted already",
    }
    assert not is_there(ids[3])


def test_keep_and_undo():
    run_id = made_run("mine")
    ok("keep", "mine")
    assert client().get_run(run_id).data.tags["asr_lab.keep"] == "true"
    ok("keep", "mine", "--undo")
    ok("keep", "mine", "--undo")
    assert "asr_lab.keep" not in client().get_run(run_id).data.tags


def test_note_adds_and_replaces():
    run_id = made_run("mine", tags={"mlflow.note.content": "- **WER** 30 %"})
    ok("note", "mine", "The microphone was broken.")
    assert client().get_run(run_id).data.tags["mlflow.note.content"] == "- **WER** 30 %\n\nThe microphone was broken."
    ok("note", "mine", "Anew.", "--replace")
    assert client().get_run(run_id).data.tags["mlflow.note.content"] == "Anew."


def test_mistakes_change_nothing():
    ids = [made_run("mine-1"), made_run("mine-2")]
    before = [client().get_run(id).data.tags for id in ids]
    assert "asr-lab cleanup --days-old" in refused("cleanup", "--yes")
    assert "did you mean 'mine-1'" in refused("cleanup", "--pattern", "minee-1", "--yes")
    assert "deepspeech2" in refused("cleanup", "--family", "deepspech", "--yes")
    assert "--purge" in refused("cleanup", "--deleted", "--yes")
    assert "one of the two" in refused("cleanup", "--failed", "--purge", "--checkpoints-only")
    assert "no run 'nothing'" in refused("keep", ids[0], "nothing")
    assert "2 runs" in refused("keep", "mine")
    assert "empty" in refused("note", "mine-1", " ")
    assert "no run" in refused("restore", "nothing")
    assert [client().get_run(id).data.tags for id in ids] == before


def test_a_run_of_a_deleted_experiment():
    run_id = made_run("mine")
    client().delete_experiment(client().get_run(run_id).info.experiment_id)
    assert "mlflow experiments restore -x" in refused("restore", "mine")
    assert not is_there(run_id)


@pytest.mark.parametrize("command", ["cleanup --failed", "keep mine", "restore mine", "forget bob"])
def test_a_store_of_an_older_schema(command, tmp_path):
    run_id = made_run("mine", status="FAILED")
    with sqlite3.connect("mlflow.db") as database:
        (before,) = database.execute("select version_num from alembic_version").fetchone()
        database.execute("update alembic_version set version_num = '451aebb31d03'")
    done = asr_lab(*command.split(), cwd=tmp_path)  # a process of its own: a store that is open is not checked again
    assert done.returncode == 1
    assert "schema" in done.stderr
    assert "Traceback" not in done.stderr
    with sqlite3.connect("mlflow.db") as database:
        database.execute("update alembic_version set version_num = ?", [before])
    assert is_there(run_id)


@pytest.mark.parametrize("command", ["cleanup", "keep", "note", "archive", "restore", "forget"])
def test_help_has_examples(command):
    assert f"asr-lab {command}" in ok(command, "--help").split("Example")[1]
