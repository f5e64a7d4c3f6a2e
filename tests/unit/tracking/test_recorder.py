"""The Recorder on a store of its own: what is sent twice is there once, what is refused keeps nothing back."""

from __future__ import annotations

import json
import math
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path

import mlflow
import pytest
from outages import NAMES, assert_points, gone, log, offline, rows, spec

from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.created_runs import run_of_spool
from asr_lab.tracking.spool.delivery import Delivery
from asr_lab.tracking.spool.journal import Event
from asr_lab.tracking.spool.spool import ROOT, Spool, SpoolError, spools
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tracker import MlflowTracker

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def client(store):
    return tracking_client()


@pytest.fixture
def weights(tmp_path):
    """The folder of a model, as far as it is logged."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "vocab.json").write_text("{}")
    return folder


def cut_off(run) -> None:
    """Leave a run as the death of its process does."""
    run.spool.release()
    header = run.spool.folder / "header.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"process": gone()}))


def test_sent_again_from_the_beginning_everything_is_there_once(client, store, monkeypatch):
    """As after a crash between the sending and the noting of it: the offset is taken back after each request."""
    offline()
    (spool,) = spools(ROOT)
    assert spool.lock()
    kept = "asr_lab.tracking.spool.delivery.Delivery._clear"
    monkeypatch.setattr(kept, lambda *_: None)
    for _ in range(3):
        spool.save(offset=0)
        Delivery(spool, client).deliver()
    spool.save(offset=0, run_id="", models={})  # the id itself was not noted
    Delivery(spool, client).deliver()
    run_id = spool.state.run_id
    assert_points(store / "mlflow.db", run_id, range(5))
    assert rows(store / "mlflow.db", "SELECT count(*) FROM runs") == [(1,)]
    run = client.get_run(run_id)
    assert len(run.outputs.model_outputs) == len(run.inputs.dataset_inputs) == 1
    assert len(client.search_model_versions("name = 'tiny'")) == 1
    assert run.data.tags["mlflow.note.content"] == "best of all; models:/tiny/1"
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/config.yaml") == "recipe: deepspeech2\n"


def test_of_a_new_run_the_store_is_asked_nothing(client, store, monkeypatch):
    """Nothing can be there yet; each question would cost a trial of a sweep as much as its metrics do."""
    asked = []
    for name in ("get_run", "update_run"):
        monkeypatch.setattr(f"mlflow.MlflowClient.{name}", lambda *_, name=name, **__: asked.append(name))
    with MlflowTracker(new_run=True).start(spec()) as run:
        log(run, range(2))
        assert run.flush()
    monkeypatch.undo()
    assert not asked
    made = client.get_run(run.run_id)
    assert made.info.run_name == made.data.tags["mlflow.runName"] == run.name
    assert (made.info.status, made.data.tags["asr_lab.family"]) == ("FINISHED", run.spec.family)
    assert made.data.params.keys() == run.spec.params.keys()
    assert mlflow.artifacts.load_text(f"runs:/{run.run_id}/config.yaml") == run.spec.config_yaml


def test_a_model_recorded_offline_is_not_registered_beside_another_kind(client):
    client.create_registered_model("tiny")
    client.create_model_version("tiny", "models", client.create_run("0").info.run_id, tags={"asr_lab.family": "lm"})
    offline()
    (spool,) = spools(ROOT)
    assert spool.lock()
    Delivery(spool, client).deliver()
    (refused,) = spool.refused()
    assert "language models" in refused["why"]
    run = client.get_run(spool.state.run_id)
    assert run.info.status == "FINISHED"
    assert run.outputs.model_outputs
    assert len(client.search_model_versions("name = 'tiny'")) == 1


def test_a_tag_that_changed_back_after_a_lost_answer_is_sent(client, monkeypatch):
    offline()
    (spool,) = spools(ROOT)
    assert spool.lock()
    delivery, log_batch = Delivery(spool, client), client.log_batch
    kind, was = "asr_lab.kind", spool.header.tags["asr_lab.kind"]

    def lost(run_id, **content) -> None:
        log_batch(run_id, **content)
        raise TimeoutError("no answer")

    monkeypatch.setattr(client, "log_batch", lost)
    delivery.make_run()
    for value in ("another", was):
        with suppress(TimeoutError):
            delivery.sender.send([Event("tags", 0, {"values": {kind: value}}, 0)])
    assert client.get_run(spool.state.run_id).data.tags[kind] == was


@pytest.mark.parametrize("shipped", [False, True])
def test_a_run_that_is_continued_knows_what_it_has(client, store, monkeypatch, shipped):
    """By its spool, or, where that is shipped and gone, by the store."""
    monkeypatch.setattr("asr_lab.system.processes.process_mark", gone)
    first = MlflowTracker(offline=not shipped).start(spec())
    assert first.last_steps() == {}  # a new run
    log(first, range(6, 9))
    first.metrics({"val/wer": 0.5}, 4)
    for step in range(3):
        first.metrics({"model/params": 7.0, "fold/wer": math.nan}, step)
    first._code.join()
    if shipped:
        assert first.flush()
        first._shipper.stop(60)
    first.spool.release()  # as its process's death does
    assert ROOT.exists() != shipped
    with MlflowTracker(offline=not shipped).start(spec()) as run:
        assert run.resumed
        assert run.last_steps() == dict.fromkeys(NAMES, 8) | {"val/wer": 4, "model/params": 2, "fold/wer": 2}
        log(run, range(2))
        assert run.last_steps()[NAMES[0]] == 8  # the last is the highest
        for step in range(4):
            run.metrics({"model/params": 7.0 if step != 1 else 8.0, "fold/wer": math.nan}, step)
        run_id = run.run_id
    sync.ship(ROOT)
    run_id = run_of_spool(client, run_id) or run_id
    points = {name: client.get_metric_history(run_id, name) for name in ("model/params", "fold/wer")}
    assert sorted(point.step for point in points["fold/wer"]) == [0, 1, 2, 3]
    assert sorted((point.step, point.value) for point in points["model/params"]) == [
        (0, 7), (1, 7), (1, 8), (2, 7), (3, 7)
    ]  # fmt: skip


def test_a_model_has_the_figures_of_its_run(client, store, monkeypatch):
    ticking = count(1_700_000_000_000)  # a millisecond passes whenever the clock is read
    monkeypatch.setattr("asr_lab.tracking.spool.spool.now_ms", lambda: next(ticking))
    with MlflowTracker().start(spec()) as run:
        log(run, range(3))
        Path("weights").mkdir()
        Path("weights/w.bin").write_text("1")
        uri = run.model(RegisteredModel(name="tiny", files={"model": Path("weights")}), register=True)
        assert uri == "models:/tiny/1"  # it can be used at once
    logged = client.get_run(run.run_id).outputs.model_outputs[0].model_id
    figures = {metric.key: metric.value for metric in client.get_logged_model(logged).metrics}
    assert figures[NAMES[1]] == pytest.approx(2.001)
    assert_points(store / "mlflow.db", run.run_id, range(3))


def test_a_name_that_mlflow_refuses_keeps_nothing_back(client, store, capsys):
    with MlflowTracker().start(spec()) as run:
        log(run, range(3))
        run.metrics({"wer(%)": 0.5})
        log(run, range(3, 6))
    assert "1 event waits" in capsys.readouterr().err
    assert_points(store / "mlflow.db", run.run_id, range(6))
    assert client.get_run(run.run_id).info.status == "FINISHED"
    (done,) = sync.ship(ROOT)
    assert "wer(%)" in done.trouble
    assert sync.drop(ROOT, run.run_id) == run.name
    assert not ROOT.exists()


def test_children_that_were_offline_find_their_parent(client, store):
    tracker = MlflowTracker(offline=True)
    with tracker.start(spec(kind="group", signature="p", resumable=False)) as parent:
        for number in range(2):
            with tracker.start(spec(signature=f"c{number}", parent=parent.run_id), own=True) as child:
                log(child, range(2))
    sync.ship(ROOT)
    experiment = client.get_experiment_by_name("deepspeech2").experiment_id
    (top,) = client.search_runs([experiment], "tags.`asr_lab.kind` = 'group'")
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{top.info.run_id}'")
    assert len(children) == 2
    assert parent.run_id != top.info.run_id


def test_a_child_that_is_shipped_after_its_parent_is_gone_from_the_disk(client, store):
    tracker = MlflowTracker(offline=True)
    with tracker.start(spec(kind="group", signature="p", resumable=False)) as parent:
        pass
    sync.ship(ROOT)
    with tracker.start(spec(signature="c", parent=parent.run_id), own=True):
        pass
    sync.ship(ROOT)
    found = client.search_runs([client.get_experiment_by_name("deepspeech2").experiment_id])
    ids = {run.data.tags["asr_lab.kind"]: run for run in found}
    assert ids["train"].data.tags["mlflow.parentRunId"] == ids["group"].info.run_id


def test_a_late_twin_of_a_request_that_was_given_up_is_deleted(client, store):
    local = offline()
    experiment = client.create_experiment("deepspeech2")
    twin = client.create_run(experiment, start_time=9_999_999_999_999, tags={"asr_lab.spool": local})
    (spool,) = spools(ROOT)
    assert spool.lock()
    spool.save(attempts=1)
    Delivery(spool, client).make_run()  # takes the one that is there
    assert spool.state.run_id == twin.info.run_id
    late = client.create_run(experiment, tags={"asr_lab.spool": local})
    Delivery(spool, client).deliver()
    assert client.get_run(late.info.run_id).info.lifecycle_stage == "deleted"
    assert client.get_run(twin.info.run_id).info.lifecycle_stage == "active"


def test_an_adopted_run_goes_on_where_an_offline_one_was_cut_off(client, store, monkeypatch):
    first = MlflowTracker(offline=True).start(spec())
    log(first, range(3))
    (first.checkpoints / "checkpoint-1").mkdir(parents=True)
    cut_off(first)
    made = client.create_run(client.create_experiment("elsewhere"))
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    with MlflowTracker().start(spec()) as run:
        assert run.resumed
        assert run.run_id == made.info.run_id
        assert (run.checkpoints / "checkpoint-1").is_dir()
        log(run, range(3, 5))
    sync.ship(ROOT)
    assert client.get_run(made.info.run_id).data.tags["asr_lab.resumed_from"] == first.spool.id
    experiment = client.get_experiment_by_name("deepspeech2").experiment_id
    (old,) = client.search_runs([experiment])
    assert old.info.status == "KILLED"
    assert old.data.tags["asr_lab.continued_by"] == made.info.run_id
    assert_points(store / "mlflow.db", old.info.run_id, range(3))


def test_a_point_is_logged_once_also_in_a_resumed_run_and_beside_the_model(client, weights):
    points = {"model/params": 3.0, "test/wer": 0.2}
    first = MlflowTracker(offline=True).start(spec())
    first.metrics(points)
    first.metrics(points)
    cut_off(first)
    with MlflowTracker().start(spec()) as run:
        assert run.resumed
        run.metrics(points)
        run.model(RegisteredModel(name="tiny", files={"model": weights}), register=False)
    for name in points:
        assert len(client.get_metric_history(run.run_id, name)) == 1


def test_a_run_that_fails_on_a_full_disk_says_both(store, monkeypatch, capsys):
    def full(*_, **__):
        raise SpoolError("the run cannot be recorded: No space left on device")

    run = MlflowTracker(offline=True).start(spec())
    monkeypatch.setattr(Spool, "append", full)
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert "could not be closed: the run cannot be recorded" in capsys.readouterr().err


def test_a_webhook_is_called_when_a_run_ends_and_not_for_children(store, monkeypatch):
    told: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ASR_LAB_ON_END", f"http://127.0.0.1:{server.server_address[1]}/hook")
    with MlflowTracker().start(spec()) as run:
        run.metrics({"val/wer": 0.25})
        with MlflowTracker().start(spec(signature="c", parent=run.run_id), own=True):
            pass
    server.shutdown()
    assert [(one["id"], one["status"]) for one in told] == [(run.run_id, "FINISHED")]
    assert told[0]["value"] == 0.25


def test_a_hook_that_nobody_answers_fails_nothing(store, monkeypatch, capsys):
    monkeypatch.setenv("ASR_LAB_ON_END", "http://127.0.0.1:9/")
    with MlflowTracker().start(spec()):
        pass
    assert "ASR_LAB_ON_END" in capsys.readouterr().err


def test_two_deliveries_of_a_run_in_one_process_do_not_meet(store, monkeypatch):
    run = MlflowTracker().start(spec())
    growing = count()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "waiting", lambda _: next(growing))  # it is being recorded
        (left,) = sync.ship(ROOT)
    assert left.events == 0
    assert left.trouble
    run.finish("FINISHED")
    assert not ROOT.exists()


def test_what_mlflow_would_cut_is_reported_in_a_line_of_ours(client, capsys, caplog):
    with MlflowTracker().start(spec()) as run:
        run.params({"run.intended_use": "p" * 9000, "run.license": "x" * 6000})
        run.note("n" * 9000)
        run.tags({"asr_lab.speaker": "a" * 8000})
    kept = client.get_run(run.run_id)
    assert (kept.data.params["run.intended_use"], kept.data.tags["mlflow.note.content"]) == ("p" * 6000, "n" * 8000)
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in said if "9,000" in line] == ["run.intended_use", "mlflow.note.content"]
    assert not [record for record in caplog.records if "truncated" in record.message]
