"""`mlflow run .` on a machine without conda.

This project has a `conda.yaml`, and for such a project MLflow uses conda unless `--env-manager` names
another: no environment variable, no field of `MLproject` and no backend option changes that. Without
conda the command fails, and leaves a run in status RUNNING for ever.

MLflow imports the modules named by its plugin entry points on every `import mlflow`, before it chooses an
environment. That moment is used here: when the command is `mlflow run` of this project, no environment
manager was asked for, and there is no conda, `MLFLOW_CONDA_HOME` is pointed at a stand-in that reports
the environment as existing and activates the one `mlflow` itself runs in. MLflow does the rest as always: the
run, its parameters, its status from the exit code.

The same moment is used to name the run: MLflow makes it with a name such as `aged-elk-662`, asks no plugin for another
(run contexts are for `mlflow.start_run` alone), and takes one only by `--run-name`, which is added where it was not
given. The run renames itself once its configuration is read.

Of `mlflow server` that moment is used to look whether its store was copied or moved, which its clients cannot see.

The same moment is used to refuse, before MLflow has made a run, what cannot work: `--env-manager uv` without uv, and
libraries that do not load. Where torch and torchaudio are not of a pair that was tested, they are loaded in a process
of its own, which takes some seconds. The tracking store is checked too, and its tables are created where there are
none, as `asr-lab` does it. And the command ends with `mlflow run`, however that ends.

As a part of every `import mlflow` this never imports mlflow (it is half imported), costs next to nothing
and raises nothing else: whatever is unexpected is left to MLflow.

Not covered: `mlflow.projects.run(".")` from Python, where neither the command line nor a plugin hook shows
which project is meant. Pass `env_manager="local"` there.
"""

from __future__ import annotations

import atexit
import contextlib
import getopt
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PROJECT_NAME = "asr_lab"
_DATABASE = Path("mlflow.db")  # MLflow's default store, unless ./mlruns has experiments from before

# The options of `mlflow run`; a test compares them with MLflow's own.
SHORT_OPTIONS = "e:v:P:A:b:c:"
LONG_OPTIONS = [
    *("entry-point=", "version=", "param-list=", "docker-args=", "experiment-name=", "experiment-id="),
    *("backend=", "backend-config=", "env-manager=", "storage-dir=", "run-id=", "run-name=", "build-image"),
    "help",
]

# Each shows that conda is installed, or that MLflow is configured to use it.
CONDA_SETTINGS = ("CONDA_EXE", "MLFLOW_CONDA_HOME", "MLFLOW_CONDA_CREATE_ENV_CMD")

CONDA = """#!/bin/sh
# Stands in for conda during one `mlflow run`.
if [ "$*" = "env list --json" ]; then echo {envs}; fi
"""

CONDA_SH = """unset MLFLOW_CONDA_HOME  # it has done its work: a nested `mlflow run` decides anew
export PATH={bin}:"$PATH"
conda() {{ :; }}
"""


class CondaFreeProjects:
    """What the entry point names: the experiment of a `mlflow run` of this project that was given none.

    It is MLflow's default experiment, unless that is deleted; in other commands MLflow decides.
    """

    def in_context(self) -> bool:
        return _runs_this_project

    def get_experiment_id(self) -> str:
        from mlflow import MlflowClient

        from asr_lab.tracking.store import default_experiment_id

        return default_experiment_id(MlflowClient())


_runs_this_project = False


def project_call(argv: Sequence[str], orig_argv: Sequence[str]) -> tuple[str, str] | None:
    """(URI, environment manager or "") of `mlflow run URI` on this machine; None for any other command.

    `argv` and `orig_argv` are those of `sys`: during `python -m mlflow`, `argv[0]` is only "-m".
    Raises `getopt.GetoptError` on an option `mlflow run` does not have.
    """
    if not argv:
        return None
    if _program(argv, orig_argv) != "mlflow":
        return None
    group, words = getopt.getopt(list(argv[1:]), "", ["env-file="])
    if words[:1] != ["run"] or any("CONDA" in Path(file).read_text() for _, file in group):
        return None
    pairs, arguments = getopt.gnu_getopt(words[1:], SHORT_OPTIONS, LONG_OPTIONS)
    options = dict(pairs)
    backend = options.get("--backend", options.get("-b", "local"))
    if backend != "local" or "--help" in options or len(arguments) != 1:
        return None
    return arguments[0], options.get("--env-manager", "")


def _program(argv: Sequence[str], orig_argv: Sequence[str]) -> str:
    return orig_argv[-len(argv)].removeprefix("-m") if argv[:1] == ["-m"] else Path([*argv, ""][0]).name


