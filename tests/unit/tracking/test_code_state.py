"""The patch of what was not committed: it makes of the commit what was there, without data, secrets, large files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from outages import Training, spec

from asr_lab.tracking import code_state, provenance, reproduction
from asr_lab.tracking.recorder import MlflowRecorder
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.spool import ROOT
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tracker import MlflowTracker


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    for name in ("own.py", "a.py", "gone.py", "with space.py", "moved.py"):
        (folder / name).write_text(f"# {name}\n" * 20)
    (folder / "table.csv").write_text("1,2\n")
    (folder / ".gitignore").write_text("ignored.py\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def patch(checkout: Path) -> str:
    return code_state.patch(checkout / "own.py")


def is_the_same_after_the_patch(checkout: Path) -> bool:
    """Whether the patch makes the files of the checkout of its commit."""
    clone = checkout.with_name("clone")
    git(checkout.parent, "clone", "-q", str(checkout), str(clone))
    (checkout.parent / "x.patch").write_text(patch(checkout))
    git(clone, "apply", "../x.patch")
    files = [{os.fsencode(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.py")}
             for root in (checkout, clone)]  # fmt: skip
    return files[0] == files[1]


def test_a_clean_checkout_has_none(checkout, tmp_path):
    assert patch(checkout) == ""
    (tmp_path / "none").mkdir()
    assert patch(tmp_path / "none") == ""
    assert provenance.git_state(tmp_path / "none" / "own.py") == {}


def test_the_repository_around_an_installation_is_not_its_checkout(checkout):
    """As of `.venv/lib/.../asr_lab` in somebody's repository."""
    installed = checkout / ".venv" / "asr_lab" / "own.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("x\n")
    (checkout / "a.py").write_text("private\n")
    assert code_state.patch(installed) == ""
    assert provenance.git_state(installed) == {}
    assert provenance.git_state(checkout / "own.py")["dirty"] == "true"


def test_the_patch_makes_the_same_files_of_the_commit(checkout, tmp_path):
    package = checkout / "package"
    package.mkdir()
    (package / "new.py").write_text("print('neu, ü')\n")
    (checkout / "with space.py").write_text("changed, without a newline at the end")
    (checkout / "gone.py").unlink()
    git(checkout, "mv", "moved.py", "there.py")
    (checkout / "a.py").write_text("staged\n")
    git(checkout, "add", "a.py")
    (checkout / "a.py").write_text("staged, and more\n")
    before = git(checkout, "status", "--porcelain")
    assert code_state.left_out(patch(checkout)) == []
    assert git(checkout, "status", "--porcelain") == before  # its index is as it was
    assert is_the_same_after_the_patch(checkout)


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_what_is_not_utf_8_is_named_alone(checkout):
    (checkout / "a.py").write_bytes("# caf\xe9\n".encode("latin-1"))
    (checkout / os.fsdecode(b"caf\xe9.csv")).write_text("1\n")
    (checkout / os.fsdecode(b"na\xefve.py")).write_text("kept = True\n")
    text = patch(checkout)
    assert code_state.left_out(text) == ["a.py", r"caf\udce9.csv"]
    assert len(code_state.digest(text)) == 8
    git(checkout, "checkout", "a.py")
    assert is_the_same_after_the_patch(checkout)


def test_names_are_no_patterns_and_may_have_any_sign(checkout):
    names = ["foo1.py", "foo[1].py", "*.py", ":(top)x.py", 'a "b" b.py', "x b/x.py", "line\nbreak.py", "tab\t\\.py"]
    names += ["\uac00.py"]
    for name in names:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("1\n")
    git(checkout, "--literal-pathspecs", "add", "--", *names)
    git(checkout, "commit", "-q", "-m", "second")
    for name in names:
        (checkout / name).write_text("2\n")
    (checkout / "left\nout.csv").write_text("2\n")
    text = patch(checkout)
    assert (text.count("diff --git"), code_state.left_out(text)) == (len(names), [r"left\nout.csv"])
    assert is_the_same_after_the_patch(checkout)


