"""Shipping spools of other folders, other stores and other days, by `asr-lab sync` and beside the next run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path

import mlflow
import pytest
from conftest import ok, refused, run
from outages import assert_points, gone, offline, rows, spec

from asr_lab.system.files import write_text
from asr_lab.system.locks import LockError
from asr_lab.tracking.queries.find import RunNotFoundError, find_run
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.created_runs import run_of_spool
from asr_lab.tracking.spool.delivery import Delivery
from asr_lab.tracking.spool.spool import ROOT, Spool, spools
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tracker import MlflowTracker

pytestmark = pytest.mark.usefixtures("store")


def only_run() -> str:
    ((run_id,),) = rows(Path("mlflow.db"), "SELECT run_uuid FROM runs")
    return str(run_id)


def add(spool: Path, **event) -> None:
    with (spool / "events.jsonl").open("a") as file:
        file.write(json.dumps({"at": 1, **event}) + "\n")


@pytest.mark.parametrize("named", ["{outside}/secret/x.txt", "../../secret/x.txt", "files/../../../secret"])
def test_a_spool_from_elsewhere_ships_nothing_but_its_own_files(store, named):
    secret = store / "secret" / "x.txt"
    secret.parent.mkdir()
    secret.write_text("secret")
    spool = ROOT / offline()
    add(spool, kind="artifact", file=named.format(outside=store), to="taken")
    add(spool, kind="tags", values={"a": "b"}, file=named.format(outside=store))
    said = refused("sync")
    assert "is not a file of the spool" in said
    assert secret.read_text() == "secret"  # neither shipped nor cleared away
    found = mlflow.MlflowClient().list_artifacts(only_run(), "taken")
    assert not found
    assert mlflow.MlflowClient().get_run(only_run()).data.tags["a"] == "b"


def test_a_spool_from_elsewhere_writes_nowhere_but_in_its_run(store):
    spool = ROOT / offline()
    (spool / "files" / "own").mkdir()
    (spool / "files" / "own" / "x.txt").write_text("x")
    add(spool, kind="artifact", file="files/own/x.txt", to="../../../../taken")
    assert "still wait" in refused("sync")
    assert not list(store.rglob("taken"))


def test_a_copy_of_a_spool_makes_no_second_run(store):
    shutil.copytree(ROOT / offline(), "copied/spool/" + next(ROOT.iterdir()).name)
    ok("sync")
    run_id = only_run()
    ok("sync", "copied/spool")
    assert only_run() == run_id
    assert_points(store / "mlflow.db", run_id, range(5))


def test_a_run_recorded_offline_is_named_by_the_id_it_had():
    id = offline()
    for word in (id[:8], f"logs-{id[:8]}"):
        with pytest.raises(RunNotFoundError) as raised:
            find_run(word)
        assert (raised.value.where, raised.value.next_command) == (f"spool/{id}", "asr-lab sync")
    ok("sync")
    assert find_run(id[:8]).info.run_id == only_run()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO, errno.EROFS])
@pytest.mark.slow
def test_what_cannot_be_locked_is_left_behind_aloud(monkeypatch, number):
    ids = {offline(signature="a"), offline(signature="b")}

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        assert os.strerror(number) in refused("sync")
        assert set(sync.waiting(ROOT)["state"]) == {"cannot be locked"}
        with pytest.raises(LockError):  # a new run is not taken for one of another process
            MlflowTracker(offline=True).start(spec(signature="c"))
    assert {spool.id for spool in spools(ROOT)} == ids
    ok("sync")
    assert not ROOT.exists()


def test_what_another_process_records_is_left_behind_aloud():
    with MlflowTracker(offline=True).start(spec()) as run:
        assert run.run_id[:8] in refused("sync")
        assert sync.waiting(ROOT)["state"].tolist() == ["recording"]
    ok("sync")


@pytest.mark.slow
def test_a_spool_that_cannot_be_read_is_left_behind_aloud(store):
    whole, broken = offline(signature="a"), offline(signature="b")
    (ROOT / broken / "header.json").write_text('{"of": "a later version"}')
    assert broken in refused("sync")
    assert [path.name for path in ROOT.iterdir()] == [broken]
    assert sync.waiting(ROOT)["state"].tolist() == ["cannot be read"]
    assert whole not in refused("sync")
    store.joinpath("file").touch()
    assert "Not a directory" in refused("sync", "file")


@pytest.mark.slow
def test_a_broken_spool_keeps_back_no_other(store, monkeypatch):
    broken, whole = offline(signature="a"), offline(signature="b")
    deliver = Delivery.deliver

    def breaking(delivery: Delivery) -> None:
        if delivery.spool.id == broken:
            raise RuntimeError
        deliver(delivery)

    monkeypatch.setattr(Delivery, "deliver", breaking)
    sync.ship_leftovers(ROOT, spools(ROOT)[0].header.uri)
    assert [spool.id for spool in spools(ROOT)] == [broken]
    assert whole != broken
    assert spools(ROOT)[0].lock()


def elsewhere(uri: str = "http://me:secret@tracking.example:5000") -> str:
    """A run that was recorded for another store."""
    id = offline()
    header = json.loads((ROOT / id / "header.json").read_text()) | {"uri": uri}
    write_text(ROOT / id / "header.json", json.dumps(header))
    return id


@pytest.mark.slow
def test_runs_go_to_the_store_they_were_recorded_for(store):
    away, own = elsewhere(), offline(signature="b")
    said = run("sync").output
    assert "to sqlite:///" in said
    assert "1 run recorded for another store" in said
    assert "try: MLFLOW_TRACKING_URI=http://me:***@tracking.example:5000 asr-lab sync" in said
    assert "secret" not in said
    assert [spool.id for spool in spools(ROOT)] == [away]
    assert_points(store / "mlflow.db", only_run(), range(5))
    assert "http://me:***@tracking.example:5000" in ok("sync", "--dry-run")
    assert own != away
    ok("sync", "--here")
    assert not ROOT.exists()
    assert len(rows(store / "mlflow.db", "SELECT run_uuid FROM runs")) == 2


def test_where_a_run_was_made_is_its_store_from_then_on(store, monkeypatch):
    elsewhere()
    monkeypatch.setattr(Delivery, "deliver", Delivery.make_run)
    assert "still wait" in refused("sync", "--here")
    (spool,) = spools(ROOT)
    assert spool.header.uri == f"sqlite:///{store}/mlflow.db"
    monkeypatch.undo()
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # the same file
    ok("sync")
    assert_points(store / "mlflow.db", only_run(), range(5))


def test_what_became_of_each_run_is_reported_to_programs_too(store):
    assert json.loads(ok("sync", "--format", "json")) == []
    offline()
    (waits,) = json.loads(ok("sync", "--dry-run", "--format", "json"))
    assert waits["events"] > 5
    (shipped,) = json.loads(ok("sync", "--format", "json"))
    assert (shipped["run_id"], shipped["shipped"], shipped["left"]) == (only_run(), waits["events"], 0)
    assert "run,run_id,shipped,left,store,trouble" in ok("sync", "--format", "csv")


def test_dropping_is_not_tried_out(store):
    id = offline()
    assert "--dry-run changes nothing" in refused("sync", "--drop", id, "--dry-run", "--yes")
    assert Spool(ROOT / id).waiting() > 5


@pytest.mark.slow
def test_a_store_of_many_experiments_is_searched_whole(store, monkeypatch):
    client, search = tracking_client(), mlflow.MlflowClient.search_experiments
    with MlflowTracker().start(spec()) as cut_off:
        pass
    client.update_run(cut_off.run_id, status="RUNNING")
    client.set_tag(cut_off.run_id, "asr_lab.process", gone())
    for number in range(5):
        client.create_experiment(f"another {number}")

    def two_a_page(client, *_, page_token=None, **__):
        return search(client, max_results=2, page_token=page_token)

    monkeypatch.setattr(mlflow.MlflowClient, "search_experiments", two_a_page)
    with MlflowTracker().start(spec()) as run:
        assert run.run_id == cut_off.run_id
    id = offline(signature="b")
    assert "as run" in ok("sync")
    found = rows(store / "mlflow.db", f"SELECT run_uuid FROM tags WHERE value = '{id}' AND key = 'asr_lab.spool'")
    assert [run_of_spool(client, id)] == [run_id for (run_id,) in found]
