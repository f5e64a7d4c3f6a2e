"""A copied or moved project: nothing touches the files of the original, and `doctor --relocate` makes it whole."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from conftest import ok, refused, run
from empty_store import empty_store, moved
from made import client, log_scores, made_run, scores

from asr_lab import mlflow_run
from asr_lab.errors import AsrLabError
from asr_lab.system import libraries
from asr_lab.tracking import doctor, moved_server, moved_store, relocation
from asr_lab.tracking.connection import StoreUnavailableError
from asr_lab.tracking.moved_store import MovedStoreError, find_moved, refuse_moved
from asr_lab.tracking.spool.header import Header
from asr_lab.tracking.spool.spool import Spool


def stand_in(folder: Path, monkeypatch, database: str = "mlflow.db") -> str:
    """Work in a folder as another process would, with its store; the URI."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
    uri = f"sqlite:///{folder}/{database}"
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(uri)
    return uri


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, with a digest of its bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def values(folder: Path, table: str, column: str) -> list[str]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [value for (value,) in database.execute(f"SELECT {column} FROM {table} ORDER BY rowid")]


def rewrite(folder: Path, table: str, column: str, old: str, new: str) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", [old, new])


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project with old runs: a registered one, john's, a failed one, one in a bundle, and one in nothing else."""
    folder = tmp_path_factory.mktemp("template") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        empty_store(folder / "mlflow.db")
        stand_in(folder, patch)
        made_run("base", register="deepspeech2", days=30)
        johns = made_run("john", model=True, days=30, tags={"asr_lab.speaker": "john"})
        log_scores(johns, scores("john", "john"))
        failed = made_run("failed", status="FAILED", days=30)
        client().log_text(failed, "weights", "checkpoints/checkpoint-1/weights.bin")
        made_run("bundled", days=30)
        ok("archive", "bundled", "--to", "bundles")
        ok("archive", made_run("gone", days=30), "--to", "bundles", "--purge", "--yes")
        folder.joinpath("corpus").mkdir()
        folder.joinpath("corpus/all.jsonl.gz").write_text("")
        client().log_param(failed, "data.train", str(folder / "corpus/all.jsonl.gz"))
        client().log_param(failed, "data.elsewhere", str(folder / "not-copied.jsonl.gz"))
    return folder


@pytest.fixture
def project(template, tmp_path):
    """A project in a folder of its own."""
    folder = shutil.copytree(template, tmp_path / "project")
    moved(folder / "mlflow.db", str(template), str(folder))
    return folder


@pytest.fixture
def copied(project, tmp_path, monkeypatch):
    """A copy of it, which the test stands in."""
    folder = shutil.copytree(project, tmp_path / "elsewhere" / "copy")
    stand_in(folder, monkeypatch)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("cleanup", "--days-old", "1", "--purge", "--yes"),
        ("cleanup", "--days-old", "1", "--checkpoints-only", "--yes"),
        ("cleanup", "--failed", "--yes"),
        ("archive", "john", "--to", "elsewhere", "--purge", "--yes"),
        ("forget", "john", "--yes"),
        ("register", "john", "--name", "other"),
        ("export", "models:/other/1", "--to", "onnx", "--out", "exported", "--register", "other-onnx"),
        ("export", "models:/other/1", "--to", "onnx", "--out", "exported", "--log"),
        ("restore", "BUNDLE"),
        ("compare", "john", "base", "--log"),
        ("sync",),
    ],
    ids=" ".join,
)
def test_what_writes_files_is_refused_in_a_copy(command, project, copied):
    bundle = next(Path("bundles").glob("gone-*"))
    spool = Spool.create(Path("spool"), "a" * 32, header("sqlite:///mlflow.db"))
    spool.append("begin", name="pending")
    spool.release()
    before = content(project), content(copied)
    said = refused(*(str(bundle) if part == "BUNDLE" else part for part in command))
    assert "asr-lab doctor --relocate" in said
    assert str(project) in said
    assert (content(project), content(copied)) == before


def test_a_store_whose_disk_is_away_is_not_relocated(project, tmp_path, monkeypatch):
    """A project that keeps its artifacts on another disk, which is not mounted."""
    folder = tmp_path / "kept"
    folder.mkdir()
    shutil.copy(project / "mlflow.db", folder)
    project.rename(tmp_path / "unmounted")
    stand_in(folder, monkeypatch)
    before = content(folder)
    refused("doctor", "--relocate", "--yes")
    assert content(folder) == before


