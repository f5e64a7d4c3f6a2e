"""Shards: what is read of them is what was written, made once each, and what is missing or cut off is named."""

import gzip
import json
import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import servers
import soundfile
from conftest import make_corpus
from lhotse import CutSet

from asr_lab.data import manifest, shards
from asr_lab.data.batches import Collator, EpochBatches, loader
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.features import extract
from asr_lab.data.shard_folder import ShardFolder
from asr_lab.data.shards import Shards
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError

NUMBER = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A manifest of FLAC, WAV of two channels at another rate, headerless audio, and a piece of a file."""
    folder = tmp_path_factory.mktemp("corpus")
    path = make_corpus(folder, {f"u{number}": "cab" for number in range(NUMBER)})
    cuts = list(manifest.read(path))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))
    soundfile.write(folder / "two.wav", noise, 8000)
    (folder / "bare.pcm").write_bytes((noise[:, 0] * 32767).astype("<i2").tobytes())
    known = {"text": "more", "speaker": "한국"}
    more = [manifest.utterance(id=f"한/{name}", audio=folder / name, **known) for name in ("two.wav", "bare.pcm")]
    piece = cuts[0].truncate(offset=0.1, duration=0.3, preserve_id=False).with_id("piece")
    piece.supervisions[0].start, piece.supervisions[0].duration = 0.0, 0.3
    path = folder / "mixed.jsonl.gz"
    manifest.write([*cuts, *more, piece], path)
    return path


def planned(path: Path, out: Path | str, **options) -> Shards:
    return Shards(Utterances.read(path), ShardFolder.at(out), "mixed", per_shard=options.pop("per_shard", 3), **options)


def written(path: Path, out: Path) -> Path:
    shards.write(planned(path, out), workers=2)
    return out / "mixed.jsonl.gz"


def test_samples_and_fields_are_those_of_the_source(whole, tmp_path):
    copy = written(whole, tmp_path / "out")
    before, after = list(Utterances.read(whole)), list(Utterances.read(copy))
    assert [cut.id for cut in after] == [cut.id for cut in before]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(read_cut(one), read_cut(other), err_msg=one.id)
        assert (manifest.text(one), one.supervisions[0].speaker) == (
            manifest.text(other),
            other.supervisions[0].speaker,
        )
    manifest.check_files(CutSet(Utterances.read(copy)))
    assert shards.verify(ShardFolder.at(tmp_path / "out"), "mixed", Utterances.read(whole)) == len(before)


def test_whole_recordings_keep_the_digest_of_the_manifest(corpus, tmp_path):
    shards.write(Shards(Utterances.read(corpus), ShardFolder.at(tmp_path), "mixed"))
    assert Utterances.read(tmp_path / "mixed.jsonl.gz").digest() == Utterances.read(corpus).digest()


def test_plain_lhotse_reads_them(whole, tmp_path):
    written(whole, tmp_path)
    cuts = list(CutSet.from_shar(in_dir=tmp_path / "mixed"))
    assert [cut.id for cut in cuts] == [cut.id for cut in Utterances.read(whole)]
    assert all(cut.load_audio().shape[-1] == cut.num_samples for cut in cuts)


def test_an_interrupted_call_goes_on_and_makes_nothing_twice(whole, tmp_path):
    copy = written(whole, tmp_path)
    content, folder = gzip.decompress(copy.read_bytes()), tmp_path / "mixed"
    stays = {path: path.stat().st_mtime_ns for path in folder.glob("*.00000[02].*")}
    copy.unlink()  # what a kill leaves: a shard without its cuts, and temporaries
    (folder / "cuts.000001.jsonl.gz").unlink()
    (folder / "recording.000001.tar").write_bytes(b"half")
    (folder / ".recording.000001.tar.1-ab.writing").write_bytes(b"half")
    assert shards.write(planned(whole, tmp_path)) == 1
    assert gzip.decompress(copy.read_bytes()) == content
    assert stays == {path: path.stat().st_mtime_ns for path in stays}
    assert not list(folder.glob(".*"))
    assert shards.write(planned(whole, tmp_path)) == 0


def test_other_shards_are_not_replaced(whole, tmp_path):
    written(whole, tmp_path)
    with pytest.raises(AsrLabError) as error:
        shards.write(planned(whole, tmp_path, per_shard=4))
    assert "utterances_per_shard 3, not 4" in error.value.what


def test_one_process_writes_them(whole, tmp_path):
    folder = ShardFolder.at(tmp_path)
    with folder.locked("mixed"), pytest.raises(AsrLabError) as error:
        shards.write(planned(whole, tmp_path))
    assert error.value.what == "another process writes these shards"


@pytest.mark.parametrize("scheme", ["memory://", "file://"])
def test_one_machine_writes_behind_a_url(whole, tmp_path, monkeypatch, scheme):
    url = f"{scheme}{tmp_path}/shared"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "first"))
    with ShardFolder.at(url).locked("mixed"):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "second"))  # another machine has other locks
        with pytest.raises(AsrLabError) as error:
            shards.write(planned(whole, url))
        assert error.value.where.endswith("shared/mixed.writing")
        assert str(os.getpid()) in error.value.what
    assert ShardFolder.at(url).size("mixed.writing") < 0
    assert shards.write(planned(whole, url)) == 3


@pytest.mark.parametrize(("host", "goes_on"), [(socket.gethostname(), True), ("elsewhere", False)])
def test_what_a_killed_process_left_behind_a_url_is_replaced(whole, tmp_path, host, goes_on):
    folder = ShardFolder.at(f"memory://{tmp_path}/{host}")
    with folder.written("mixed.writing") as path:
        path.write_text(f"{host}|{2**22 + 1}|1")
    if not goes_on:
        with pytest.raises(AsrLabError) as error:
            shards.write(planned(whole, folder.root))
        assert "--take-over" in error.value.hint
    assert shards.write(planned(whole, folder.root), takes_over=not goes_on) == 3


def test_a_process_that_was_taken_over_leaves_the_mark_of_the_other(tmp_path):
    folder = ShardFolder.at(f"memory://{tmp_path}/taken")
    with folder.locked("mixed"), folder.written("mixed.writing") as path:
        path.write_text("elsewhere|7|1")
    assert folder.read("mixed.writing") == b"elsewhere|7|1"
    with folder.locked("mixed", takes_over=True):
        pass
    assert folder.size("mixed.writing") < 0


def test_two_at_once_end_with_each_utterance_once(whole, tmp_path):
    refused = []

    def one() -> None:
        try:
            shards.write(planned(whole, tmp_path))
        except AsrLabError as error:
            refused.append(error.what)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) <= {"another process writes these shards"}
    assert len(Utterances.read(tmp_path / "mixed.jsonl.gz")) == len(Utterances.read(whole))


def test_a_shard_that_is_missing_cut_off_or_changed_is_named(whole, tmp_path):
    copy, tar = written(whole, tmp_path), tmp_path / "mixed" / "recording.000001.tar"
    content, cuts = tar.read_bytes(), Utterances.read(copy)

    def faults() -> str:
        with pytest.raises(AsrLabError) as error:
            shards.verify(ShardFolder.at(tmp_path), "mixed", Utterances.read(whole))
        return error.value.what

    damaged = bytearray(content)
    damaged[1000] ^= 255
    tar.write_bytes(damaged)
    assert "recording.000001.tar: the audio of u3 is not the one" in faults()
    tar.write_bytes(content[:2000])
    assert "recording.000001.tar: the shard is cut off" in faults()
    with pytest.raises(AsrLabError) as error:
        manifest.check_files(CutSet(cuts))
    assert error.value.what.startswith("1 shard is cut off: ")
    assert tar.name in error.value.what
    with pytest.raises(AsrLabError) as error:
        read_cut(cuts[3])
    assert error.value.what.startswith("the shard is cut off")
    assert error.value.where == str(tar)
    tar.unlink()
    assert "recording.000001.tar: no such shard" in faults()
    with pytest.raises(AsrLabError) as error:
        manifest.check_files(CutSet(cuts))
    assert error.value.what.startswith("1 shard is not there")
    other = (tmp_path / "mixed" / "recording.000000.tar").read_bytes()
    tar.write_bytes(other[100:] + content)  # long enough, but another one
    with pytest.raises(AsrLabError) as error:
        read_cut(cuts[3])
    assert "not the one that the manifest was written for" in error.value.what


def test_a_full_disk_is_one_message(whole, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "_add", full)
    with pytest.raises(AsrLabError) as error:
        shards.write(planned(whole, tmp_path))
    assert "No space left on device" in error.value.what
    assert "the same command continues" in error.value.hint
    monkeypatch.undo()
    assert shards.write(planned(whole, tmp_path)) == 3


def test_opus_is_smaller_and_has_a_digest_of_its_own(whole, tmp_path):
    shards.write(planned(whole, tmp_path, form="opus"))
    before, after = Utterances.read(whole), Utterances.read(tmp_path / "mixed.jsonl.gz")
    assert after.digest() != before.digest()
    for one, other in zip(before, after, strict=True):
        assert abs(len(read_cut(one)) - len(read_cut(other))) <= 1, one.id


def test_shards_behind_a_url_are_read_by_their_manifest(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"file://{tmp_path}/out"
    shards.write(planned(whole, url))
    for name in (f"{url}/mixed.jsonl.gz", Path(f"{url}/mixed.jsonl.gz")):  # a path has one slash less
        cuts = Utterances.read(name)
        assert cuts[0].recording.sources[0].source.startswith(f"{url}/mixed/recording.000000.tar?o=0&e=")
        np.testing.assert_array_equal(read_cut(cuts[0]), read_cut(Utterances.read(whole)[0]))
    manifest.check_files(CutSet(cuts))
    manifest.write(CutSet(cuts.take(np.array([1]))), tmp_path / "part" / "one.jsonl.gz")
    row = json.loads(gzip.decompress((tmp_path / "part" / "one.jsonl.gz").read_bytes()))
    assert row["recording"]["sources"][0]["source"].startswith("file:///")


def test_shards_on_s3(whole, tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with servers.s3_endpoint(tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{servers.BUCKET}/corpus"
        assert shards.write(planned(whole, url)) == 3
        assert shards.write(planned(whole, url)) == 0
        with ShardFolder.at(url).locked("mixed"), monkeypatch.context() as elsewhere:
            elsewhere.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
            with pytest.raises(AsrLabError) as refusal:
                shards.write(planned(whole, url))
        assert refusal.value.where == f"{url}/mixed.writing"
        cuts, before = Utterances.read(f"{url}/mixed.jsonl.gz"), Utterances.read(whole)
        manifest.check_files(CutSet(cuts))
        for one, other in zip(before, cuts, strict=True):
            np.testing.assert_array_equal(read_cut(one), read_cut(other), err_msg=one.id)
        batches = loader(EpochBatches(CutSet(cuts), 4), Collator(extract), num_workers=1)
        assert sorted(id for batch in batches for id in batch["cut_ids"]) == sorted(cut.id for cut in before)
        assert shards.verify(ShardFolder.at(url), "mixed", before) == len(before)
        with pytest.raises(AsrLabError) as error:
            Utterances.read(f"{url}/none.jsonl.gz")
        assert (error.value.what, error.value.where) == ("no such manifest", f"{url}/none.jsonl.gz")
