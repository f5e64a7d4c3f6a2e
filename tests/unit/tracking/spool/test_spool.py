"""The spool by itself: what is written survives, what was cut off does not count, one process has it at a time."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from asr_lab.errors import AsrLabError
from asr_lab.tracking.spool.header import Header
from asr_lab.tracking.spool.journal import Event
from asr_lab.tracking.spool.sender import groups
from asr_lab.tracking.spool.spool import OutsideError, Spool, new_id, now_ms, spools, sweep


def header(**more) -> Header:
    usual = {"uri": "sqlite:///x.db", "family": "adapter", "kind": "train", "signature": "s", "name": "x"}
    return Header(**(usual | {"started_ms": now_ms(), "tags": {"a": "b"}, "process": "here|1|1"} | more))


@pytest.fixture
def spool(tmp_path):
    spool = Spool.create(tmp_path, new_id(), header())
    yield spool
    spool.release()


def kinds(spool: Spool) -> list[str]:
    return [event.kind for event in spool.read()]


def test_events_come_back_as_they_were_logged(spool):
    spool.append("metrics", step=3, values={"val/wer": float("nan"), "한글": 0.1})
    spool.append("finish", status="FINISHED")
    first, second = spool.read()
    assert (first.kind, first.content["step"], second.kind) == ("metrics", 3, "finish")
    assert first.content["values"]["한글"] == 0.1
    assert first.content["values"]["val/wer"] != first.content["values"]["val/wer"]
    assert spool.waiting() == 2
    spool.save(offset=first.end)
    assert kinds(spool) == ["finish"]
    assert Spool(spool.folder).waiting() == 1


@pytest.mark.parametrize("rest", ['{"kind":"metr', '{"kind":"metrics","at":1,"step":0,"values":{}}', "\0\0\0"])
def test_a_last_line_that_was_cut_off_is_dropped(spool, rest):
    spool.append("params", values={"a": "1"})
    whole = (spool.folder / "events.jsonl").read_bytes()
    spool.release()
    with (spool.folder / "events.jsonl").open("a") as file:
        file.write(rest)
    assert kinds(spool) == ["params"]
    assert spool.lock()
    spool.append("finish", status="FAILED")
    assert (spool.folder / "events.jsonl").read_bytes().startswith(whole + b'{"kind":"finish"')
    assert kinds(spool) == ["params", "finish"]


def test_a_line_in_the_middle_that_cannot_be_read_keeps_nothing_back(spool):
    spool.append("params", values={"a": "1"})
    with (spool.folder / "events.jsonl").open("ab") as file:
        file.write(b"\0\0\0\n")
    spool.append("params", values={"b": "1"})
    assert kinds(spool) == ["params", "", "params"]


def test_a_line_longer_than_what_is_read_at_a_time(spool, monkeypatch):
    monkeypatch.setattr("asr_lab.tracking.spool.journal._CHUNK", 100)
    spool.append("tags", values={"a": "x" * 1000})
    spool.append("tags", values={"b": "y"})
    seen = []
    while events := spool.read():
        seen += events
        spool.save(offset=events[-1].end)
    assert [len(next(iter(event.content["values"].values()))) for event in seen] == [1000, 1]


def test_ended_tells_how_a_run_ended_and_nothing_of_one_that_goes_on(spool):
    assert spool.ended() == ""
    spool.append("finish", status="FAILED")
    assert spool.ended() == "FAILED"
    spool.append("begin", name="x")
    assert spool.ended() == ""


def test_a_full_disk_is_one_message_and_what_was_written_stays_whole(spool, monkeypatch):
    spool.append("params", values={"a": "1"})
    write = os.write

    def half(file: int, data: bytes) -> int:
        if b"rest" not in data:  # what is left of the line
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: data.index(b"rest") + 4])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(AsrLabError, match=r"cannot be recorded: No space left on device \([\d,]+ MB are free\)"):
        spool.append("params", values={"b": "rest of the line"})
    monkeypatch.setattr(os, "write", write)
    spool.append("params", values={"c": "1"})
    assert [event.content["values"] for event in spool.read()] == [{"a": "1"}, {"c": "1"}]


def test_files_get_their_name_once_they_are_whole(spool, tmp_path):
    with spool.new_files() as temporary:
        (temporary / "x.txt").write_text("x")
        assert not (spool.folder / Spool.path_in_spool(temporary)).exists()
    assert (spool.folder / Spool.path_in_spool(temporary) / "x.txt").read_text() == "x"
    with pytest.raises(AsrLabError, match="cannot be recorded"), spool.new_files():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert len(list((spool.folder / "files").iterdir())) == 1


def test_one_process_has_it_at_a_time(spool):
    code = (
        "import sys, pathlib; from asr_lab.tracking.spool.spool import Spool; "
        "print(Spool(pathlib.Path(sys.argv[1])).lock())"
    )

    def elsewhere() -> str:
        command = [sys.executable, "-c", code, spool.folder]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert not Spool(spool.folder).lock()  # another thread of this process
    assert elsewhere() == "False"
    child = os.fork()  # as a loader's worker is: it must not keep the lock when this process is gone
    if not child:
        os._exit(not spool.locked and not Spool(spool.folder).lock())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    spool.release()
    assert elsewhere() == "True"


def test_a_spool_is_seen_by_others_only_once_it_is_somebodys(tmp_path):
    made = Spool.create(tmp_path, "one", header())
    (tmp_path / ".two.writing").mkdir()
    assert [spool.id for spool in spools(tmp_path)] == ["one"]
    made.rename("three")
    assert not spools(tmp_path)[0].lock()
    made.remove()
    assert not tmp_path.exists() or not list(tmp_path.glob("[!.]*"))


def test_runs_come_in_the_order_in_which_they_began(tmp_path):
    for id, started in (("child", 2), ("parent", 1)):
        Spool.create(tmp_path, id, header(started_ms=started)).release()
    assert [spool.id for spool in spools(tmp_path)] == ["parent", "child"]


def test_requests_hold_a_thousand_points_and_keep_the_order():
    events = [Event("metrics", 1, {"step": n, "values": {f"m{k}": 0.0 for k in range(10)}}, n) for n in range(250)]
    events.insert(120, Event("artifact", 1, {"file": "x", "to": ""}, 0))
    made = list(groups(events))
    assert [event for group in made for event in group] == events
    assert [len(group) for group in made] == [100, 20, 1, 100, 30]


def test_what_was_refused_is_kept_and_offered_again(spool):
    spool.append("metrics", step=0, values={"wer(%)": 1.0})
    spool.append("metrics", step=1, values={"wer(%)": 1.0})
    for event in spool.read():
        spool.refuse(event, "a name")
    assert spool.waiting() == 4
    spool.retry_refused(lambda event: event.content["step"] == 1)
    assert [line["step"] for line in spool.refused()] == [0]
    spool.retry_refused(lambda event: True)
    assert spool.refused() == []
    assert not (spool.folder / "refused.jsonl").exists()


def test_state_is_read_again_by_the_next_process(spool):
    spool.save(run_id="r1", offset=0, models={"files/x/model": "models:/tiny/1"})
    assert Spool(spool.folder).state.models == {"files/x/model": "models:/tiny/1"}
    assert json.loads((spool.folder / "state.json").read_text())["run_id"] == "r1"


def test_what_was_refused_is_read_whatever_its_last_line_is(spool):
    spool.refuse(Event("metrics", 1, {"step": 0, "values": {"wer(%)\u2028": 1.0}}, 0), "a\u2028name")
    with (spool.folder / "refused.jsonl").open("ab") as file:
        file.write('{"kind":"metrics","at":1,"why":"한'.encode()[:-1])
    assert [line["why"] for line in spool.refused()] == ["a\u2028name"]
    spool.refuse(Event("tags", 1, {"values": {}}, 0), "another")
    assert [line["why"] for line in spool.refused()] == ["a\u2028name", "another"]


def test_its_header_is_for_its_owner_alone(tmp_path):
    made = Spool.create(tmp_path, "one", header(uri="http://me:secret@host"))
    for _ in range(2):
        assert (made.folder / "header.json").stat().st_mode & 0o777 == 0o600
        made.describe(header(name="y"))
    made.release()


def test_what_a_killed_process_left_half_made_blocks_nothing(tmp_path):
    for name in (".one.writing", ".one.shipped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "header.json").write_text("{")
        os.utime(tmp_path / name, (0, 0))
    made = Spool.create(tmp_path, "one", header())
    made.append("finish", status="FINISHED")
    made.remove()
    assert not tmp_path.exists()


def test_leftovers_are_swept(tmp_path):
    for name in (".one.writing", ".one.123.writing", ".two.writing", ".one.shipped"):
        (tmp_path / name).mkdir()
    for name in (".one.writing", ".one.123.writing"):
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == [".two.writing"]  # somebody may be at it


def test_two_that_make_a_spool_of_one_run_are_distinguished(tmp_path):
    made = Spool.create(tmp_path, "one", header())
    with pytest.raises(AsrLabError, match="is being recorded by another process"):
        Spool.create(tmp_path, "one", header())
    made.release()
    assert Spool.create(tmp_path, "one", header()).locked


@pytest.mark.parametrize("named", ["../../secret/x.txt", "/etc/hostname", "files/link/x.txt", "files", "files/a", ""])
def test_a_file_of_an_event_lies_in_the_spool(spool, tmp_path, named):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.txt").write_text("secret")
    (spool.folder / "files" / "a").mkdir(parents=True)
    (spool.folder / "files" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OutsideError, match="is not a file of the spool"):
        spool.file(named)


def test_a_folder_of_an_event_has_no_links_in_it(spool):
    (spool.folder / "files" / "a" / "model").mkdir(parents=True)
    assert spool.file("files/a/model") == spool.folder / "files/a/model"
    (spool.folder / "files" / "a" / "model" / "weights").symlink_to("/etc/hostname")
    with pytest.raises(OutsideError, match="has a link in it"):
        spool.file("files/a/model")