def test_a_folder_that_was_allowed_once_is_no_copy_s_own(project, copied, monkeypatch):
    monkeypatch.setenv("ASR_LAB_ARTIFACT_ROOTS", str(project))
    refuse_moved("sqlite:///mlflow.db")
    monkeypatch.delenv("ASR_LAB_ARTIFACT_ROOTS")
    with pytest.raises(MovedStoreError):
        refuse_moved("sqlite:///mlflow.db")


def test_a_locked_store_is_not_taken_for_one_in_its_place(copied, monkeypatch):
    monkeypatch.setattr(moved_store, "_PATIENCE_S", 0.1)
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailableError):
            refuse_moved("sqlite:///mlflow.db")


def test_no_training_records_into_a_copy(project, copied):
    from asr_lab.interfaces.tracking import RunSpec
    from asr_lab.tracking.tracker import MlflowTracker

    spec = RunSpec(family="x", kind="train", model_type="x", name="x", signature="s", params={}, config_yaml="")
    before = content(project), content(copied)
    with pytest.raises(MovedStoreError):
        MlflowTracker().start(spec)
    assert (content(project), content(copied)) == before
    ok("doctor", "--relocate", "--yes")
    with MlflowTracker().start(spec) as recorder:
        recorder.text("written", "note.txt")
    assert list(copied.glob("mlruns/*/*/artifacts/note.txt"))
    assert content(project) == before[0]


def test_what_reads_or_writes_rows_alone_warns_once(project, copied):
    before = content(project)
    assert ok("list").count("copied or moved") == 1
    for command in (
        ("show", "john"),
        ("keep", "john"),
        ("note", "john", "text"),
        ("archive", "john", "--to", "own"),
        ("restore", "john"),
        ("cleanup", "--days-old", "1", "--purge", "--dry-run"),
        ("promote", "deepspeech2", "--alias", "candidate"),
    ):
        assert "copied or moved" not in ok(*command)
    assert content(project) == before


def test_the_doctor_writes_no_probe_into_the_original(project, copied, monkeypatch):
    monkeypatch.setattr(libraries, "load_errors", lambda _: {})
    monkeypatch.setattr(doctor, "gpu", lambda: doctor.Check("gpu", "warn", "none"))
    before = content(project)
    rows = json.loads(run("doctor", "--format", "json").stdout)
    assert next(row for row in rows if row["name"] == "artifacts")["state"] == "fail"
    assert content(project) == before


def test_a_relocated_copy_stands_alone(project, copied):
    original, own = content(project), content(copied)
    said = ok("doctor", "--relocate", "--dry-run")
    assert f"{project} becomes {copied}" in said
    assert run("doctor", "--relocate").exit_code == 1  # nobody answers
    assert content(copied) == own
    ok("doctor", "--relocate", "--yes")
    backup = next(copied.glob("mlflow.db.*.bak"))
    with closing(sqlite3.connect(backup)) as database:
        assert database.execute("SELECT artifact_location FROM experiments").fetchone()[0].startswith(str(project))
    with closing(sqlite3.connect(copied / "mlflow.db")) as database:
        assert [line for line in database.iterdump() if f"{project}/mlruns" in line] == []
    params = values(copied, "params", "value")
    assert f"{copied}/corpus/all.jsonl.gz" in params
    assert f"{project}/not-copied.jsonl.gz" in params  # what is not here stays where it was
    assert find_moved(f"sqlite:///{copied}/mlflow.db") is None
    assert "nothing to do" in ok("doctor", "--relocate", "--yes")
    assert len(list(copied.glob("mlflow.db.*.bak"))) == 1
    assert backup.stat().st_mode == (copied / "mlflow.db").stat().st_mode
    ok("forget", "john", "--yes")
    ok("cleanup", "--days-old", "1", "--purge", "--yes")
    assert not list(copied.rglob("weights.bin"))
    assert content(project) == original
    shutil.rmtree(project)
    mlflow.pyfunc.load_model("models:/deepspeech2@champion")
    assert all(
        tag.startswith(f"{copied}/bundles/") for tag in values(copied, "tags WHERE key = 'asr_lab.bundles'", "value")
    )


