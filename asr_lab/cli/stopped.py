"""The end of a command that is stopped: by Ctrl-C, SIGTERM, a closed terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

from asr_lab.cli import COMMANDS
from asr_lab.system.distributed import is_first
from asr_lab.system.stopping import Around

_FROM_START = ("adapter", "evaluate", "pool")
"""Commands whose runs are not resumed; all others that train continue theirs."""
_PATIENCE_S = 25.0


def report_stop(error: BaseException, around: Around) -> None:
    """Report the stop in one line, and end the run that `mlflow run` made as KILLED."""
    if not is_first():
        return
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    trains = COMMANDS.get(command, ("", ""))[0].startswith("asr_lab.cli.training.")
    then = (
        f"; the same command {'starts again' if command in _FROM_START else 'continues'}"
        if trains or command == "sync"
        else ""
    )
    with suppress(OSError):
        print(f"stopped{then}", file=sys.stderr, flush=True)
    unused = "MLFLOW_RUN_ID" in os.environ  # a run that is recorded was closed on the way out
    if trains and not around.kill() and unused:
        _kill_unused(around.run_id, str(error) or type(error).__name__)


def _kill_unused(run_id: str, why: str) -> None:
    """In a new process: the imports of this one may be broken off."""
    words = [sys.executable, "-m", "asr_lab.tracking.unused_run", run_id, why]
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(words, start_new_session=True, capture_output=True, timeout=_PATIENCE_S)
