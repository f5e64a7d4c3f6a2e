"""Work by jobs: lost ones are done again, others that give up end it, and a later process goes on with it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from asr_lab.engines.engine import Resources, make_engine, python_command
from asr_lab.engines.work import Piece, Work
from asr_lab.errors import AsrLabError
from asr_lab.system import processes

DONE = "open('done', 'w').close()"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "jobs" / "work"


def work_of(folder, code, lines=None, name="local", count=1):
    if name != "local":
        pytest.importorskip("submitit", reason="submitit is not installed")
    report = (lines if lines is not None else []).append
    codes = [code] if count == 1 else [code.replace("done", f"done{number}") for number in range(count)]
    pieces = [
        Piece(f"piece {number}", [sys.executable, "-c", one], Path("done" if count == 1 else f"done{number}"))
        for number, one in enumerate(codes)
    ]
    return Work(make_engine(name, folder / "logs", Resources()), folder, pieces, report, shows=True)


@pytest.mark.parametrize("name", ["local", "slurm-local"])
def test_work_is_done_by_jobs_whose_logs_are_shown(folder, name):
    lines = []
    work = work_of(folder, f"print('one line'); {DONE}", lines, name, count=2)
    work.submit()
    work.wait()
    assert lines.count("one line") == 2
    assert {"piece 0: done", "piece 1: done"} <= set(lines)
    assert not [line for line in lines if "submitit" in line and "job" not in line]
    work.remove()
    work.leave()
    assert not folder.exists()


def test_what_is_killed_is_done_again_but_not_for_ever(folder):
    lines = []
    once = f"import os, sys, signal\nif not os.path.exists('x'): open('x', 'w'); os.kill(os.getpid(), 9)\n{DONE}"
    work = work_of(folder, once, lines)
    work.submit()
    work.wait()
    assert len([line for line in lines if "was lost (SIGKILL), submitted again" in line]) == 1
    work.leave()
    Path("done").unlink()
    work = work_of(folder, "import os; os.kill(os.getpid(), 9)")
    work.submit()
    with pytest.raises(AsrLabError, match="its job was lost 3 times"):
        work.wait()


def test_a_job_that_gives_up_ends_the_work_with_its_error(folder):
    lines = []
    work = work_of(folder, "print('begun'); print('Error: no such file\\n  where: here'); exit(1)", lines)
    work.submit()
    with pytest.raises(AsrLabError, match="no such file") as refusal:
        work.wait()
    assert refusal.value.what == "no such file\n  where: here", "as the job itself says it"
    assert "begun" in lines
    assert not [line for line in lines if "no such file" in line], "it is shown once"


def test_lines_before_an_error_are_shown_once_however_late_the_job_ends(folder):
    lines = []
    code = "print('begun\\nError: no such file', flush=True); import time\nwhile lines_not_seen(): time.sleep(0.05)"
    wait = "import os\ndef lines_not_seen(): return not os.path.exists('seen')\n"
    work = work_of(folder, f"{wait}{code}\nprint('it works yet'); {DONE}", lines)
    looks = iter(range(5))
    looked = work._show
    work._show = lambda jobs, **more: (looked(jobs, **more), next(looks, None) == 3 and Path("seen").touch())
    work.submit()
    work.wait()
    assert [line for line in lines if " job " not in line] == ["begun", "Error: no such file", "it works yet"]


def test_a_later_process_goes_on_with_the_jobs_and_repeats_nothing_done(folder):
    code = f"import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\n{DONE}"
    first = work_of(folder, code)
    first.submit()
    with pytest.raises(AsrLabError, match="another process waits"):
        work_of(folder, code)
    first.leave()
    lines = []
    second = work_of(folder, code, lines)
    second.submit()
    assert [line for line in lines if "going on with job" in line]
    Path("go").touch()
    second.wait()
    second.leave()
    third = work_of(folder, "raise SystemExit('this is not done again')")
    third.submit()
    third.wait()
    assert Path("done").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(folder):
    folder.parent.write_text("a file")
    with pytest.raises(AsrLabError, match="the folder of these jobs") as refusal:
        work_of(folder, DONE)
    assert refusal.value.where == str(folder)


def test_cancelled_work_leaves_no_process(folder):
    work = work_of(folder, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)")
    work.submit()
    until = time.monotonic() + 60
    while not (Path("pid").exists() and Path("pid").read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert work.cancel() == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), signal.SIGCONT)


def test_what_an_engine_lost_counts_as_gone_wherever_it_was(monkeypatch):
    monkeypatch.setattr(processes, "_ended", set())
    elsewhere = "elsewhere|77|123"
    assert not processes.is_gone(elsewhere)
    processes.declare_gone([elsewhere])
    assert processes.is_gone(elsewhere)


def test_several_processes_are_started_by_torchrun():
    assert python_command("train", "x.yaml")[1:] == ["-m", "asr_lab", "train", "x.yaml"]
    words = python_command("train", "x.yaml", processes=4)
    assert words[1:3] == ["-m", "torch.distributed.run"]
    assert words[-3:] == ["asr_lab", "train", "x.yaml"]
    assert words[words.index("--nproc-per-node") + 1] == "4"