def as_uri(folder: Path) -> str:
    return folder.as_uri()


FORMS = {
    "path": str,
    "file URI": as_uri,
    "file:/": lambda folder: f"file:{folder}",
    "Windows": lambda folder: f"C:\\Users\\ada\\{folder.name}",
    "Windows URI": lambda folder: f"file:///C:/Users/ada/{folder.name}",
}


@pytest.mark.parametrize("name", ["plain", "with space, 한국어 #1"])
@pytest.mark.parametrize("form", FORMS)
def test_a_moved_project_is_made_whole(form, name, project, tmp_path, monkeypatch):
    old = FORMS[form](project)
    for table, column in relocation._ARTIFACTS:
        rewrite(project, table, column, str(project), old)
    folder = tmp_path / name
    project.rename(folder)
    uri = stand_in(folder, monkeypatch)
    with pytest.raises(MovedStoreError):
        refuse_moved(uri)
    ok("doctor", "--relocate", "--yes")
    refuse_moved(uri)
    new = folder.as_uri() if old.startswith("file:") else str(folder)
    assert values(folder, "experiments", "artifact_location") == [f"{new}/mlruns/0", f"{new}/mlruns/1"]
    assert all(
        Path(mlflow.artifacts.download_artifacts(f"runs:/{id}/")).is_dir() for id in values(folder, "runs", "run_uuid")
    )
    assert not project.exists()


