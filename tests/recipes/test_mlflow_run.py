"""`mlflow run .` as typed, on a machine with and without conda: the real command on a tiny project."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import mlflow
import psutil
import pytest
from broken import broken_library
from empty_store import empty_store

BIN = Path(sys.executable).parent
MLFLOW = BIN / "mlflow"
INSTALLED = any(
    point.value.startswith("asr_lab.mlflow_run:") for point in entry_points(group="mlflow.default_experiment_provider")
)
pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="asr_lab is not installed (pip install -e .): MLflow finds no plugin"),
    pytest.mark.skipif(not MLFLOW.exists(), reason="no mlflow beside this Python"),
    pytest.mark.skipif(os.name != "posix", reason="MLflow uses no conda.sh on Windows"),
]

SHOW = """import os, sys
print("python:", sys.executable)
print("conda home:", os.environ.get("MLFLOW_CONDA_HOME"))
print("says:", *sys.argv[1:])
"""


class Project:
    """A project folder with its own tracking store, run in a shell that has not activated the environment."""

    def __init__(self, folder: Path, name: str = "asr_lab") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "conda.yaml").write_text("name: tiny\ndependencies: [python=3.11]\n")
        (folder / "show.py").write_text(SHOW)
        (folder / "MLproject").write_text(
            f"name: {name}\n"
            "conda_env: conda.yaml\n"
            "entry_points:\n"
            "  main:\n"
            "    parameters: {text: {type: string, default: ''}}\n"
            "    command: 'python show.py {text}'\n"
            "  broken: {command: 'python no_such_file.py'}\n"
        )
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        unset = ("CONDA_EXE", "MLFLOW_", "VIRTUAL_ENV", "PYTEST_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(unset)}
        self.environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/store.db"
        self.environment["TMPDIR"] = str(self.temporary)
        self.environment["PATH"] = os.pathsep.join(
            entry
            for entry in os.environ["PATH"].split(os.pathsep)
            if Path(entry) != BIN and shutil.which("conda", path=entry) is None
        )
        if shutil.which("bash", path=self.environment["PATH"]) is None:
            pytest.skip("no bash outside the folders with conda")

    def run(self, *words: str, command: tuple[str, ...] = (str(MLFLOW),)) -> subprocess.CompletedProcess[str]:
        """`mlflow run . WORDS` in the project folder; stderr comes with stdout."""
        return subprocess.run(
            [*command, "run", ".", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def statuses(self) -> list[str]:
        with sqlite3.connect(self.folder / "store.db") as store:
            return [status for (status,) in store.execute("SELECT status FROM runs")]


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("asr_lab: ")]


def assert_ran_here(project: Project, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout
    assert len(said(done)) == 1
    assert sys.prefix in said(done)[0]
    lines = done.stdout.splitlines()
    ran = [Path(line.removeprefix("python: ")).parent for line in lines if line.startswith("python: ")]
    assert ran == [BIN]
    assert "conda home: None" in lines, "a nested `mlflow run` must decide anew"
    assert project.statuses() == ["FINISHED"]
    assert not list(project.temporary.glob("asr_lab-*")), "the stand-in is removed"


def test_without_conda(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    done = project.run("-P", "text=a b;c")
    assert_ran_here(project, done)
    assert "says: a b;c" in done.stdout.splitlines()


def test_an_experiment_that_is_deleted_is_one_message(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    client = mlflow.MlflowClient(empty_store(tmp_path / "lab" / "store.db"))
    client.delete_experiment(client.create_experiment("gone"))
    for option, value, expected in (("name", "gone", "mlflow experiments restore -x 1"), ("id", "77", "id=77")):
        done = project.run(f"--experiment-{option}", value)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout
        assert expected in said(done)[-1]
    assert project.statuses() == []


@pytest.mark.slow
def test_as_a_module(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    assert_ran_here(project, project.run(command=(sys.executable, "-m", "mlflow")))


@pytest.mark.slow
def test_with_an_experiment_name(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    assert_ran_here(project, project.run("--experiment-name", "named"))


@pytest.mark.slow
def test_a_path_with_a_space(tmp_path: Path) -> None:
    """MLflow sources the stand-in's path without quotes, so it must not lie under this TMPDIR."""
    project = Project(tmp_path / "my lab")
    assert_ran_here(project, project.run())


