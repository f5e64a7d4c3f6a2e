"""The tracking server is killed, hangs, refuses or loses answers, the trainer is killed: every point is counted."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import mlflow
import pytest
from conftest import asr_lab
from forks import Forked
from outages import NAMES, Proxy, Server, Training, assert_points, environment, rows

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A server that is never killed."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def proxy(steady):
    proxy = Proxy(steady.port)
    yield proxy
    proxy.close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def sync(folder: Path, uri: str, *words: str, code: int = 0) -> str:
    done = asr_lab("sync", *words, cwd=folder, env=environment(uri))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def status(database: Path, run_id: str) -> str:
    return rows(database, f"SELECT status FROM runs WHERE run_uuid = '{run_id}'")[0][0]


def test_the_server_is_killed_and_comes_back_while_it_trains(folder, server):
    training = Training(folder, server.uri, 700)
    training.reached(30)
    server.kill()
    training.reached(200)  # it did not wait
    server.start()
    said = training.finish()
    run_id = training.id()
    if "events wait" in said:  # it was not long enough back
        sync(folder, server.uri)
    assert_points(server.database, run_id, range(700))
    assert status(server.database, run_id) == "FINISHED"
    assert not (folder / "spool").exists()


def test_the_server_never_comes_back_and_the_next_day_everything_is_shipped_once(folder, server):
    training = Training(folder, server.uri, 150, "model")
    training.reached(20)
    server.kill()
    began = time.monotonic()
    training.reached(149)
    assert time.monotonic() - began < 30
    said = training.finish()
    assert said.count("\n") == 1, said
    assert "events, a model among them, wait in spool/" in said
    assert "asr-lab sync" in said
    model = next(line for line in training.said() if line.startswith("model"))
    assert (folder / model.split()[1] / "MLmodel").is_file()
    assert "does not answer" in sync(folder, server.uri, code=1)
    server.start()
    waits = json.loads(sync(folder, server.uri, "--dry-run", "--format", "json"))
    assert waits[0]["events"] > 100
    run_id = training.id()
    assert f"as run {run_id}" in sync(folder, server.uri)
    assert_points(server.database, run_id, range(150))
    assert status(server.database, run_id) == "FINISHED"
    client = mlflow.MlflowClient(server.uri)
    version = client.get_model_version_by_alias("tiny", "champion")
    assert version.run_id == run_id
    assert [item.path for item in client.list_artifacts(run_id, "eval")] == ["eval/page.html"]
    assert "no runs are pending" in sync(folder, server.uri)
    assert len(client.search_model_versions("name = 'tiny'")) == 1


def test_the_server_is_killed_while_what_waits_is_shipped(folder, server):
    """A long run, so that shipping takes many requests; killed in the middle of it, twice."""
    training = Training(folder, server.uri, 1500, "offline", "model")
    training.finish()
    seen = 0
    for _ in range(2):
        words = ["-m", "asr_lab", "sync"]
        shipping = Forked(words, cwd=folder, env=environment(server.uri), stderr=subprocess.PIPE)
        while _points(server) <= seen and shipping.poll() is None:
            time.sleep(0.02)
        server.kill()
        _, said = shipping.communicate(timeout=120)
        assert shipping.returncode == 1, said
        assert "still wait" in said
        server.start()
        assert seen < _points(server) < 15_000
        seen = _points(server)
    sync(folder, server.uri)
    ((run_id,),) = server.rows("SELECT run_uuid FROM runs")
    assert_points(server.database, run_id, range(1500))
    assert len(mlflow.MlflowClient(server.uri).search_model_versions("name = 'tiny'")) == 1
    assert status(server.database, run_id) == "FINISHED"


def _points(server: Server) -> int:
    return int(server.rows("SELECT count(*) FROM metrics")[0][0])


def test_the_trainer_is_killed_and_sync_ships_what_it_had_logged(folder, steady):
    training = Training(folder, steady.uri, 5000)
    training.reached(100)
    os.kill(training.process.pid, signal.SIGKILL)
    training.process.wait()
    last = max(int(line.split()[1]) for line in training.said() if line.startswith("step"))
    logged = (folder / "spool" / training.id() / "events.jsonl").read_text().count(f'"{NAMES[0]}"')
    assert logged in (last + 1, last + 2)
    assert "cut off" in sync(folder, steady.uri, "--dry-run")
    sync(folder, steady.uri)
    run_id = training.id()
    assert_points(steady.database, run_id, range(logged))
    assert status(steady.database, run_id) == "RUNNING"
    again = Training(folder, steady.uri, 50, first=logged)
    again.finish()
    assert f"started {run_id} True" in again.said()
    assert_points(steady.database, run_id, range(logged + 50))
    assert status(steady.database, run_id) == "FINISHED"


def test_the_same_command_goes_on_from_a_spool_that_was_never_shipped(folder, steady):
    """Killed offline, continued offline, continued with a server: one run, all points."""
    for first in (0, 100):
        training = Training(folder, steady.uri, 100, "offline", "hold", first=first)
        training.reached(first + 50)
        os.kill(training.process.pid, signal.SIGKILL)
        training.process.wait()
    (spool,) = (folder / "spool").iterdir()
    logged = [json.loads(line) for line in (spool / "events.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in logged if event["kind"] == "metrics" and NAMES[0] in event["values"]]
    assert len(steps) > 100
    with (spool / "events.jsonl").open("a") as file:
        file.write('{"kind":"metrics","at":17')  # as a kill in the middle of writing leaves it
    again = Training(folder, steady.uri, 50, first=1000)
    assert again.finish() == ""
    run_id = again.id("ended")
    assert f"started {spool.name} True" in again.said()
    found = rows(steady.database, f"SELECT step FROM metrics WHERE run_uuid = '{run_id}' AND key = '{NAMES[0]}'")
    assert sorted(step for (step,) in found) == sorted([*steps, *range(1000, 1050)])
    tagged = rows(steady.database, f"SELECT value FROM tags WHERE run_uuid = '{run_id}' AND key = 'asr_lab.spool'")
    assert tagged == [(spool.name,)]


def test_the_next_run_ships_what_waits(folder, steady):
    first = Training(folder, steady.uri, 200, "offline")
    first.finish()
    spool = first.id()
    second = Training(folder, steady.uri, 20)
    assert second.finish() == ""
    found = rows(
        steady.database,
        f"SELECT r.run_uuid FROM runs r JOIN tags t ON r.run_uuid = t.run_uuid WHERE t.value = '{spool}'",
    )
    assert len(found) == 1
    assert_points(steady.database, found[0][0], range(200))
    assert not (folder / "spool").exists()


def test_offline_keeps_the_times_as_they_were(folder, steady):
    training = Training(folder, "http://127.0.0.1:9", 100, "offline")
    assert "asr-lab sync ships them" in training.finish()
    time.sleep(2)
    assert "recorded for another store" in sync(folder, steady.uri, code=1)
    said = sync(folder, steady.uri, "--here")
    run_id = said.split("as run ")[1].split()[0]
    run = mlflow.MlflowClient(steady.uri).get_run(run_id)
    assert run.info.run_name == f"logs-{run_id[:8]}"
    assert run.info.end_time / 1000 == pytest.approx((folder / "err.txt").stat().st_mtime, abs=1)
    assert 2000 <= run.info.end_time - run.info.start_time < 60_000
    assert run.data.params == {"train.epochs": "3", "train.lr": "0.1"}


@pytest.mark.parametrize("mode", [403, 500, 507, "hang"])
def test_a_server_that_refuses_is_full_or_hangs_does_not_stop_training(folder, steady, proxy, mode):
    training = Training(folder, proxy.uri, 300, MLFLOW_HTTP_REQUEST_TIMEOUT="3")
    training.reached(30)
    proxy.mode = mode
    began = time.monotonic()
    said = training.finish()
    assert time.monotonic() - began < 300 * 0.03 + 25
    assert "events wait" in said
    assert proxy.calls > 0
    assert any(part in sync(folder, proxy.uri, code=1) for part in ("still wait", "does not answer"))
    proxy.mode = "pass"
    sync(folder, proxy.uri)
    assert_points(steady.database, training.id(), range(300))


@pytest.mark.parametrize("mode", [403, 503, "hang"])
def test_a_server_that_does_not_work_at_the_start_is_one_warning(folder, steady, proxy, mode):
    proxy.mode = mode
    training = Training(folder, proxy.uri, 20, MLFLOW_HTTP_REQUEST_TIMEOUT="3")
    said = training.finish()
    assert said.count("warning") == 1, said
    assert "events wait" in said
    proxy.mode = "pass"
    run_id = sync(folder, proxy.uri).split("as run ")[1].split()[0]
    assert_points(steady.database, run_id, range(20))


@pytest.mark.parametrize(
    "path", ["runs/create", "runs/log-batch", "logged-models", "model-versions/create", "runs/outputs"]
)
def test_an_answer_that_is_lost_makes_nothing_twice(folder, steady, proxy, path):
    """The server does what it is asked, and the client never hears of it."""
    client = mlflow.MlflowClient(steady.uri)
    before = len(client.search_logged_models([_experiment(client)]))
    versions = len(client.search_model_versions("name = 'tiny'"))
    proxy.mode, proxy.only = "swallow", path
    training = Training(folder, proxy.uri, 30, "model")
    training.finish()
    assert proxy.calls > 0
    proxy.mode = "pass"
    sync(folder, proxy.uri)
    run_id = str(steady.rows("SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1")[0][0])
    assert_points(steady.database, run_id, range(30))
    spool = rows(steady.database, f"SELECT value FROM tags WHERE run_uuid = '{run_id}' AND key = 'asr_lab.spool'")[0][0]
    made = "SELECT count(*) FROM runs r JOIN tags t ON r.run_uuid = t.run_uuid"
    assert rows(steady.database, f"{made} WHERE t.value = '{spool}' AND lifecycle_stage = 'active'") == [(1,)]
    assert len(client.search_model_versions("name = 'tiny'")) == versions + 1
    assert len(client.search_logged_models([_experiment(client)])) == before + 1
    assert len(client.get_run(run_id).outputs.model_outputs) == 1


def _experiment(client: mlflow.MlflowClient) -> str:
    found = client.get_experiment_by_name("deepspeech2")
    return found.experiment_id if found else client.create_experiment("deepspeech2")


def test_a_limit_on_files_is_one_message_and_what_was_logged_is_shipped(folder, steady):
    training = Training(folder, steady.uri, 5000, "offline")
    training.reached(20)
    resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    said = training.finish(code=1)
    assert said.count("the run cannot be recorded: File too large") == 1
    assert "ulimit -f" in said
    assert "Traceback" not in said
    (spool,) = (folder / "spool").iterdir()
    assert (spool / "events.jsonl").read_bytes().endswith(b"\n")
    steps = (spool / "events.jsonl").read_text().count(f'"{NAMES[0]}"')
    run_id = sync(folder, steady.uri).split("as run ")[1].split()[0]
    assert steps > 20
    assert_points(steady.database, run_id, range(steps))


def test_two_processes_never_ship_one_spool(folder, steady):
    training = Training(folder, steady.uri, 1000)
    training.reached(50)
    assert "recording" in sync(folder, steady.uri, "--dry-run")
    sync(folder, steady.uri, code=1)
    assert "is being recorded" in sync(folder, steady.uri, "--drop", training.id(), "--yes", code=1)
    training.process.kill()
    training.process.wait()


def test_a_deleted_run_is_said_and_can_be_dropped(folder, steady):
    training = Training(folder, steady.uri, 2000)
    training.reached(100)
    training.process.kill()
    training.process.wait()
    mlflow.MlflowClient(steady.uri).delete_run(training.id())
    assert "was deleted" in sync(folder, steady.uri, code=1)
    assert "on no tracking store" in sync(folder, steady.uri, "--drop", training.id()[:8], "--yes")
    assert "no runs are pending" in sync(folder, steady.uri)


def test_a_failing_run_is_failed_and_its_end_is_reported(folder, steady):
    command = "cat > told.json; echo $ASR_LAB_RUN_STATUS > status.txt; exit 3"
    training = Training(folder, steady.uri, 20, "fails", ASR_LAB_ON_END=command)
    assert "ASR_LAB_ON_END" in training.finish(code=1)
    told = json.loads((folder / "told.json").read_text())
    assert (told["status"], told["id"]) == ("FAILED", training.id())
    assert (folder / "status.txt").read_text() == "FAILED\n"
    assert status(steady.database, training.id()) == "FAILED"
    again = Training(folder, steady.uri, 20, first=20)
    again.finish()
    assert f"started {training.id()} True" in again.said()
    assert_points(steady.database, training.id(), range(40))