@pytest.mark.parametrize("name", ["My%20Project", "a%41"])
def test_no_store_is_made_or_written_where_mlflow_reads_another_folder(name, project, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert "mv " in refused("list")
    assert not any(folder.iterdir())
    shutil.copytree(project, folder, dirs_exist_ok=True)
    for refusing in (lambda: refuse_moved("sqlite:///mlflow.db"), lambda: relocation.plan("sqlite:///mlflow.db")):
        with pytest.raises(AsrLabError) as refusal:
            refusing()
        assert refusal.value.where == str(folder)
        assert name.replace("%", "_") in refusal.value.next_command
    (tmp_path / "100% new").mkdir()
    monkeypatch.chdir(tmp_path / "100% new")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///beside-{name[:1]}.db")  # MLflow remembers it in this process
    assert "no runs yet" in ok("list")


def test_artifacts_that_mlflow_kept_in_another_folder_are_fetched_by_the_command_of_the_message(tmp_path, monkeypatch):
    folder, read = tmp_path / "a%20b", tmp_path / "a b"
    folder.mkdir()
    monkeypatch.chdir(folder)
    uri = "sqlite:///kept.db"  # a name of its own: MLflow remembers relative ones for the process
    client = mlflow.MlflowClient(uri)
    client.log_text(client.create_run("0").info.run_id, "a text", "a.txt")
    assert any(read.rglob("a.txt"))
    with pytest.raises(AsrLabError) as refusal:
        refuse_moved(uri)
    moves, _, relocate = refusal.value.next_command.rpartition(" && ")
    subprocess.run(moves, shell=True, check=True)
    monkeypatch.chdir(tmp_path / "a_20b")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert relocate == "asr-lab doctor --relocate"
    ok("doctor", "--relocate", "--yes")
    (run,) = mlflow.MlflowClient(uri).search_runs(["0"])
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a.txt") == "a text"


def test_relative_locations_are_those_of_the_working_folder(project, tmp_path, monkeypatch):
    rewrite(project, "experiments", "artifact_location", f"{project}/", "./")
    rewrite(project, "runs", "artifact_uri", f"{project}/", "")
    rewrite(project, "logged_models", "artifact_location", f"{project}/", "")
    folder = shutil.copytree(project, tmp_path / "copy")
    uri = stand_in(folder, monkeypatch)
    assert find_moved(uri) is None
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")  # there, the same names lead to no files
    with pytest.raises(MovedStoreError):
        refuse_moved(uri)


def test_a_store_reached_by_a_link_is_not_moved(project, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(project)
    assert find_moved(stand_in(link, monkeypatch)) is None
    for table, column in relocation._ARTIFACTS:
        rewrite(project, table, column, str(project), str(link))  # made through the link
    assert find_moved(stand_in(project, monkeypatch)) is None
    shutil.move(project / "mlruns", tmp_path / "big")
    (project / "mlruns").symlink_to(tmp_path / "big")
    assert find_moved(stand_in(project, monkeypatch)) is None
    (tmp_path / "db").symlink_to(project / "mlflow.db")
    assert find_moved(f"sqlite:///{tmp_path}/db") is None


def test_a_copy_whose_files_are_linked_is_not_relocated(project, tmp_path, monkeypatch):
    shutil.move(project / "mlruns", tmp_path / "big")
    (project / "mlruns").symlink_to(tmp_path / "big")
    folder = shutil.copytree(project, tmp_path / "copy", symlinks=True)
    stand_in(folder, monkeypatch)
    before = content(tmp_path)
    assert "link" in refused("doctor", "--relocate", "--yes")
    assert content(tmp_path) == before


def test_the_database_alone_is_not_enough(project, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(project / "mlflow.db", folder)
    uri = stand_in(folder, monkeypatch)
    said = refused("doctor", "--relocate", "--yes")
    assert f"cp -a {project}/mlruns {folder}/mlruns" in said
    shutil.copytree(project / "mlruns", folder / "mlruns")
    ok("doctor", "--relocate", "--yes")
    refuse_moved(uri)


@pytest.mark.parametrize("inner", ["backup", "mlruns/../nested"])
def test_a_copy_inside_its_original_and_an_original_inside_its_copy(inner, project, tmp_path, monkeypatch):
    folder = project / inner
    shutil.copytree(project, tmp_path / "aside")
    shutil.copytree(tmp_path / "aside", folder)
    uri = stand_in(folder, monkeypatch)
    before = content(project / "mlruns")
    assert find_moved(uri) is not None
    ok("doctor", "--relocate", "--yes")
    assert find_moved(uri) is None
    outer = f"sqlite:///{project}/mlflow.db"
    assert find_moved(outer) is None
    shutil.copy(folder.resolve() / "mlflow.db", project / "mlflow.db")  # now the outer one names the inner files
    assert find_moved(outer) is not None
    assert content(project / "mlruns") == before


def test_places_chosen_on_purpose_stay_usable(tmp_path, monkeypatch):
    folder, big = tmp_path / "project", tmp_path / "big"
    folder.mkdir()
    empty_store(folder / "mlflow.db", artifacts=f"{big}/mlruns")  # mlflow server --default-artifact-root
    (big / "mlruns").mkdir(parents=True)
    uri = stand_in(folder, monkeypatch)
    client().create_experiment("deepspeech2", f"{big}/speech")
    made_run("one", status="FAILED", days=30)
    ok("cleanup", "--failed", "--purge", "--yes")
    refuse_moved(uri)
    kept = made_run("two", status="FAILED", days=30)
    shutil.copytree(folder, tmp_path / "copy")
    stand_in(tmp_path / "copy", monkeypatch)
    before = content(big)
    assert "asr-lab doctor --relocate" in refused("cleanup", "--failed", "--purge", "--yes")  # both use the files
    assert content(big) == before
    assert f"cp -a {big}" in refused("doctor", "--relocate", "--yes")
    monkeypatch.setenv("ASR_LAB_ARTIFACT_ROOTS", str(big))
    ok("cleanup", "--failed", "--purge", "--yes")
    assert not list(big.rglob(f"*{kept}*"))
    monkeypatch.delenv("ASR_LAB_ARTIFACT_ROOTS")
    shutil.rmtree(tmp_path / "copy")
    folder.rename(tmp_path / "renamed")  # moved: nobody else uses the files
    refuse_moved(stand_in(tmp_path / "renamed", monkeypatch))


def test_a_stranger_s_store_in_the_way_is_no_original(tmp_path, monkeypatch):
    """A central database, used in a folder that has a store of its own as well."""
    work, central = tmp_path / "work", tmp_path / "central"
    for folder in (work, central):
        folder.mkdir()
        empty_store(folder / "mlflow.db", f"{work}/mlruns")
    assert find_moved(f"sqlite:///{central}/mlflow.db") is not None
    with closing(sqlite3.connect(central / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET creation_time = creation_time + 1")
    monkeypatch.chdir(work)
    refuse_moved(f"sqlite:///{central}/mlflow.db", f"sqlite:///{work}/mlflow.db")


def test_a_server_s_database_is_checked_too(project, copied, monkeypatch):
    from asr_lab.tracking.cleanup.erase import Eraser

    tracking = client()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(MovedStoreError):
        Eraser(tracking, f"sqlite:///{copied}/mlflow.db")


def test_a_server_tells_its_clients_of_its_copied_store(project, copied, monkeypatch):
    """The server's side is in its database, so the client of the test reads it there."""
    theirs, ours = f"sqlite:///{copied}/mlflow.db", f"sqlite:///{project}/mlflow.db"
    address = "http://127.0.0.1:1"
    monkeypatch.setattr("asr_lab.tracking.store.client", lambda: mlflow.MlflowClient(theirs))
    for words in (["server"], ["ui", "--backend-store-uri", theirs], ["server", f"--backend-store-uri={theirs}"]):
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", theirs)
        assert mlflow_run.served_store(["/bin/mlflow", *words], []) == theirs
    assert not mlflow_run.served_store(["/bin/mlflow", "run", "."], [])
    assert moved_server.mark(ours) == []
    refuse_moved(address)
    moved_server._former_folders.cache_clear()
    mlflow_run.mark_moved(theirs)
    with pytest.raises(AsrLabError) as refusal:
        refuse_moved(address)
    assert (str(project) in refusal.value.what, refusal.value.where) == (True, f"behind {address}")
    with monkeypatch.context() as allowed:
        allowed.setenv(moved_store.VARIABLE, str(project))
        refuse_moved(address)
    ok("doctor", "--relocate", "--yes")
    assert moved_server.mark(theirs) == []
    moved_server._former_folders.cache_clear()
    refuse_moved(address)
    moved_server._former_folders.cache_clear()


def test_only_sqlite_stores_are_relocated(store, monkeypatch):
    (store / "mlflow.db").write_bytes(b"no database, although its name says so")
    assert "no SQLite database" in refused("doctor", "--relocate")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    assert "only an SQLite store" in refused("doctor", "--relocate")


def header(uri: str) -> Header:
    return Header(
        uri=uri, family="x", kind="train", signature="s", name="pending", started_ms=1, tags={}, process="other|1|1"
    )


def pending(folder: Path, uri: str) -> Spool:
    spool = Spool.create(folder / "spool", "b" * 32, header(uri))
    spool.append("begin", name="pending")
    spool.release()
    return spool


def test_pending_runs_move_along(project, tmp_path, monkeypatch):
    pending(project, f"sqlite:///{project}/mlflow.db")
    folder = project.rename(tmp_path / "renamed")
    stand_in(folder, monkeypatch)
    ok("doctor", "--relocate", "--yes")
    assert Spool(folder / "spool" / ("b" * 32)).header.uri == f"sqlite:///{folder}/mlflow.db"
    assert "shipped" in ok("sync")


def test_all_or_nothing(project, copied, monkeypatch):
    spool = pending(copied, f"sqlite:///{project}/mlflow.db")
    before = content(copied)
    planned = relocation.plan(f"sqlite:///{copied}/mlflow.db")
    monkeypatch.setattr("asr_lab.tracking.moved_store._PATIENCE_S", 0.1)
    with closing(sqlite3.connect(copied / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AsrLabError):
            relocation.relocate(planned)
    assert content(copied) == before
    rewrite(copied, "experiments", "artifact_location", "/mlruns/1", "/mlruns/2")  # by another process
    with pytest.raises(AsrLabError):
        relocation.relocate(planned)
    rewrite(copied, "experiments", "artifact_location", "/mlruns/2", "/mlruns/1")
    assert not list(copied.glob("*.bak"))
    assert Spool(spool.folder).header.uri == f"sqlite:///{project}/mlflow.db"


def test_killed_in_the_middle_it_starts_again(project, copied, monkeypatch):
    pending(copied, f"sqlite:///{project}/mlflow.db")
    rows = values(copied, "runs", "artifact_uri")
    child = os.fork()
    if not child:
        describe = Spool.describe
        monkeypatch.setattr(Spool, "describe", lambda *own: (describe(*own), os.kill(os.getpid(), signal.SIGKILL)))
        relocation.relocate(relocation.plan(f"sqlite:///{copied}/mlflow.db"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert values(copied, "runs", "artifact_uri") == rows
    ok("doctor", "--relocate", "--yes")
    assert values(copied, "runs", "artifact_uri") != rows
    assert Spool(copied / "spool" / ("b" * 32)).header.uri == f"sqlite:///{copied}/mlflow.db"
