"""Which processes of this machine serve a run."""

import subprocess
import sys
import time

import psutil
import pytest

from asr_lab.system import processes


@pytest.mark.parametrize(("begun", "served"), [({}, True), ({"MLFLOW_RUN_ID": "other"}, False)])
def test_an_mlflow_run_that_has_started_its_command_serves_no_other_run(tmp_path, monkeypatch, begun, served):
    (tmp_path / "mlflow").write_text(
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen(['sleep', '60'], env={{**os.environ, **{begun}}})\n"
        "print(child.pid, flush=True)\nsys.stdin.read()\nchild.kill()\n"
    )
    words = [sys.executable, tmp_path / "mlflow", "run", "."]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        while not psutil.Process(child).environ():  # for a moment after exec
            time.sleep(0.01)
        monkeypatch.setattr(psutil, "process_iter", lambda: map(psutil.Process, (process.pid, child)))
        assert processes.is_served("mine") is served
        assert processes.is_served("other") is True
        process.stdin.close()
