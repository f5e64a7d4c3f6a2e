"""The table of a manifest says what its cuts say, is made anew when it has to be, and names what is broken."""

import errno
import gzip
import json
import os
import random
import shlex
from pathlib import Path
from threading import Thread

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from lhotse import CutSet
from manifests import row, written

from asr_lab.data import columns, manifest, manifest_lines, manifest_table, parsed_lines
from asr_lab.data.identity import FOLDER
from asr_lab.data.leakage import same_utterances
from asr_lab.data.manifest_table import remove_tables, table_of
from asr_lab.data.relocation import Relocation, write_rows
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError

NUMBERS = [7, 7.5, 5.0, 1e-05, 123456.789012345, -3.25, 2.00005, 0.0001]


@pytest.fixture
def strange(tmp_path):
    """Utterances with all that custom fields, texts and numbers may be."""
    draw = random.Random(0)
    more = [
        {},
        {"snr_db": draw.choice(NUMBERS)},
        {"snr_db": 12.5, "snr_by": "wada"},
        {"snr_db": 12.5, "snr_by": ""},
        {"guessed": "age,language"},
        {"phonemes": ["AA", "B"], "scores": {"phones": [1.0, 2]}},
        {"note": 'a "quoted" \\ text', "it's": "ö"},
        {"big": 12345678901234567890123, "tiny": 1e-9, "none": None, "flag": True},
    ]
    rows = [row(number, **more[number % len(more)]) for number in range(200)]
    return written(tmp_path / "corpus" / "all.jsonl.gz", rows)


@pytest.mark.parametrize("size", [16_000_000, 10_000])
def test_a_table_says_what_the_cuts_say(strange, monkeypatch, size):
    monkeypatch.setattr(manifest_lines, "_BATCH_BYTES", size)
    monkeypatch.setattr(manifest_lines, "_READ_BYTES", 1_000)
    cuts, rows = manifest.read(strange), Utterances.read(strange)
    assert rows.table.digest == manifest.digest(cuts)
    assert [cut.to_dict() for cut in rows] == [cut.to_dict() for cut in cuts]
    assert rows[17].to_dict() == cuts[17].to_dict()
    assert columns.durations(rows).tolist() == columns.durations(cuts).tolist()
    assert columns.field_names(rows) == columns.field_names(cuts)
    for name in (*columns.field_names(cuts), "duration_s"):
        assert columns.factor(rows, name).of_each(str).tolist() == columns.factor(cuts, name).of_each(str).tolist()
        if name != "duration_s":
            assert columns.factor(rows, name).of_each(str).tolist() == [str(manifest.field(cut, name)) for cut in cuts]
    places = [150, 3, 77, 78]
    part, own = columns.take(CutSet(rows), places), columns.take(cuts, places)
    assert [cut.id for cut in part] == [cut.id for cut in own]
    assert manifest.digest(part) == manifest.digest(own)
    assert same_utterances(part, rows) == same_utterances(own, cuts) == sorted(cut.id for cut in own)


def test_duckdb_and_python_make_the_same_rows(strange):
    (lines,) = manifest_lines.read_lines(strange)
    made = parsed_lines.RowReader(strange).rows(lines)
    reference = parsed_lines.RowReader(strange)._by_python(lines, range(len(lines)))
    for name in made.column_names:
        read = json.loads if name == "custom" else lambda value: value
        assert [*map(read, made[name].to_pylist())] == [*map(read, reference[name].to_pylist())], name


def test_what_is_written_from_a_table_is_what_is_written_from_cuts(strange, tmp_path):
    rows, other = Utterances.read(strange), tmp_path / "corpus" / "deeper" / "part.jsonl.gz"
    manifest.write(columns.take(rows, [5, 2, 100]), other)
    manifest.write(columns.take(manifest.read(strange), [5, 2, 100]), tmp_path / "corpus" / "deeper" / "cuts.jsonl.gz")
    ours, theirs = (manifest.read(path) for path in (other, other.with_name("cuts.jsonl.gz")))
    assert [cut.to_dict() for cut in ours] == [cut.to_dict() for cut in theirs]
    line = json.loads(gzip.decompress(other.read_bytes()).splitlines()[0])
    assert line["recording"]["sources"][0]["source"].startswith("../audio/")


