"""Files and folders that are whole or as they were: failing writers, kills, several processes, leftovers."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr_lab.errors import AsrLabError
from asr_lab.system.files import (
    atomic_file,
    atomic_folder,
    explain_unwritable,
    remedy,
    restore_former,
    temporary,
    write_bytes,
    write_text,
)
from asr_lab.system.processes import here


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    code = f"import os, sys; from pathlib import Path; from asr_lab.system.files import *\n{code}"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_a_file_is_replaced_whole_in_folders_that_are_made(tmp_path):
    file = tmp_path / "a" / "b" / "x.txt"
    write_text(file, "가\n")
    write_bytes(file, b"new")
    with atomic_file(file, sync=True) as written:
        written.write_text("newest")
        assert file.read_bytes() == b"new"
    assert (file.read_text(), names(file.parent)) == ("newest", ["x.txt"])


def test_a_mode_holds_from_the_first_byte_on(tmp_path):
    write_text(tmp_path / "secret", "x", mode=0o600)
    write_text(tmp_path / "secret", "y", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_writer_that_fails_half_way_leaves_the_old_file_and_no_temporary(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("old")

    def fail_half_way() -> None:
        with atomic_file(file) as written:
            written.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert (file.read_text(), names(tmp_path)) == ("old", ["x.txt"])


def test_a_write_that_stops_half_way_leaves_the_old_file_and_is_one_message(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("old")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(AsrLabError) as told, explain_unwritable("it", file, hint="nothing is lost"):
            write_bytes(file, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
    assert (told.value.where, told.value.hint) == (
        str(file),
        "a limit on the size of a file is reached: ulimit -f, or the file system's; nothing is lost",
    )
    assert told.value.what.endswith("File too large")  # the room on the disk does not matter
    assert (file.read_text(), names(tmp_path)) == ("old", ["x.txt"])


def test_a_place_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("in the way")  # root may write to read-only folders
    with pytest.raises(AsrLabError) as told, explain_unwritable("it", tmp_path / "file" / "x"):
        write_text(tmp_path / "file" / "x", "")
    assert told.value.where == str(tmp_path / "file" / "x")
    place = Path("/proc/nowhere/x")
    with pytest.raises(AsrLabError) as told, explain_unwritable("the model", place), atomic_folder(place):
        pass
    assert told.value.what.startswith("the model")


@pytest.mark.parametrize(
    ("number", "advice", "is_full"),
    [
        (errno.ENOSPC, "make room on the disk", True),
        (errno.EDQUOT, "make room on the disk", True),
        (errno.EFBIG, "ulimit -f", False),
        (errno.EACCES, "permission to read or write", False),
        (errno.EPERM, "permission to read or write", False),
    ],
)
def test_each_cause_has_its_advice_and_a_full_disk_its_room(tmp_path, number, advice, is_full):
    with pytest.raises(AsrLabError) as told, explain_unwritable("it", tmp_path):
        raise OSError(number, os.strerror(number))
    assert told.value.hint.startswith(remedy(OSError(number, "")))
    assert advice in told.value.hint
    assert ("MB are free" in told.value.what) == is_full


def test_other_errors_are_passed_on_and_a_started_folder_goes_only_where_writing_failed(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="no writing"), explain_unwritable("it", tmp_path / "folder", removes=True):
        raise ValueError("no writing")
    assert names(tmp_path) == ["folder"]
    with pytest.raises(AsrLabError), explain_unwritable("it", tmp_path / "folder", removes=True):
        raise RuntimeError("PytorchStreamWriter failed writing file")  # as torch has it
    assert names(tmp_path) == []


def test_a_process_that_is_killed_at_it_leaves_the_old_file_and_later_its_temporary_goes(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("old")
    killed = python(
        "with atomic_file(Path(sys.argv[1])) as written:\n"
        "    written.write_text('half'); print('writing', flush=True); import time; time.sleep(600)",
        file,
    )
    assert killed.stdout.readline() == "writing\n"
    killed.kill()
    killed.wait()
    [left] = [name for name in names(tmp_path) if name != "x.txt"]
    assert left == f".x.txt.{killed.pid}-{here()}.writing"
    assert file.read_text() == "old"
    write_text(file, "new")
    assert left in names(tmp_path)  # another process may be at it
    for old in (left, ".x.txt.writing", ".x.txt.part"):  # the last two were those of earlier versions
        (tmp_path / old).write_text("half")
        os.utime(tmp_path / old, (0, 0))
    (tmp_path / ".x.txt.2").write_text("of the user")
    os.utime(tmp_path / ".x.txt.2", (0, 0))
    write_text(file, "newest")
    assert (file.read_text(), names(tmp_path)) == ("newest", [".x.txt.2", "x.txt"])


def test_what_another_machine_is_writing_stays_whatever_the_clock_of_this_one(tmp_path, monkeypatch):
    theirs = temporary(tmp_path / "x").name.replace(here(), "0123abcd")  # its thread may have our number
    (tmp_path / theirs).write_text("half")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    write_text(tmp_path / "x", "ours")
    assert names(tmp_path) == [theirs, "x"]


def test_processes_that_write_one_file_at_once_write_it_whole(tmp_path):
    file = tmp_path / "x.txt"
    code = "for n in range(200): write_text(Path(sys.argv[1]), sys.argv[2] * 100_000)"
    writers = [python(code, file, letter) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if file.is_file():
            content = file.read_text()
            assert len(content) == 100_000
            seen |= set(content)
            assert len(set(content)) == 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"a", "b"}
    assert names(tmp_path) == ["x.txt"]


def test_a_folder_gets_its_name_once_it_is_whole(tmp_path):
    with atomic_folder(tmp_path / "made" / "folder") as written:
        (written / "x").write_text("x")
        assert names(tmp_path / "made") == [written.name]
    assert names(tmp_path / "made" / "folder") == ["x"]
    with pytest.raises(AsrLabError) as told, atomic_folder(tmp_path / "made" / "folder"):
        pass
    assert told.value.where == str(tmp_path / "made" / "folder")

    def fail_half_way() -> None:
        with atomic_folder(tmp_path / "made" / "folder", replaces=True) as written:
            (written / "y").write_text("y")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail_half_way()
    assert (names(tmp_path / "made"), names(tmp_path / "made" / "folder")) == (["folder"], ["x"])
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as written:
        (written / "x").touch()
    assert names(tmp_path / "empty") == ["x"]


def test_a_folder_that_replaces_another(tmp_path):
    folder = tmp_path / "model"
    for content in ("first", "second"):
        (tmp_path / ".model.1.writing").mkdir()  # of a process that was killed just now
        with atomic_folder(folder, replaces=True) as written:
            (written / content).touch()
        assert (names(tmp_path), names(folder)) == (["model"], [content])


def test_a_replacement_that_was_cut_off_between_its_renames_is_mended(tmp_path):
    (tmp_path / ".model.old").mkdir()
    (tmp_path / ".model.old" / "weights").touch()
    restore_former(tmp_path / "model")
    assert (names(tmp_path), names(tmp_path / "model")) == (["model"], ["weights"])
    restore_former(tmp_path / "model")  # nothing to do
    assert names(tmp_path / "model") == ["weights"]


def test_temporaries_are_hidden_and_each_thread_has_its_own(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(temporary, tmp_path / "x").result()
    assert other != temporary(tmp_path / "x")
    assert other.name.startswith(".x.")


def test_a_device_or_a_pipe_keeps_its_place(tmp_path):
    main, other = os.openpty()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for stream, path in ((main, Path(os.ttyname(other))), (reader, pipe), (reader, Path(f"/proc/self/fd/{reader}"))):
        kind = path.stat().st_mode
        write_text(path, "a,b")
        assert os.read(stream, 99) == b"a,b"
        assert path.stat().st_mode == kind
    for descriptor in (main, other, reader):
        os.close(descriptor)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_what_a_stream_has_is_kept(tmp_path, name):
    """As of a file to which a shell appends the output."""
    code = "import sys; from pathlib import Path; from asr_lab.system.files import write_text; "
    code += "print('first'); write_text(Path(sys.argv[1]), 'second\\n'); print('third')"
    file = tmp_path / "file"
    file.write_text("before\n")
    with file.open("a") as out:
        subprocess.run([sys.executable, "-c", code, name], stdout=out, check=True)
    assert file.read_text().split() == ["before", "first", "second", "third"]