@pytest.mark.slow
def test_a_failing_entry_point_fails_the_run(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    done = project.run("-e", "broken")
    assert done.returncode != 0
    assert len(said(done)) == 1
    assert project.statuses() == ["FAILED"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--env-manager", "local")])
def test_libraries_that_do_not_load_are_reported_before_there_is_a_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    project = Project(tmp_path / "lab")
    folder = broken_library(tmp_path / "path", "torchaudio", "2.11.7", "raise OSError('undefined symbol: torch_x')")
    project.environment["PYTHONPATH"] = str(folder)
    done = project.run(*words)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    [line] = said(done)
    assert "undefined symbol: torch_x" in line
    assert "install torchaudio==" in line
    assert not (project.folder / "store.db").exists()


@pytest.mark.slow
def test_uv_is_asked_for_and_not_there(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    folders = project.environment["PATH"].split(os.pathsep)
    project.environment["PATH"] = os.pathsep.join(one for one in folders if not shutil.which("uv", path=one))
    done = project.run("--env-manager", "uv")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "pip install uv" in said(done)[0]
    assert not (project.folder / "store.db").exists()


@pytest.mark.slow
def test_another_project_is_left_to_mlflow(tmp_path: Path) -> None:
    done = Project(tmp_path / "lab", name="other").run()
    assert done.returncode != 0
    assert "Could not find Conda executable" in done.stdout
    assert said(done) == []


@pytest.mark.slow
def test_an_environment_manager_of_the_users_choice(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    project.environment["PATH"] = f"{BIN}{os.pathsep}{project.environment['PATH']}"
    done = project.run("--env-manager", "local")
    assert done.returncode == 0, done.stdout
    assert said(done) == []
    assert project.statuses() == ["FINISHED"]


@pytest.mark.slow
def test_with_conda_mlflow_uses_it(tmp_path: Path) -> None:
    project = Project(tmp_path / "lab")
    conda = tmp_path / "conda" / "bin"
    conda.mkdir(parents=True)
    (conda / "conda").write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n[ "$2" = list ] && echo \'{{"envs": []}}\'\nexit 0\n'
    )
    (conda / "conda").chmod(0o755)
    (conda / "activate").write_text(f'export PATH="{BIN}:$PATH"\n')
    project.environment["PATH"] = f"{conda}{os.pathsep}{project.environment['PATH']}"
    done = project.run()
    assert done.returncode == 0, done.stdout
    assert said(done) == []
    assert "env create -n mlflow-" in (tmp_path / "asked").read_text()
    assert project.statuses() == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whole_group", "number"), [(True, signal.SIGINT), (False, signal.SIGTERM), (False, signal.SIGKILL)]
)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_a_command_that_is_stopped_while_it_imports(tmp_path: Path, whole_group: bool, number: int) -> None:
    """Its run is killed, whoever receives the signal, and nothing runs on."""
    project = Project(tmp_path / "lab")
    (project.folder / "MLproject").write_text(
        "name: asr_lab\nconda_env: conda.yaml\nentry_points:\n  main: {command: 'python -m asr_lab train a.yaml'}\n"
    )
    project.environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [MLFLOW, "run", "."],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = iter(process.stdout.readline, "")
    assert any("Running command" in line for line in lines)
    while not any(map(has_begun, psutil.Process(process.pid).children(recursive=True))):
        assert process.poll() is None
        time.sleep(0.01)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    rest = process.stdout.read()  # until the command has ended too
    process.wait(60)
    assert "Traceback" not in rest
    assert rest.count("stopped; the same command continues") == 1
    assert project.statuses() == ["KILLED"]


def has_begun(process: psutil.Process) -> bool:
    """Whether it is the command, and handles signals."""
    with suppress(OSError, psutil.Error):
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return "asr_lab" in process.cmdline() and bool(caught >> (signal.SIGTERM - 1) & 1)
    return False