def test_a_conflict_and_a_file_that_became_a_link(checkout):
    git(checkout, "checkout", "-q", "-b", "other")
    (checkout / "a.py").write_text("theirs\n")
    git(checkout, "commit", "-q", "-a", "-m", "theirs")
    git(checkout, "checkout", "-q", "-")
    (checkout / "a.py").write_text("ours\n")
    git(checkout, "commit", "-q", "-a", "-m", "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(checkout, "merge", "other")
    (checkout / "gone.py").unlink()
    (checkout / "gone.py").symlink_to("own.py")
    assert code_state.left_out(patch(checkout)) == []
    assert is_the_same_after_the_patch(checkout)


def test_many_changes_are_few_calls_of_git_and_end_at_a_limit(checkout, monkeypatch):
    for number in range(300):
        (checkout / f"{number:03}.py").write_text("# x\n" * 2000)
    calls, run = [], subprocess.run

    def counted(command, **options):
        calls.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    text = patch(checkout)
    assert len(text) < 1_010_000
    assert 50 < text.count("diff --git") < 300
    assert len(code_state.left_out(text)) == 200  # of those that are named
    assert len(calls) < 12


def test_a_slow_git_is_not_waited_for(checkout, tmp_path, monkeypatch):
    slow = f'#!/bin/sh\ncase "$*" in *diff*) exec sleep 60 ;; esac\nexec {shutil.which("git")} "$@"\n'
    (tmp_path / "git").write_text(slow)
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(code_state, "_PATIENCE_S", 1.0)
    (checkout / "new.py").write_text("1\n")
    began = time.monotonic()
    assert code_state.left_out(patch(checkout)) == ["new.py"]
    assert time.monotonic() - began < 10


def test_what_is_secret_data_binary_or_large_is_named_alone(checkout):
    contents = {
        "key.py": "AWS = 'AKIAABCDEFGHIJKLMNOP'\n",
        "login.yaml": "password: 'correct-horse-battery'\n",
        "plain.yaml": "api_key: 0123456789abcdef\n",
        "windows.yaml": "api_key: 0123456789abcdef\r\n",
        "remarked.yaml": "password: hunter2hunter2  # of the team\n",
        "variable.py": "os.environ['SECRET_ACCESS_KEY'] = 'wJalrXUtnFEMI/K7MDENG'\n",
        "header.py": "HEADERS = {'Authorization': 'Bearer abcdefghijklmnop1234'}\n",
        "uri.py": "URI = 'postgresql://me:hunter22@host/db'\n",
        ".env": "A=b\n",
        "server.pem": "x\n",
        "my_credentials.yaml": "x: 1\n",
        "speech.json": "{}\n",
        "large.py": "# x\n" * 60_000,
        "table.csv": "3,4\n",  # which is tracked
    }
    for name, content in contents.items():
        (checkout / name).write_text(content)
    (checkout / "bytes.py").write_bytes(b"\0\1\2" * 50)
    (checkout / "ignored.py").write_text("x\n")
    (checkout / "small.py").write_text("password = os.environ['PASSWORD']\ntoken = next_token_2\n")
    text = patch(checkout)
    assert sorted(code_state.left_out(text)) == sorted([*contents, "bytes.py"])
    assert text.count("diff --git") == 1
    assert "+password = os.environ" in text


def test_a_change_within_the_second_of_the_commit_is_seen(checkout):
    """Of one size and time with what was committed, so that git has to look into the file."""
    git(checkout, "config", "core.trustctime", "false")
    file, index = checkout / "a.py", checkout / ".git" / "index"
    an_hour_ago = time.time() - 3600
    for content in ("x = 1\n", "x = 2\n"):
        file.write_text(content)
        os.utime(file, (an_hour_ago, an_hour_ago))
        if content == "x = 1\n":
            git(checkout, "commit", "-q", "-a", "-m", "second")
            os.utime(index, (an_hour_ago, an_hour_ago))
    assert "+x = 2" in patch(checkout)


def test_secrets_of_the_environment_are_hidden(monkeypatch, checkout):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct-horse")
    (checkout / "a.py").write_text("x = 'correct-horse'\n")
    assert code_state.left_out(patch(checkout)) == ["a.py"]
    assert code_state.masked("said correct-horse to http://me:pw@host/x") == "said *** to http***host/x"


@pytest.mark.usefixtures("store")
def test_a_run_has_its_patch_its_packages_and_what_was_printed(monkeypatch):
    changes = "left out: x.csv\ndiff --git a/a.py b/a.py\n"
    monkeypatch.setattr(code_state, "own_patch", lambda: changes)
    with MlflowTracker().start(spec()) as run:
        print("printed of http://me:secret@host")
        with MlflowTracker().start(spec(signature="c", parent=run.run_id), own=True) as child:
            pass
    client = tracking_client()
    assert Path(client.download_artifacts(run.run_id, code_state.PATCH)).read_text() == changes
    packages = Path(client.download_artifacts(run.run_id, code_state.PACKAGES)).read_text().splitlines()
    assert any(line.startswith("mlflow==") for line in packages)
    (log,) = client.list_artifacts(run.run_id, "console")
    text = Path(client.download_artifacts(run.run_id, log.path)).read_text()
    assert text.splitlines()[-1] == "printed of http***host"
    assert {file.path for file in client.list_artifacts(child.run_id)} == {"config.yaml"}  # its parent has them
    client.set_tag(run.run_id, "asr_lab.git_sha", "f" * 40)
    assert not ROOT.exists()


def test_packages_are_those_that_an_index_has(tmp_path, monkeypatch):
    for name, version, more in (
        ("Torch", "2.14.1+cpu", {}),
        ("local", "1", {"direct_url.json": "{}"}),
        ("plain", "1", {}),
    ):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        for file, text in {"METADATA": f"Name: {name}\nVersion: {version}\n", **more}.items():
            (folder / file).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    code_state.packages.cache_clear()
    lines = code_state.packages().splitlines()
    code_state.packages.cache_clear()
    assert {"Torch==2.14.1", "# local==1", "plain==1"} <= set(lines)
    assert not [line for line in lines if line.startswith(("asr_lab", "asr-lab"))]


def interrupted() -> MlflowRecorder:
    with suppress(KeyboardInterrupt), MlflowTracker().start(spec()) as run:
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        (run.checkpoints / "checkpoint-1").touch()
        raise KeyboardInterrupt
    return run


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("dirty", ["true", "false"])
def test_a_resumed_run_is_not_restored_with_the_patch_of_its_start(monkeypatch, dirty):
    state, changes = {"git_sha": "a" * 40, "dirty": "true"}, ["diff --git a/a.py b/a.py\n"]
    monkeypatch.setattr(provenance, "own_code", lambda: state)
    monkeypatch.setattr(code_state, "own_patch", lambda: changes[-1])
    run = interrupted()
    assert any("git apply" in line for line in reproduction.restoring(tracking_client().get_run(run.run_id)))
    state["dirty"] = dirty
    changes.append("")
    assert interrupted().run_id == run.run_id
    resumed = tracking_client().get_run(run.run_id)
    assert not resumed.data.tags["asr_lab.changes"]
    assert not any("git apply" in line for line in reproduction.restoring(resumed))


@pytest.mark.slow
def test_what_was_printed_survives_a_kill(store):
    training = Training(store, f"sqlite:///{store}/mlflow.db", 5000)
    training.reached(20)
    training.process.kill()
    training.process.wait()
    sync.ship(ROOT)
    (run_id,) = [run.info.run_id for run in tracking_client().search_runs(["1"])]
    (log,) = tracking_client().list_artifacts(run_id, "console")
    text = Path(tracking_client().download_artifacts(run_id, log.path)).read_text()
    assert "step 19\n" in text
    assert "started" in text
