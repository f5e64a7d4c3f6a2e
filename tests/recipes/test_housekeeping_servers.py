"""Housekeeping through tracking servers, on PostgreSQL and S3, and with everything killed half-way."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import servers
import sqlalchemy
from conftest import asr_lab, ok, refused
from empty_store import empty_store
from forks import Forked
from made import all_run_ids, client, made_run, scores

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store")]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """The environment of an S3 endpoint."""
    with servers.s3_endpoint(tmp_path_factory.mktemp("s3")) as env:
        yield env


def empty_bucket(env: dict[str, str]) -> None:
    import boto3

    store = boto3.resource("s3", endpoint_url=env["AWS_ENDPOINT_URL"], aws_access_key_id="test",
                           aws_secret_access_key="test", region_name="us-east-1")  # fmt: skip
    store.Bucket(servers.BUCKET).objects.delete()


@pytest.fixture(params=["sqlite and a folder", "PostgreSQL and S3"])
def server(request, tmp_path, monkeypatch):
    """A tracking server that also keeps the artifacts; in the end it is killed."""
    with ExitStack() as stack:
        artifacts, env = str(tmp_path / "server"), {}
        if request.param == "PostgreSQL and S3":
            database, artifacts = stack.enter_context(servers.postgres_database()), f"s3://{servers.BUCKET}/runs"
            env = request.getfixturevalue("endpoint")
            stack.callback(empty_bucket, env)
        else:
            database = empty_store(tmp_path / "server.db", "mlflow-artifacts:")
        made = servers.mlflow_server(tmp_path, database, artifacts, env)
        made.database, made.artifacts = database, artifacts
        made.start()
        stack.callback(made.kill)
        for name, value in (env | {"MLFLOW_TRACKING_URI": made.uri}).items():
            monkeypatch.setenv(name, value)
        yield made


def kept(server) -> list[str]:
    """Every artifact that the server keeps."""
    if not server.artifacts.startswith("s3:"):
        return [str(path) for path in Path(server.artifacts).rglob("*") if path.is_file()]
    import boto3

    store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    return [one["Key"] for one in store.list_objects_v2(Bucket=servers.BUCKET).get("Contents", [])]


def rows_about(server, id: str) -> dict[str, int]:
    """Table -> how many rows of the server's database name an id."""
    engine, found = sqlalchemy.create_engine(server.database), {}
    with engine.connect() as connection:
        for table in sqlalchemy.inspect(engine).get_table_names():
            rows = connection.execute(sqlalchemy.text(f'select * from "{table}"')).all()
            if count := sum(id in str(row) for row in rows):
                found[table] = count
    engine.dispose()
    return found


def test_purge_through_a_server_and_then_in_its_database(server):
    gone, stays = made_run("gone", status="FAILED", model=True), made_run("stays", model=True)
    model = client().get_run(gone).outputs.model_outputs[0].model_id
    rest = sorted(path for path in kept(server) if gone not in path and model not in path)
    said = asr_lab("cleanup", "--failed", "--purge", "--yes", cwd=Path.cwd(), env={"MLFLOW_TRACKING_URI": server.uri})
    assert said.returncode == 0, said.stderr
    assert "cleanup --purge --backend-store-uri" in said.stderr
    assert "1 selected run goes, " in said.stdout
    assert "; 0 stay" in said.stdout
    assert sorted(kept(server)) == rest
    assert client().get_run(gone).info.lifecycle_stage == "deleted"
    assert "erased already" in refused("restore", gone)
    assert "no condition selects runs" in refused("cleanup", "--purge", "--yes")  # all that a server can do is done
    wrong = "sqlite:///other.db"
    assert "no such backend store" in refused("cleanup", "--purge", "--yes", "--backend-store-uri", wrong)
    ok("cleanup", "--purge", "--yes", "--backend-store-uri", server.database)
    assert rows_about(server, gone) == rows_about(server, model) == {}
    assert all_run_ids() == {stays}
    assert sorted(kept(server)) == rest


