"""Locks: one process at a time, and none for one that is gone, however it went and whatever it left running."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from asr_lab.system.files import LOCKLESS
from asr_lab.system.locks import LOCK, FolderLock, LockError, lock_on

TAKE = """
import os, sys, time
from pathlib import Path
from asr_lab.system.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print(lock.take(), flush=True)
"""


def process(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


def taken_elsewhere(folder: Path) -> bool:
    """Whether another process cannot take the lock."""
    return process(TAKE, folder).communicate(timeout=60)[0].strip() == "False"


def test_one_has_it_and_others_are_refused_at_once(tmp_path):
    lock, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert lock.take()
    assert (lock.held, lock.take(), other.take(), other.held) == (True, False, False, False)
    assert taken_elsewhere(tmp_path)
    thread = threading.Thread(target=lock.release)  # what uploads may end it
    thread.start()
    thread.join()
    assert not taken_elsewhere(tmp_path)
    assert other.take()


def test_a_process_that_is_killed_has_it_no_more(tmp_path):
    holder = process(TAKE + "time.sleep(600)", tmp_path)
    assert holder.stdout.readline() == "True\n"
    assert not FolderLock(tmp_path).take()
    holder.kill()
    holder.wait()
    assert FolderLock(tmp_path).take()


@pytest.mark.parametrize(
    "left_running",
    ["if os.fork() == 0: time.sleep(600)", "import subprocess; subprocess.Popen(['sleep', '600'], close_fds=False)"],
)
def test_what_a_killed_process_leaves_running_does_not_have_it(tmp_path, left_running):
    code = f"{TAKE}os.setsid()\n{left_running}\nprint('left', flush=True)\ntime.sleep(600)"
    holder = process(code, tmp_path)
    assert [holder.stdout.readline() for _ in range(2)] == ["True\n", "left\n"]
    assert not FolderLock(tmp_path).take()
    holder.kill()
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(holder.pid, 0)[1]) == -signal.SIGKILL
        until = time.monotonic() + 10  # a forked child closes its copy once it runs
        while not (taken := FolderLock(tmp_path).take()) and time.monotonic() < until:
            time.sleep(0.01)
        assert taken
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_child_neither_has_nor_frees_the_lock_of_its_parent(tmp_path):
    lock = FolderLock(tmp_path)
    assert lock.take()
    if not (child := os.fork()):
        lock.release()
        os._exit(lock.held or FolderLock(tmp_path).take())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lock.held
    assert taken_elsewhere(tmp_path)


def test_a_folder_is_renamed_with_its_lock(tmp_path):
    (tmp_path / "one").mkdir()
    lock = FolderLock(tmp_path / "one")
    assert lock.take()
    lock.rename(tmp_path / "two")
    assert (lock.folder, lock.held) == (tmp_path / "two", True)
    assert taken_elsewhere(tmp_path / "two")
    lock.release()
    assert lock.take()
    lock.release()


def test_a_folder_that_is_gone_is_not_taken(tmp_path):
    assert not FolderLock(tmp_path / "gone").take()
    assert not (tmp_path / "gone").exists()


def test_what_cannot_be_locked_is_no_lock_of_another_process(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(LockError):
        FolderLock(tmp_path).take()
    with pytest.raises(LockError), lock_on(tmp_path / LOCK):
        pass


@pytest.mark.parametrize(
    ("number", "helps"),
    [
        *((number, "local disk") for number in LOCKLESS),
        (errno.EROFS, "read-only"),
        (errno.EIO, "dmesg"),
    ],
)
def test_a_file_system_without_locks_is_refused_with_the_way_out(tmp_path, monkeypatch, number, helps):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    folder = tmp_path / "with space" / "one"
    folder.mkdir(parents=True)
    for taking in (FolderLock(folder).take, lock_on(folder.parent / "x").acquire):
        with pytest.raises(LockError) as raised:
            taking()
        assert os.strerror(number) in raised.value.what
        assert helps in raised.value.hint
        if number in LOCKLESS:
            subprocess.run(["bash", "-c", raised.value.next_command], check=True)
            assert (folder.parent.is_symlink(), folder.is_dir()) == (True, True)
            shutil.rmtree(folder.parent.resolve().parent)
            folder.parent.unlink()
            folder.mkdir(parents=True)


def test_an_asr_lab_of_before_that_has_it_keeps_it(tmp_path):
    """It took `lockf` locks, which a `flock` does not see."""
    code = (
        "import fcntl, os, sys, time; file = os.open(sys.argv[1] + '/lock', os.O_RDWR | os.O_CREAT); "
        "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print(flush=True); time.sleep(600)"
    )
    older = process(code, tmp_path)
    older.stdout.readline()
    assert not FolderLock(tmp_path).take()
    older.kill()
    older.wait()
    assert FolderLock(tmp_path).take()


def test_a_lock_is_waited_for_by_processes_and_threads(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from asr_lab.system.locks import lock_on\n"
        "with lock_on(Path(sys.argv[1]) / 'x'):\n"
        "    print('in', flush=True); time.sleep(600)"
    )
    holder = process(code, tmp_path)
    assert holder.stdout.readline() == "in\n"
    order, lock = [], lock_on(tmp_path / "x")

    def enter() -> None:
        with lock:
            order.append("in")
            time.sleep(0.05)
            order.append("out")

    threads = [threading.Thread(target=enter) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert order == []
    holder.kill()
    holder.wait()
    for thread in threads:
        thread.join(timeout=30)
    assert order == ["in", "out"] * 3


def test_it_is_the_lock_that_older_journals_of_sweeps_are_locked_with(tmp_path):
    with (tmp_path / "x").open("a") as file, lock_on(tmp_path / "x"), pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
