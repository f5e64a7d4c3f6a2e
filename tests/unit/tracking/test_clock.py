"""Runs are dated, and called old or stale, by the clock of the store: those of the machines may be wrong."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import ok
from made import client, made_run
from outages import log, spec

from asr_lab.system import files
from asr_lab.tracking import clock
from asr_lab.tracking.cleanup.protection import is_stale
from asr_lab.tracking.run_index import scan
from asr_lab.tracking.tracker import MlflowTracker

HOUR_S = 3600


@pytest.fixture(autouse=True)
def asked_anew():
    clock.clock_of.cache_clear()
    yield
    clock.clock_of.cache_clear()


@pytest.mark.parametrize("behind_s", [0, 2 * HOUR_S])
def test_a_server_tells_the_time_with_every_answer(behind_s, monkeypatch):
    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def date_time_string(self, timestamp=None):
            return super().date_time_string(time.time() - behind_s)

        def log_message(self, *_): ...

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.handle_request, daemon=True).start()
    ours = time.time()
    theirs = clock.clock_of(f"http://user:word@127.0.0.1:{server.server_port}/")
    server.server_close()
    monkeypatch.setattr(time, "time", lambda: ours + 1e6)  # the clock is set right, or wrong, meanwhile
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * ours))
    assert theirs.now_ms() / 1000 == pytest.approx(ours - behind_s, abs=3)
    assert clock.clock_of("http://127.0.0.1:9/").offset_s == 0  # nobody is there


def test_a_run_is_dated_by_the_clock_of_the_store(store, monkeypatch, capsys):
    monkeypatch.setattr(files, "now", lambda _: time.time() - 3 * HOUR_S)
    with MlflowTracker().start(spec()) as run:
        log(run, range(2))
    made = client().get_run(run.run_id)
    points = client().get_metric_history(run.run_id, "train/loss")
    then = (time.time() - 3 * HOUR_S) * 1000
    for at in (made.info.start_time, made.info.end_time, *(point.timestamp for point in points)):
        assert at == pytest.approx(then, abs=60_000)
    assert "3 h ahead of" in capsys.readouterr().err
    assert "now" in ok("list")


def test_a_run_of_another_machine_is_stale_after_a_day_of_the_store(store, monkeypatch):
    elsewhere = {"asr_lab.process": "elsewhere|1|1"}
    made_run("silent", status="RUNNING", days=26 / 24, tags=elsewhere)
    sweep = made_run("sweep", family="sweep", wer=None, points=0, status="RUNNING", days=2, tags=elsewhere)
    made_run("trial", status="RUNNING", parent=sweep, tags=elsewhere)

    def stale() -> set[str]:
        clock.clock_of.cache_clear()
        return {one.name for one in scan(client()) if is_stale(one)}

    assert stale() == {"silent"}, "a sweep lives while one of its trials does"
    monkeypatch.setattr(files, "now", lambda _: time.time() - 4 * HOUR_S)  # our clock is ahead of the others
    assert stale() == set()
