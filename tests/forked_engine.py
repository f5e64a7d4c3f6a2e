"""The engine `local` with forks in place of new processes of Python: `by_forks` puts it there.

Its first job is killed where `kill_first` is set.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from forks import Forked

from asr_lab.engines.engine import ENGINES
from asr_lab.engines.local import LocalEngine, LocalTask
from asr_lab.system.stopping import JOB


class ForkedEngine(LocalEngine):
    kill_first = False

    def submit(self, command):
        self._folder.mkdir(parents=True, exist_ok=True)
        self._made += 1
        log = self._folder / f"{os.getpid()}-{self._made}.log"
        env = {**os.environ, **self._env, JOB: "1"}
        with log.open("wb") as output:
            process = Forked(command[1:], cwd=Path.cwd(), env=env, stdout=output, stderr=subprocess.STDOUT)
        if self.kill_first:
            ForkedEngine.kill_first = False
            os.kill(process.pid, signal.SIGKILL)
        return LocalTask(process, log)


@pytest.fixture
def by_forks(monkeypatch):
    monkeypatch.setitem(ENGINES, "local", "forked_engine:ForkedEngine")
    monkeypatch.setattr(ForkedEngine, "kill_first", False)
    return ForkedEngine
