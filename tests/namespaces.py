"""Tests in a network of their own (Linux): what listens there is reached by nobody else, and ends with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

_INSIDE = "ASR_LAB_TEST_IN_A_NETWORK_OF_ITS_OWN"
_UNSHARE = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
_ADDRESS = "127.0.0.1:6379"


def needs_namespaces() -> None:
    """Skip the test where no network and no table of processes can be made."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("ip and unshare are not installed")
    if subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("no right to make namespaces")


def ran_inside(request: pytest.FixtureRequest) -> bool:
    """Run this test once more by a pytest in a network of its own; False there, where it is to do what it does."""
    if os.environ.get(_INSIDE):
        return False
    needs_namespaces()
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", request.node.nodeid]
    command = [*_UNSHARE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *pytest_command]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=request.config.rootpath, env={**env, _INSIDE: "1"}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return True


def ray_cluster(monkeypatch: pytest.MonkeyPatch, cpus: int = 2) -> None:
    """Start a cluster of one node; it ends with the network it is in."""
    folder = tempfile.mkdtemp(prefix="ray")  # a socket's path may have 107 characters
    monkeypatch.setenv("RAY_ADDRESS", _ADDRESS)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    options = [f"--num-cpus={cpus}", "--include-dashboard=false", "--object-store-memory=100000000"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    log = Path(folder) / "start.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, f"--temp-dir={folder}", *options], stdout=output, stderr=output, env=env)
    until = time.monotonic() + 120
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