def provisional_name(argv: Sequence[str]) -> str:
    """A name for the run of `mlflow run`, by its entry point and parameters: `adapter-john`; "" if it was given one.

    Raises `getopt.GetoptError` on an option `mlflow run` does not have.
    """
    pairs, _ = getopt.gnu_getopt(_behind_group(argv)[1:], SHORT_OPTIONS, LONG_OPTIONS)
    options = dict(pairs)
    if "--run-name" in options or "--run-id" in options:
        return ""
    given = dict(value.partition("=")[::2] for key, value in pairs if key in ("-P", "--param-list"))
    entry = options.get("-e", options.get("--entry-point", "main"))
    entry, default = ("adapter", "john") if entry == "main" else (entry, "")
    about = given.get("run.name") or given.get("name") or Path(given.get("config", default)).stem
    return "-".join(filter(None, (entry, re.sub(r"[^\w.@-]+", "_", about)[:40])))


def _behind_group(argv: Sequence[str]) -> list[str]:
    """The words of `mlflow` from its command on."""
    return getopt.getopt(list(argv[1:]), "", ["env-file="])[1]


def conda_file(uri: str) -> Path | None:
    """The conda file MLflow would use, when `uri` (`DIR` or `DIR#SUBFOLDER`) is this project, else None."""
    folder, _, subfolder = uri.strip("'\"").partition("#")
    root = Path(folder) / subfolder
    mlproject = next((path for path in root.iterdir() if path.name.lower() == "mlproject"), None)
    if mlproject is None:
        return None
    import yaml

    project: dict[str, Any] = yaml.safe_load(mlproject.read_text())
    others = {"python_env", "docker_env", "databricks_spark_job"} & project.keys()
    if project.get("name") != PROJECT_NAME or others:
        return None
    if "conda_env" not in project and (root / "python_env.yaml").exists():
        return None
    file = root / (project.get("conda_env") or "conda.yaml")
    return file if file.is_file() else None


def write_stand_in(home: Path, conda_yaml: str, bin_folder: str) -> None:
    """Fill `home` with the two files MLflow takes from a conda installation (`mlflow/utils/conda.py`).

    The environment's name is MLflow's: a hash of `conda_yaml`. Should it differ, MLflow asks this conda to
    create it, which succeeds too.
    """
    name = "mlflow-" + hashlib.sha1(conda_yaml.encode(), usedforsecurity=False).hexdigest()
    conda, activate = home / "bin" / "conda", home / "etc" / "profile.d" / "conda.sh"
    for file in (conda, activate):
        file.parent.mkdir(parents=True)
    conda.write_text(CONDA.format(envs=shlex.quote(json.dumps({"envs": [name]}))))
    conda.chmod(0o755)
    activate.write_text(CONDA_SH.format(bin=shlex.quote(bin_folder)))


def refuse_broken_libraries() -> None:
    """End this process, before MLflow makes a run, when the libraries of its environment do not load."""
    from asr_lab.system import libraries

    if libraries.is_tested_pair():
        return
    try:
        libraries.check()
    except libraries.BrokenLibraryError as error:
        raise SystemExit(f"asr_lab: {error}") from None


def prepare_store() -> None:
    """Check the tracking store, and create its tables where there are none; end this process if it cannot be used."""
    from asr_lab.errors import AsrLabError
    from asr_lab.tracking import connection, migrations

    uri = connection.tracking_uri()
    try:
        migrations.make_ready(uri)
    except AsrLabError as error:
        raise SystemExit(f"asr_lab: {error}") from None
    if uri == connection.DEFAULT_URI:  # MLflow's own default is ./mlruns where that has experiments from before
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{_DATABASE.absolute()}"