PATHS = [
    ["audio/1.wav", "audio/b c/2.wav", "é/3.wav"],
    ["../data/1.wav", "../../data/2.wav", "own/3.wav"],
    ["/data/1.wav", "audio/2.wav", "audio/./3.wav"],
    ["parts/1.wav", "audio/2.wav", "audio/'quoted'/a \"b\"/3.wav"],
]


@pytest.mark.parametrize("target", [".", "parts", "parts/deep er", "../other", "../../far"])
@pytest.mark.parametrize("paths", PATHS)
def test_lines_that_move_together_are_those_that_move_alone(tmp_path, paths, target):
    rows = [json.loads(json.dumps(row(number))) for number in range(30)]
    for number, one in enumerate(rows):
        one["recording"]["sources"][0]["source"] = paths[number % 3]
    rows[7]["supervisions"][0]["custom"]["source"] = "web"
    folder = tmp_path / "a" / "b" / "corpus"
    cuts = Utterances.read(written(folder / "all.jsonl.gz", rows)).take(np.array([5, 6, 7, 8, 2, 29, 10]))
    moved = Relocation(cuts, (folder / target).resolve())
    assert b"".join(moved.lines()) == b"".join(map(moved.line, cuts.lines()))
    manifest.write(cuts, folder / target / "moved.jsonl.gz")
    assert [cut.id for cut in Utterances.read(folder / target / "moved.jsonl.gz")] == [cut.id for cut in cuts]
    for new, old in zip(Utterances.read(folder / target / "moved.jsonl.gz"), cuts, strict=True):
        sources = [os.path.normpath(cut.recording.sources[0].source) for cut in (new, old)]
        assert sources[0] == sources[1]


@pytest.mark.parametrize(
    ("line", "says"), [("{broken", "JSON"), ('{"id": "x"}', "Lhotse"), (json.dumps({"type": "MixedCut"}), "MixedCut")]
)
def test_a_broken_line_is_named(tmp_path, monkeypatch, line, says):
    monkeypatch.setattr(manifest_lines, "_BATCH_BYTES", 5_000)
    path = written(tmp_path / "all.jsonl.gz", [*(row(number) for number in range(60)), line, row(61)])
    with pytest.raises(AsrLabError, match=says) as error:
        Utterances.read(path)
    assert error.value.where == f"{path}, line 61"
    assert not [file for file in (tmp_path / FOLDER).iterdir() if file.suffix != ".lock"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"duration": -1.0}, "invalid start or duration"),
        ({"id": "u0001"}, "duplicate id: u0001"),
        ({"supervisions": []}, "exactly one supervision"),
    ],
)
def test_a_broken_contract_is_reported_as_it_is_for_cuts(tmp_path, change, says):
    path = written(tmp_path / "all.jsonl.gz", [*(row(number) for number in range(9)), row(9) | change])
    with pytest.raises(AsrLabError, match=says) as one:
        Utterances.read(path)
    with pytest.raises(AsrLabError) as other:
        manifest.read(path)
    assert (one.value.what, one.value.where) == (other.value.what, other.value.where)


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = written(tmp_path / "all.jsonl.gz", [row(1), row(2)])
    path.write_bytes(path.read_bytes() + gzip.compress(b'{"id": "\xb0\xa1"}\n'))
    with pytest.raises(AsrLabError) as error:
        Utterances.read(path)
    assert error.value.where == f"{path}, line 3"


def test_numbers_as_speakers_are_read_and_as_ids_refused(tmp_path):
    path = written(tmp_path / "all.jsonl.gz", [row(1), row(2)])
    numbered = row(3)
    numbered["supervisions"][0]["speaker"] = 12
    cuts, rows = manifest.read(written(path, [row(1), numbered])), Utterances.read(path)
    assert rows.digest() == manifest.digest(cuts)
    assert rows.column("speaker").to_pylist() == ["s1", "12"]
    with pytest.raises(AsrLabError) as error:
        Utterances.read(written(path, [row(1), row(2) | {"id": 5}]))
    assert error.value.where == f"{path}, line 2"


