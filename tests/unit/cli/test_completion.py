"""The shell completes names of runs, models and adapters, and config keys."""

import shutil
import subprocess
import sys
from contextlib import chdir

import mlflow
import pytest
from made import made_run

from asr_lab.cli import cli
from asr_lab.cli.completion import Bash


def completed(*words: str, cwd) -> list[str]:
    """What bash is offered for the last of these words."""
    return [line.partition(",")[2] for line in offers(*words, cwd=cwd).splitlines() if line]


def offers(*words: str, cwd) -> str:
    """The lines for the script in bash; words are as readline divides them."""
    with chdir(cwd), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMP_WORDS", "\n".join(["asr-lab", *words]))
        patch.setenv("COMP_CWORD", str(len(words)))
        return Bash(cli, {}, "asr-lab", "_ASR_LAB_COMPLETE").complete()


@pytest.fixture
def named(store):
    for name in ("john-a", "john-b", "jane"):
        made_run(name)
    client = mlflow.MlflowClient()
    client.create_registered_model("deepspeech2")
    client.create_model_version("deepspeech2", "runs:/0/model")
    client.set_registered_model_alias("deepspeech2", "champion", "1")
    (store / "adapters").mkdir()
    (store / "adapters" / "john_adapter.pt").write_bytes(b"")
    return store


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("show", "joh"), ["john-b", "john-a"]),
        (("compare", "jane", "john-"), ["john-b", "john-a"]),
        (("show", "john_"), []),  # no wildcard of SQL
        (("promote", "deep"), ["deepspeech2"]),
        (("evaluate", "--adapter", "jo"), ["john"]),
        (("evaluate", "--model", "models", ":", "/d"), ["/deepspeech2@champion"]),  # as readline divides it
        (("adapter", "--base", "models", ":", "/deepspeech2", "@", "c"), ["@champion"]),
        (("train", "base.yaml", "train.save_e"), ["train.save_every="]),
        (("train", "base.yaml", "model.pretrained", "=", "models", ":"), ["/deepspeech2@champion"]),
        (("compare", "--group-by", "train.lr,train.weight_d"), ["train.lr,train.weight_decay"]),
        (("compare", "--metric", "test/wer_delta_l"), ["test/wer_delta_low"]),
        (("guide", "sw"), ["sweeps"]),
        (("forget", "jo"), ["john"]),
        (("archive", "john-a", "--t"), []),  # the former name of --out
        (("sweep", "a.yaml", "--ti"), ["--timeout-s"]),
    ],
)
def test_offers(named, words, offered):
    assert completed(*words, cwd=named) == offered


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("archive", "john-a", "--to", "bundles"), "to", "bundles"),
        (("archive", "john-a", "--to=bundles"), "to", "bundles"),
        (("sweep", "a.yaml", "--timeout", "5"), "timeout_s", 5.0),
        (("serve", "--timeout", "5"), "timeout_s", 5.0),
        (("sweep", "--timeout=5", "a.yaml"), "timeout_s", 5.0),
    ],
)
def test_former_names_of_options_still_work(words, name, value):
    command, *rest = words
    assert cli.get_command(None, command).make_context(command, rest).params[name] == value


def test_a_run_is_completed_by_its_id_and_a_name_with_blanks_is_escaped(named):
    run_id = made_run("new model")
    assert completed("show", run_id[:6], cwd=named) == [run_id]
    assert completed("show", "new", cwd=named) == ["new\\ model"]


def test_values_of_keys_are_files(named):
    assert offers("train", "base.yaml", "data.train", "=", "cor", cwd=named) == "file,cor"


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not there")
def test_bash_adds_no_blank_after_a_key(named):
    command = named / "asr-lab"
    command.write_text(f"#!{sys.executable}\nfrom asr_lab.cli import cli\ncli(prog_name='asr-lab')\n")
    command.chmod(0o755)
    shell = f"""
        eval "$(_ASR_LAB_COMPLETE=bash_source {command})"
        compopt() {{ echo "compopt $@"; }}
        COMP_WORDS=(asr-lab train base.yaml train.save_e) COMP_CWORD=3
        _asr_lab_completion {command}
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", shell], cwd=named, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["compopt -o nospace", "train.save_every="], done.stderr


@pytest.mark.slow
def test_a_folder_without_a_store_gets_none(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert completed("show", "x", cwd=tmp_path) == []
    assert not list(tmp_path.iterdir())
