"""The patch of what was not committed: it makes of the commit what was there, without data, secrets, large files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from outages import Training, spec

from asr_lab.tracking import code_state
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
    for name in ("a.py", "gone.py", "with space.py", "moved.py"):
        (folder / name).write_text(f"# {name}\n" * 20)
    (folder / "table.csv").write_text("1,2\n")
    (folder / ".gitignore").write_text("ignored.py\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_checkout_has_none(checkout, tmp_path):
    assert code_state.patch(checkout) == ""
    (tmp_path / "none").mkdir()
    assert code_state.patch(tmp_path / "none") == ""


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
    text = code_state.patch(package)  # the whole checkout, from any folder of it
    assert git(checkout, "status", "--porcelain") == before  # its index is as it was
    git(tmp_path, "clone", "-q", str(checkout), "clone")
    (tmp_path / "x.patch").write_text(text)
    git(tmp_path / "clone", "apply", "../x.patch")
    files = [{str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
             for root in (checkout, tmp_path / "clone")]  # fmt: skip
    assert files[0] == files[1]
    assert code_state.left_out(text) == []


def test_what_is_secret_data_binary_or_large_is_named_alone(checkout):
    contents = {
        "key.py": "AWS = 'AKIAABCDEFGHIJKLMNOP'\n",
        "login.yaml": "password: 'correct-horse-battery'\n",
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
    (checkout / "small.py").write_text("password = os.environ['PASSWORD']\n")
    text = code_state.patch(checkout)
    assert sorted(code_state.left_out(text)) == sorted([*contents, "bytes.py"])
    assert text.count("diff --git") == 1
    assert "+password = os.environ" in text


def test_secrets_of_the_environment_are_hidden(monkeypatch, checkout):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct-horse")
    (checkout / "a.py").write_text("x = 'correct-horse'\n")
    assert code_state.left_out(code_state.patch(checkout)) == ["a.py"]
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
    assert "mlflow==" in Path(client.download_artifacts(run.run_id, code_state.PACKAGES)).read_text()
    (log,) = client.list_artifacts(run.run_id, "console")
    text = Path(client.download_artifacts(run.run_id, log.path)).read_text()
    assert text.splitlines()[-1] == "printed of http***host"
    assert {file.path for file in client.list_artifacts(child.run_id)} == {"config.yaml"}  # its parent has them
    client.set_tag(run.run_id, "asr_lab.git_sha", "f" * 40)
    assert not ROOT.exists()


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