def test_archive_and_restore_through_a_server(server):
    to = f"s3://{servers.BUCKET}/archive" if server.artifacts.startswith("s3:") else "bundles"
    run_id = made_run("mine", points=300, model=True, table=scores("ann", "bob"))
    files, points = len(kept(server)), client().get_metric_history(run_id, "train/loss")
    ok("archive", run_id, "--to", to, "--purge", "--yes", "--backend-store-uri", server.database)
    assert all_run_ids() == set()
    bundle = f"{to}/mine-{run_id[:8]}.tar.zst"
    ok("restore", bundle)
    assert "nothing to do" in ok("restore", bundle)
    [again] = all_run_ids()
    assert client().get_metric_history(again, "train/loss") == points
    assert len([path for path in kept(server) if ".tar.zst" not in path]) == files


def test_forget_through_a_server_says_what_is_left(server):
    own = made_run("own", family="adapter", tags={"asr_lab.speaker": "johanna"}, table=scores("johanna"))
    both = made_run("both", table=scores("johanna", "bob"))
    if server.artifacts.startswith("s3:"):
        ok("archive", own, both, "--to", f"s3://{servers.BUCKET}/archive")
    said = refused("forget", "johanna", "--yes")
    assert "not all is erased: rows of 2 runs" in said
    assert not [path for path in kept(server) if own in path or "own-" in path or "val.html" in path]
    ok("forget", "johanna", "--yes", "--backend-store-uri", server.database)
    assert rows_about(server, "johanna") == {}
    assert both in all_run_ids()


def test_a_server_killed_during_cleanup(server):
    failed = [made_run(f"failed-{number}", status="FAILED", wer=None) for number in range(25)]
    stays = made_run("stays")
    words = ["-m", "asr_lab", "cleanup", "--failed", "--yes", "--no-sizes"]
    process = Forked(words, cwd=Path.cwd(), env=os.environ, stderr=subprocess.PIPE)
    while all(client().get_run(one).info.lifecycle_stage == "active" for one in failed):
        time.sleep(0.05)
    server.kill()
    began = time.monotonic()
    _, said = process.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert process.returncode == 1, said
    assert "Error: " in said
    assert "Traceback" not in said
    server.start()
    left = [one for one in failed if client().get_run(one).info.lifecycle_stage == "active"]
    assert 0 < len(left) < 25
    ok("cleanup", "--failed", "--yes")
    assert all(client().get_run(one).info.lifecycle_stage == "deleted" for one in failed)
    assert client().get_run(stays).info.lifecycle_stage == "active"


def test_a_purge_killed_half_way_is_finished_by_the_next(tmp_path):
    failed = [made_run(f"failed-{number}", status="FAILED", model=number % 4 == 0) for number in range(40)]
    stays = made_run("stays", model=True)
    rest = {path for path in tmp_path.glob("mlruns/**/*") if stays in str(path)}
    words = ["-m", "asr_lab", "cleanup", "--failed", "--purge", "--yes", "--no-sizes"]
    process = Forked(words, cwd=tmp_path, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _count("runs") > 35:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 < _count("runs") <= 35
    with sqlite3.connect("mlflow.db") as database:  # what was being erased is out of sight, and can be told
        half = database.execute("select run_uuid from runs where lifecycle_stage = 'deleted'").fetchall()
    assert all(client().get_run(one).data.tags["asr_lab.cleanup"].startswith("purge") for (one,) in half)
    ok("cleanup", "--failed", "--purge", "--yes")
    assert all_run_ids() == {stays}
    assert len(failed) == 40
    assert _count("logged_models") == 1
    assert {path for path in tmp_path.glob("mlruns/**/*") if stays in str(path)} == rest
    assert sorted(path.name for path in tmp_path.glob("mlruns/*/*") if len(path.name) == 32) == [stays]


def _count(table: str) -> int:
    with sqlite3.connect("mlflow.db", timeout=20) as database:
        return int(database.execute(f"select count(*) from {table}").fetchone()[0])