def test_a_cut_off_manifest_is_reported(tmp_path):
    path = written(tmp_path / "all.jsonl.gz", [row(number) for number in range(50)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(AsrLabError, match="cut off"):
        Utterances.read(path)


def test_several_members_and_padding_are_one_manifest(tmp_path):
    path = written(tmp_path / "all.jsonl.gz", [row(0)])
    path.write_bytes(path.read_bytes() + written(tmp_path / "b.jsonl.gz", [row(1)]).read_bytes() + bytes(64))
    assert [cut.id for cut in Utterances.read(path)] == ["u0000", "u0001"]


def test_a_table_is_made_once_and_anew_when_its_manifest_changes(tmp_path, monkeypatch):
    made, make = [], manifest_table._make
    monkeypatch.setattr(manifest_table, "_make", lambda table: (made.append(table), make(table)))
    path = written(tmp_path / "all.jsonl.gz", [row(0)])
    written(tmp_path / "all-2.jsonl.gz", [row(5)])
    threads = [Thread(target=table_of, args=[path]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    table_of(tmp_path / "all-2.jsonl.gz")
    old = Utterances.read(path)
    written(path, [row(0), row(1)])
    assert len(Utterances.read(path)) == 2
    assert len(list((tmp_path / FOLDER).glob("*.parquet"))) == 2
    with pytest.raises(AsrLabError, match="gone") as error:
        list(old)
    assert error.value.hint


@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_a_damaged_table_is_made_anew_by_the_same_command(tmp_path, kind):
    path = written(tmp_path / "all.jsonl.gz", [row(number) for number in range(200)])
    before = [cut.id for cut in Utterances.read(path)]
    (file,) = (tmp_path / FOLDER).glob(f"*.{kind}")
    content = bytearray(file.read_bytes())
    for place in range(8, len(content) // 2, 3):  # the end of a parquet file says what is in it
        content[place] ^= 255
    file.write_bytes(content)
    with pytest.raises(AsrLabError, match="damaged") as error:
        list(Utterances.read(path))
    assert error.value.where == str(file)
    assert [cut.id for cut in Utterances.read(path)] == before


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (duckdb.IOException('IO Error: Could not write file "/tmp/x.tmp": No space left on device'), "room"),
        (duckdb.IOException('IO Error: Cannot open file "a.parquet": Too many open files'), "ulimit -n"),
        (duckdb.IOException('IO Error: Cannot open file "a.parquet": Permission denied'), "permission"),
        (duckdb.IOException('IO Error: Could not write file "/tmp/x.tmp": File too large'), "ulimit -f"),
        (duckdb.IOException('IO Error: Cannot open file "/tmp/x.tmp": No such file or directory'), ""),
        (duckdb.IOException("IO Error: of another kind"), ""),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EIO, "Input/output error"), "dmesg"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), ""),
    ],
    ids=str,
)
def test_a_sound_table_that_cannot_be_read_stays(tmp_path, error, advice):
    table = table_of(written(tmp_path / "all.jsonl.gz", [row(0)]))
    with pytest.raises(AsrLabError, match="cannot be read") as told, table.explain_gone():
        raise error
    assert told.value.where == str(table.parquet)
    assert advice in told.value.hint
    assert bool(told.value.hint) == bool(advice)
    assert table.is_complete


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_a_table_that_was_removed_is_called_gone(tmp_path, number):
    table = table_of(written(tmp_path / "all.jsonl.gz", [row(0)]))
    with pytest.raises(AsrLabError, match="gone"), table.explain_gone():
        raise OSError(number, os.strerror(number))
    table.parquet.unlink()
    with pytest.raises(AsrLabError, match="gone"):
        table.query()


def test_a_damaged_table_that_cannot_be_removed_names_the_ways_out(tmp_path, monkeypatch):
    table = table_of(written(tmp_path / "of all" / "all.jsonl.gz", [row(0)]))

    def refused(path, **_):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refused)  # root may write to read-only folders
    with pytest.raises(AsrLabError, match=r"damaged.*cannot be removed: Read-only") as told, table.explain_gone():
        raise pa.ArrowInvalid("no magic bytes")
    assert shlex.split(told.value.next_command) == ["rm", str(table.parquet)]
    assert "same command" not in told.value.hint


