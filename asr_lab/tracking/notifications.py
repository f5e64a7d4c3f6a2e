"""Messages on standard error, and notifications at the end of a run (`ASR_LAB_ON_END`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

from asr_lab.system.visible_text import visible

VARIABLE = "ASR_LAB_ON_END"
_PATIENCE_S = 10.0


def report(line: str) -> None:
    """Print a line on standard error."""
    print(visible(line), file=sys.stderr, flush=True)


def run_ended(facts: Mapping[str, Any]) -> None:
    """Notify `ASR_LAB_ON_END`: a URL receives `facts` as JSON, a shell command as JSON on stdin and as
    `ASR_LAB_RUN_<NAME>` in its environment.

    A failure is reported on standard error and never fails the run.
    """
    target = os.environ.get(VARIABLE, "").strip()
    if not target:
        return
    body = json.dumps(facts, ensure_ascii=False)
    try:
        if target.startswith(("http://", "https://")):
            _post(target, body)
        else:
            _execute(target, body, facts)
    except Exception as error:  # never fail the run
        report(f"{VARIABLE}: the notification could not be sent: {error}")


def _post(url: str, body: str) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "asr-lab"}
    request = urllib.request.Request(url, body.encode(), headers)
    urllib.request.urlopen(request, timeout=_PATIENCE_S).close()


def _execute(command: str, body: str, facts: Mapping[str, Any]) -> None:
    environment = os.environ | {f"ASR_LAB_RUN_{key.upper()}": str(value) for key, value in facts.items()}
    done = subprocess.run(
        command,
        shell=True,  # the user's own command line
        input=body,
        env=environment,
        text=True,
        timeout=_PATIENCE_S,
        capture_output=True,
    )
    if done.returncode:
        raise OSError(f"exit code {done.returncode}: {done.stderr.strip()[:200]}")