def stop_with_command() -> None:
    """End the command of the run with this process, and this process by SIGTERM and SIGHUP as by Ctrl-C."""
    from asr_lab.system.stopping import ENDING, MLFLOW_RUN

    folder = tempfile.mkdtemp(prefix="asr_lab-")
    os.environ[MLFLOW_RUN] = f"{os.getpid()} {folder}"
    atexit.register(end_killed, Path(folder))
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
        elif any(one.__name__ == "MlflowException" for one in kind.__mro__):
            print(f"asr_lab: {refused_by_mlflow(str(error))}", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = hook


def refused_by_mlflow(message: str) -> str:
    """Explain what MLflow raises where it makes no run, such as for an experiment that is deleted or not there."""
    why = message.strip().partition("\n")[0].removesuffix(".")
    again = "mlflow experiments search --view all lists the experiments"
    if "state is deleted" in why and (id := re.search(r"experiment (\d+)", why)):
        again = f"mlflow experiments restore -x {id[1]} brings it back with its runs, or give another --experiment-name"
    return f"MLflow makes no run: {why}; {again}"


def end_killed(folder: Path) -> None:
    """End as KILLED the run of a command that was stopped: MLflow has just called it FAILED."""
    left = []
    try:
        folder.rmdir()  # what is stopped later ends its run itself
    except OSError:
        left = [file.name for file in folder.glob("*")]
        shutil.rmtree(folder, ignore_errors=True)
    for run_id in left:
        with contextlib.suppress(Exception):  # the store is away: it could not call it FAILED either
            sys.modules["mlflow"].MlflowClient().set_terminated(run_id, "KILLED")


def choose_served() -> str:
    """Return the store of a server that was given none: `mlflow.db`, also where MLflow would choose `./mlruns`.

    MLflow refuses `./mlruns`; this process exits with the command that migrates it if that has not been done yet.
    """
    from asr_lab.errors import AsrLabError
    from asr_lab.tracking import connection, file_store, schema

    uri = connection.DEFAULT_URI
    if file_store.is_refused(Path(file_store.ROOT)):
        try:
            ready = connection.check_connection(uri) is schema.State.READY
            file_store.refuse_default(_DATABASE if ready else None)  # not checked yet where MLFLOW_TRACKING_URI is set
        except AsrLabError as error:
            raise SystemExit(f"asr_lab: {error}") from None
        os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    return uri


def served_store(argv: Sequence[str], orig_argv: Sequence[str]) -> str | None:
    """The store that `mlflow server` or `mlflow ui` was given; "" if none was, None for other commands."""
    if _program(argv, orig_argv) != "mlflow" or _behind_group(argv)[:1] not in (["server"], ["ui"]):
        return None
    given = ""
    for word, after in itertools.pairwise([*_behind_group(argv), ""]):
        name, _, value = word.partition("=")
        if name == "--backend-store-uri":
            given = value or after
    return given or os.environ.get("MLFLOW_BACKEND_STORE_URI", "")


def mark_moved(uri: str) -> None:
    """Notify the clients of a server whose store was copied or moved, and its log."""
    from asr_lab.tracking import moved_server

    if uri.startswith("sqlite") and (folders := moved_server.mark(uri)):
        print(
            f"asr_lab: warning: the tracking store was copied or moved: its artifacts are in {', '.join(folders)}, and "
            "clients with asr_lab write nothing to it; with the server stopped: asr-lab doctor --relocate",
            file=sys.stderr,
        )


def prepare() -> None:
    """Prepare a `mlflow run` of this project: libraries, store, and the stand-in where there is no conda.

    For `mlflow server` and `mlflow ui`: choose the store if none was given, and mark one that was copied or moved.
    """
    global _runs_this_project
    served = served_store(sys.argv, sys.orig_argv)
    if served is not None:
        mark_moved(served or choose_served())
        return
    call = project_call(sys.argv, sys.orig_argv)
    if call is None:
        return
    uri, manager = call
    file = conda_file(uri)
    if file is None:
        return
    stop_with_command()
    if name := provisional_name(sys.argv):
        behind = len(sys.argv) - len(_behind_group(sys.argv)) + 1
        sys.argv[behind:behind] = ["--run-name", name]
    if manager == "uv" and not shutil.which("uv"):
        raise SystemExit("asr_lab: --env-manager uv needs uv, which is not there: pip install uv")
    without_conda = not (
        manager or os.name != "posix" or shutil.which("conda") or any(map(os.environ.get, CONDA_SETTINGS))
    )
    if manager == "local" or without_conda:
        refuse_broken_libraries()
    if not any(word.startswith("--env-file") for word in sys.argv):  # which may name the store, and is not read yet
        prepare_store()
    _runs_this_project = True
    if without_conda:
        stand_in(file)


def stand_in(conda_yaml: Path) -> None:
    """Let MLflow find a conda whose environment is the one it runs in, until this process ends."""
    temporary = tempfile.gettempdir()
    if shlex.quote(temporary) != temporary:  # MLflow sources this path without quotes
        temporary = "/tmp"
    home = Path(tempfile.mkdtemp(prefix="asr_lab-", dir=temporary))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    write_stand_in(home, conda_yaml.read_text(), str(Path(sys.executable).parent))
    os.environ["MLFLOW_CONDA_HOME"] = str(home)
    print(
        f"asr_lab: no conda here, so this runs in the environment mlflow runs in, {sys.prefix} "
        "(--env-manager uv builds one from conda.yaml)",
        file=sys.stderr,
    )


with contextlib.suppress(Exception):
    prepare()
