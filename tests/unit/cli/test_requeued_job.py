"""A command that an engine runs again: an attempt before it may have begun its run, or been lost before that."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from outages import spec

from asr_lab.cli.jobs import job_options
from asr_lab.cli.options import new_run_option
from asr_lab.system import processes
from asr_lab.tracking import orphans
from asr_lab.tracking.tracker import MlflowTracker

pytestmark = pytest.mark.usefixtures("store")


class LostError(Exception):
    """The end of a job that ends no run."""


def cut_off(run) -> None:
    """Leave a run on the store as the death of its process does."""
    assert run.flush()
    run._shipper.stop(60)
    run.spool.release()


@pytest.fixture
def attempt(monkeypatch, tmp_path):
    """Runs a command as a job, each time on another machine, until it is lost; returns the run that it recorded into,
    and whether that was there.
    """
    machines = iter(range(100))
    recorded: list[tuple[str, bool]] = []

    @click.command
    @new_run_option
    @click.option("--begins", is_flag=True)
    @job_options
    def command(*, new_run: bool, begins: bool, jobs: object) -> None:
        if begins:
            run = MlflowTracker(new_run=new_run).start(spec())
            cut_off(run)
            recorded.append((run.run_id, run.resumed))
        raise LostError

    def attempted(*words: str) -> tuple[str, bool] | None:
        mark = f"machine-{next(machines)}|77|123"
        for module in ("asr_lab.system.processes", "asr_lab.cli.jobs"):
            monkeypatch.setattr(f"{module}.process_mark", lambda: mark)
        monkeypatch.setattr(processes, "_ended", set())
        recorded.clear()
        lost = CliRunner().invoke(command, [*words, "--job", str(tmp_path / "jobs")])
        assert isinstance(lost.exception, LostError), lost.output
        return recorded[0] if recorded else None

    return attempted


def test_new_run_holds_until_an_attempt_has_begun_its_run(attempt, monkeypatch):
    monkeypatch.setattr(processes, "is_gone", lambda mark: True)
    interrupted = MlflowTracker().start(spec())
    cut_off(interrupted)
    attempt("--new-run")
    begun, resumed = attempt("--new-run", "--begins")
    assert begun != interrupted.run_id
    assert not resumed
    attempt("--new-run")
    assert attempt("--new-run", "--begins") == (begun, True)


def test_a_run_is_continued_after_an_attempt_that_did_not_reach_it(attempt):
    begun, _ = attempt("--begins")
    attempt()
    assert attempt("--begins") == (begun, True)


def test_new_run_searches_for_none_where_no_attempt_was_lost(monkeypatch):
    monkeypatch.setattr(processes, "_ended", set())
    for search in ("find_in_spool", "find_on_store"):
        monkeypatch.setattr(orphans, search, None)
    tracker = MlflowTracker(new_run=True)
    assert tracker.finished(spec()) is None
    run = tracker.start(spec())
    assert not run.resumed
    cut_off(run)
