"""`asr-lab guide` as a user runs it, and the commands of its pages as they stand there."""

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT, ok, run
from documents import GUIDE, SHELL, blocks
from empty_store import empty_store
from forks import Forked

from asr_lab.cli.guide import TOPICS, read_page, resolve_topic
from asr_lab.errors import AsrLabError


def test_it_lists_every_topic():
    lines = ok("guide").splitlines()
    assert [line.split()[0] for line in lines[: len(TOPICS)]] == list(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_in_a_pipe_is_the_file(topic):
    assert ok("guide", topic) == (GUIDE / f"{topic}.md").read_text(encoding="utf-8")


def test_a_commands_name_shows_the_page_that_explains_it():
    assert ok("guide", "cleanup") == read_page("keep")


@pytest.mark.parametrize(("wanted", "near"), [("trian", "train"), ("cleenup", "cleanup"), ("zzz", "")])
def test_an_unknown_topic_names_the_nearest(wanted, near):
    with pytest.raises(AsrLabError) as caught:
        resolve_topic(wanted)
    assert caught.value.next_command == f"asr-lab guide {near}".strip()
    assert "train" in caught.value.allowed
    assert run("guide", wanted).exit_code == 1


def test_it_imports_nothing_heavy():
    code = """
import sys
from asr_lab.cli import cli
cli(["guide", "train"], standalone_mode=False)
sys.exit(any(name in sys.modules for name in ("torch", "mlflow", "transformers", "lhotse")))
"""
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def on_a_terminal(*arguments: str, columns: int) -> str:
    """What a terminal of this width shows of `asr-lab ARGUMENTS`, without colours."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "24", "PAGER": "cat", "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-m", "asr_lab", *arguments], stdout=child, stdin=child, env=environment, cwd=ROOT
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # Linux: the other end is closed
            part = b""
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_it_formatted(columns):
    shown = on_a_terminal("guide", "train", columns=columns)
    assert max(map(len, shown.splitlines())) <= min(columns, 100)
    assert "Train a recogniser" in shown
    assert "asr-lab guide configuration" in " ".join(shown.split())
    for raw in ("```", "](", "<!--", "\n#", "\u2026"):  # the last is where rich cuts a word off
        assert raw not in shown


SHIM = """\
#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [1, 2])
server.sendall(request)
sys.exit(int(server.makefile().readline()))
"""


def serve_commands(listener: socket.socket) -> None:
    """Run each `asr-lab` that a block starts as a fork, which needs no imports."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed
            return
        head, (out, err), *_ = socket.recv_fds(connection, 4, 2)
        request = connection.makefile("rb").read(int.from_bytes(head, "big"))
        words, cwd, env = json.loads(request)
        with os.fdopen(out, "w") as stdout, os.fdopen(err, "w") as stderr:
            process = Forked(["-m", "asr_lab", *words], cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        connection.sendall(f"{process.wait() % 256}\n".encode())
        connection.close()


@pytest.fixture
def forking(tmp_path):
    """A folder for PATH with an `asr-lab` that is a fork."""
    address = str(tmp_path / "commands")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    threading.Thread(target=serve_commands, args=(listener,), daemon=True).start()
    command = tmp_path / "bin" / "asr-lab"
    command.parent.mkdir()
    command.write_text(SHIM.format(python=sys.executable, address=address))
    command.chmod(0o755)
    yield command.parent
    listener.close()


def run_block(language: str, text: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a block of a page in a folder, as it stands."""
    start = ["bash", "-euo", "pipefail", "-c"] if language in SHELL else [sys.executable, "-c"]
    return subprocess.run([*start, text], cwd=folder, env=env, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_the_commands_of_every_page_work_as_they_stand(tmp_path, forking):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    env = {
        **os.environ,
        "MLFLOW_TRACKING_URI": empty_store(tmp_path / "mlflow.db"),
        "PATH": os.pathsep.join([str(forking), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    for topic in TOPICS:  # one folder for all: later pages use the corpus, the base and the adapter of earlier ones
        for block in blocks(GUIDE / f"{topic}.md"):
            if block.run:
                done = run_block(block.language, block.text, tmp_path, env)
                assert done.returncode == 0, f"{topic}.md:{block.line}\n{block.text}\n{done.stdout}\n{done.stderr}"
                assert block.expects in done.stdout, f"{topic}.md:{block.line}\n{done.stdout}"
