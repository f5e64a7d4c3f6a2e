"""Which command lines and projects the conda-free `mlflow run` is for, and that importing it is safe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from getopt import GetoptError
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from asr_lab import mlflow_run
from asr_lab.system.stopping import MLFLOW_RUN, Around

REPOSITORY = Path(__file__).parents[2]


def uri_of(*words: str) -> str | None:
    """The URI where choosing the environment is left to MLflow."""
    call = mlflow_run.project_call(["/somewhere/bin/mlflow", *words], [])
    return call[0] if call and not call[1] else None


@pytest.mark.parametrize(
    ("words", "uri"),
    [
        (["run", "."], "."),
        (["run", ".", "-e", "adapter", "-P", "name=john"], "."),
        (["run", "-eadapter", "-Pname=john", "some folder"], "some folder"),
        (["run", "-P", "a=1", "-P", "b=--env-manager=uv", ".", "--experiment-name", "run"], "."),
        (["run", "-b", "local", "--build-image", "--run-name=x", "."], "."),
        (["run", "--", "."], "."),
    ],
)
def test_a_run_that_leaves_the_environment_to_mlflow(words: list[str], uri: str) -> None:
    assert uri_of(*words) == uri


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["."], "adapter-john"),
        ([".", "-e", "adapter", "-P", "name=mina"], "adapter-mina"),
        (["-etrain", "-P", "config=experiments/deepspeech2/base.yaml", "."], "train-base"),
        ([".", "--entry-point=sweep", "--param-list", "config=my sweep.yaml"], "sweep-my_sweep"),
        ([".", "-e", "train", "-P", "run.name=first"], "train-first"),
        ([".", "-e", "evaluate", "-P", "model=models:/x/1"], "evaluate"),
        ([".", "--run-name", "mine"], ""),
        ([".", "--run-id=0123"], ""),
    ],
)
def test_a_run_is_named_before_its_code_starts(words: list[str], name: str) -> None:
    assert mlflow_run.provisional_name(["/bin/mlflow", "run", *words]) == name


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["run", ".", "second"],
        ["run", ".", "--help"],
        ["run", ".", "--env-manager", "local"],
        ["run", ".", "--env-manager=uv"],
        ["run", "--env-manager", "conda", "."],
        ["run", ".", "-b", "kubernetes"],
        ["run", ".", "--backend=databricks"],
        ["runs", "list"],
        ["server"],
        ["models", "serve", "-m", "run"],
        ["gc", "run", "."],
    ],
)
def test_other_commands_are_left_alone(words: list[str]) -> None:
    assert uri_of(*words) is None


def test_options_mlflow_does_not_have_are_left_to_it() -> None:
    with pytest.raises(GetoptError):
        uri_of("run", ".", "--no-such-option")


def test_other_programs_are_left_alone() -> None:
    assert mlflow_run.project_call(["/bin/pytest", "run", "."], []) is None
    assert mlflow_run.project_call([], ["python"]) is None


@pytest.mark.parametrize(("module", "uri"), [(["-m", "mlflow"], "."), (["-mmlflow"], "."), (["-m", "pip"], None)])
def test_run_as_a_module(module: list[str], uri: str | None) -> None:
    argv = ["-m", "run", ".", "-e", "train"]  # what sys.argv holds while `python -m` imports the package
    call = mlflow_run.project_call(argv, ["python", "-X", "utf8", *module, *argv[1:]])
    assert call == (uri and (uri, ""))


def test_an_env_file_that_speaks_of_conda_is_the_users_choice(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("AWS_PROFILE=lab\n")
    assert uri_of("--env-file", str(file), "run", ".") == "."
    file.write_text("MLFLOW_CONDA_HOME=/opt/conda\n")
    assert uri_of(f"--env-file={file}", "run", ".") is None


def test_the_options_are_those_of_mlflow() -> None:
    """An option of a new MLflow that is missing here would quietly switch the plugin off."""
    from mlflow.cli import run

    names = {name for parameter in run.params for name in parameter.opts}
    ours = {"--" + name.rstrip("=") for name in mlflow_run.LONG_OPTIONS} - {"--help"}
    ours |= {"-" + letter for letter in mlflow_run.SHORT_OPTIONS if letter != ":"}
    assert ours == names - {"uri"}


@pytest.mark.parametrize(
    ("mlproject", "found"),
    [
        ("name: asr_lab\nconda_env: conda.yaml", True),
        ("name: asr_lab", True),
        ("name: other\nconda_env: conda.yaml", False),
        ("conda_env: conda.yaml", False),
        ("name: asr_lab\nconda_env: missing.yaml", False),
        ("name: asr_lab\npython_env: python_env.yaml", False),
        ("name: asr_lab\ndocker_env: {image: x}", False),
    ],
)
def test_only_a_conda_project_of_this_name(tmp_path: Path, mlproject: str, found: bool) -> None:
    project = tmp_path / "my lab" / "inner"
    project.mkdir(parents=True)
    (project / "MLproject").write_text(mlproject)
    (project / "conda.yaml").write_text("name: any\n")
    for uri in (str(project), f"'{project}'", f"{project.parent}#inner"):
        assert (mlflow_run.conda_file(uri) == project / "conda.yaml") is found


def test_python_env_yaml_comes_before_an_undeclared_conda_yaml(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text("name: asr_lab")
    for name in ("conda.yaml", "python_env.yaml"):
        (tmp_path / name).write_text("")
    assert mlflow_run.conda_file(str(tmp_path)) is None


def test_a_folder_without_a_project(tmp_path: Path) -> None:
    assert mlflow_run.conda_file(str(tmp_path)) is None


def test_the_stand_in_names_mlflows_environment_and_activates_ours(tmp_path: Path) -> None:
    from mlflow.utils import conda

    conda_yaml = tmp_path / "conda.yaml"
    conda_yaml.write_text("name: études\n", encoding="utf-8")
    home = tmp_path / "home"
    mlflow_run.write_stand_in(home, conda_yaml.read_text(), "/with space/it's/bin")

    env_name = conda._get_conda_env_name(conda_yaml)  # type: ignore[no-untyped-call]
    answer = subprocess.check_output([home / "bin" / "conda", "env", "list", "--json"])
    assert json.loads(answer) == {"envs": [env_name]}
    subprocess.check_call([home / "bin" / "conda", "env", "create", "-n", "x", "--file", conda_yaml])
    shell = f"source {home}/etc/profile.d/conda.sh && conda activate x && echo $PATH:$MLFLOW_CONDA_HOME"
    environment = {"PATH": "/usr/bin:/bin", "MLFLOW_CONDA_HOME": str(home)}
    shown = subprocess.check_output(["bash", "-c", shell], env=environment, text=True)
    assert shown == "/with space/it's/bin:/usr/bin:/bin:\n"


@pytest.mark.parametrize("mlproject", ["- a list", "name: [", "", "\x00"])
def test_importing_never_raises_and_never_imports_mlflow(tmp_path: Path, mlproject: str) -> None:
    (tmp_path / "MLproject").write_text(mlproject)
    (tmp_path / "conda.yaml").write_text("")
    program = (
        "import sys; sys.argv = ['mlflow', 'run', '.']; import asr_lab.mlflow_run, os;"
        "assert 'mlflow' not in sys.modules; assert 'MLFLOW_CONDA_HOME' not in os.environ"
    )
    environment = {k: v for k, v in os.environ.items() if k not in mlflow_run.CONDA_SETTINGS}
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_command_that_leaves_its_run_to_mlflow_run_is_never_missed(tmp_path: Path, monkeypatch) -> None:
    """Both end at once; one of them ends the run, whoever is first."""
    ended: list[str] = []
    client = SimpleNamespace(set_terminated=lambda run_id, _: ended.append(run_id))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=lambda: client))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(300):
            (folder := tmp_path / str(number)).mkdir()
            monkeypatch.setenv("MLFLOW_RUN_ID", str(number))
            monkeypatch.setenv(MLFLOW_RUN, f"{os.getpid()} {folder}")
            around = Around()
            around._ended = lambda: False
            thread = threading.Thread(target=mlflow_run.end_killed, args=[folder])
            thread.start()
            left = around.kill()
            thread.join()
            assert left == (str(number) in ended)
    finally:
        sys.setswitchinterval(interval)
    assert list(tmp_path.iterdir()) == []


def test_this_repository_is_the_project_and_its_parameters_are_strings() -> None:
    project = yaml.safe_load((REPOSITORY / "MLproject").read_text())
    assert mlflow_run.conda_file(str(REPOSITORY)) == REPOSITORY / "conda.yaml"
    for name, entry in project["entry_points"].items():
        assert entry["command"].startswith("python -m asr_lab "), name
        for parameter, declared in entry["parameters"].items():
            assert declared["type"] == "string", (name, parameter)
            assert f"{{{parameter}}}" in entry["command"], (name, parameter)
            assert isinstance(declared.get("default", ""), str), (name, parameter)
