"""Provenance of a run: code, command, versions, hardware."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from mlflow.entities import SourceType
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

from asr_lab.tracking.code_state import checkout, git

SHOWN_WHOLE = SourceType.to_string(SourceType.JOB)
"""Kind of source whose name the UI shows whole; of a local one, only what follows the last slash."""
_LIBRARIES = ("asr_lab", "torch", "torchaudio", "transformers", "lhotse", "mlflow", "jiwer", "peft")


def git_state(file: Path = Path(__file__)) -> dict[str, str]:
    """Return `git_sha` and `dirty` of the checkout of this code; empty if it is none."""
    root = checkout(file)
    sha = git(root, "rev-parse", "HEAD").strip() if root else ""
    if not root or not sha:
        return {}
    return {"git_sha": sha, "dirty": "true" if git(root, "status", "--porcelain") else "false"}


@cache
def own_code() -> dict[str, str]:
    """Return `git_state` at the first call in this process."""
    return git_state()


def origin() -> dict[str, str]:
    """Return the user, the command and the commit as the MLflow UI reads them."""
    source = {MLFLOW_SOURCE_NAME: command(), MLFLOW_SOURCE_TYPE: SHOWN_WHOLE}
    commit = own_code().get("git_sha", "")
    return {MLFLOW_USER: user_name()} | source | ({MLFLOW_GIT_COMMIT: commit} if commit else {})


def user_name() -> str:
    """Return who runs this process; the number of a user without a name, as in containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


@cache
def versions() -> str:
    """Return the installed versions: `torch 2.11.0, transformers 5.23.0, ...`."""
    installed = []
    for name in _LIBRARIES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join([f"python {platform.python_version()}", *installed])


def hardware() -> str:
    """Return `AMD EPYC 7763, 2 cores, 23 GiB`, with the GPU if torch was imported and sees one."""
    memory = psutil.virtual_memory().total / 2**30
    text = ", ".join(part for part in (_processor(), f"{os.cpu_count()} cores", f"{memory:.0f} GiB") if part)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name(0)}"
    return text


def threads() -> str:
    """Return the number of PyTorch's threads, or "" if torch was not imported."""
    torch = sys.modules.get("torch")
    return str(torch.get_num_threads()) if torch else ""


def _processor() -> str:
    with suppress(OSError):  # Linux; `platform` knows no more than the architecture there
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def command() -> str:
    """Return the command line of this process, quoted for a shell."""
    program = Path(sys.argv[0]).name
    return shlex.join(["asr-lab" if program == "__main__.py" else program, *sys.argv[1:]])