def test_where_no_table_can_be_written_it_works_without_and_says_so_once(tmp_path, caplog):
    path = written(tmp_path / "all.jsonl.gz", [row(0), row(1)])
    (tmp_path / FOLDER).write_text("in the way")
    for _ in range(2):
        assert [cut.id for cut in Utterances.read(path)] == ["u0000", "u0001"]
    assert len(caplog.records) == 1
    assert str(path) in caplog.text


@pytest.mark.parametrize("name", ["parquet", "lines"])
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_table_that_is_cut_off_is_made_anew(tmp_path, name, keep):
    path = written(tmp_path / "all.jsonl.gz", [row(0), row(1)])
    file = getattr(table_of(path), name)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    assert [cut.id for cut in Utterances.read(path)] == ["u0000", "u0001"]


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path, monkeypatch, caplog):
    path = written(tmp_path / "all.jsonl.gz", [row(2), row(3)])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "Error writing bytes to file")

    monkeypatch.setattr(manifest_table.pq, "ParquetWriter", full)
    monkeypatch.setattr(manifest_table, "_warned", set())
    with pytest.raises(AsrLabError, match="neither beside it nor as a temporary file") as error:
        Utterances.read(path)
    assert error.value.where == str(path)
    assert "No space left on device" in caplog.text
    assert [file.name for file in (tmp_path / FOLDER).iterdir()] == ["all.lock"]


def test_tables_go_with_their_manifests(tmp_path):
    one, other, third = (written(tmp_path / f"{name}.jsonl.gz", [row(0)]) for name in ("one", "one-2", "x.1-2"))
    for path in (one, other, third):
        table_of(path)
    one.unlink()
    remove_tables(one)
    assert sorted(path.name.rsplit(".", 2)[0] for path in (tmp_path / FOLDER).glob("*.parquet")) == ["one-2", "x.1-2"]
    third.unlink()
    left = tmp_path / FOLDER / ".digest.killed"
    left.mkdir()
    os.utime(left, (0, 0))
    table_of(written(tmp_path / "new.jsonl.gz", [row(1)]))  # what was removed by hand goes with the next table
    assert sorted(path.name.rsplit(".", 2)[0] for path in (tmp_path / FOLDER).glob("*.lines")) == ["new", "one-2"]
    assert not left.exists()


def test_what_reads_lines_closes_its_file(tmp_path):
    rows = Utterances.read(written(tmp_path / "all.jsonl.gz", [row(number) for number in range(9)]))
    rows[0]
    opened = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(9):
        assert rows.take([number])[0].id == f"u{number:04d}"
    assert len(list(Path("/proc/self/fd").iterdir())) <= opened


def test_lines_are_read_in_any_order(tmp_path):
    path = written(tmp_path / "all.jsonl.gz", [row(number) for number in range(500)])
    rows = Utterances.read(path)
    order = random.Random(0).sample(range(500), 500)
    assert [cut.id for cut in rows.take(order)] == [f"u{number:04d}" for number in order]
    for some in (order, sorted(order[:200]), [*range(200), *range(100)], []):
        part = rows.take(some)
        assert b"".join(part.lines(together=True)) == b"".join(part.lines())
    assert isinstance(rows.column("id"), pa.ChunkedArray)


@pytest.mark.parametrize("where", ["", "beside", "far/away"])
@pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0), (5, 0, 2)])
def test_a_last_line_without_an_end_is_written_as_a_line(tmp_path, where, order):
    """`data split` writes in the order of ids; here the last line of the manifest comes first."""
    path = written(tmp_path / "all.jsonl.gz", [row(number) for number in range(6)])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).rstrip(b"\n"), mtime=0))
    rows = columns.take(Utterances.read(path), list(order))
    out = tmp_path / where / "part.jsonl.gz"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_rows(rows, out)
    assert [cut.id for cut in manifest.read(out)] == [f"u{number:04d}" for number in order]
    assert gzip.decompress(out.read_bytes()).count(b"\n") == len(order)
