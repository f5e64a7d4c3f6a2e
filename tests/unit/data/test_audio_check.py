"""What `asr-lab data check` finds in audio, how it goes on after a kill, and what several processes do."""

import os
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import soundfile
from corpora import RATE, samples, sound

from asr_lab.data import audio_measures, manifest
from asr_lab.data.audio_findings import (
    CHANGED,
    CLIPPED,
    CONFLICTING,
    DROPPED,
    DUPLICATE,
    DURATION,
    OUTLIER,
    SHARED,
    SILENT,
    UNREADABLE,
    cleaned,
    find,
    shared_recordings,
)
from asr_lab.data.audio_findings import RATE as OTHER_RATE
from asr_lab.data.audio_measures import Measurements, clipped_share, loud_s, measure_audio
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError


def corpus(folder, names, *, texts=None):
    """Write a manifest of recordings of one second, each of its own noise."""
    cuts = [
        manifest.utterance(
            id=name,
            audio=sound(folder / "audio" / f"{name}.wav", 1.0, seed=zlib.crc32(name.encode())),
            text=(texts or {}).get(name, f"text of {name}"),
            speaker=name[0],
        )
        for name in names
    ]
    manifest.write(cuts, folder / "all.jsonl.gz")
    return Utterances.read(folder / "all.jsonl.gz")


def rewritten(folder, name, signal, rate=RATE):
    soundfile.write(folder / "audio" / f"{name}.wav", signal, rate)


def measured(cuts, **options):
    made = Measurements(cuts)
    made.run(**{"workers": 1, **options})
    return made


def kinds(findings):
    return {(row.id, row.kind) for row in findings.itertuples()}


def test_each_kind_of_fault_is_found_where_it_is(tmp_path):
    silence, loud = np.zeros(RATE), np.clip(samples(1.0, 5) * 20, -0.9, 0.9)
    soundfile.write(tmp_path / "quiet.wav", silence, RATE)
    soundfile.write(tmp_path / "loud.wav", loud, RATE)
    names = ["a1", "a2", "b1", "b2", "c1", "c2"]
    cuts = [manifest.utterance(id=n, audio=sound(tmp_path / f"{n}.wav", 1.0, seed=i), text=n, speaker="s")
            for i, n in enumerate(names)]  # fmt: skip
    cuts += [
        manifest.utterance(id=name, audio=tmp_path / f"{name}.wav", text=name, speaker="s")
        for name in ("quiet", "loud")
    ]
    manifest.write(cuts, tmp_path / "all.jsonl.gz")
    (tmp_path / "a1.wav").unlink()
    (tmp_path / "a2.wav").write_bytes((tmp_path / "a2.wav").read_bytes()[:9_000])
    sound(tmp_path / "b1.wav", 1.0, seed=99)
    sound(tmp_path / "b2.wav", 1.5, seed=3)
    soundfile.write(tmp_path / "c1.wav", samples(1.0, 4), 2 * RATE)
    findings = find({"all": measured(Utterances.read(tmp_path / "all.jsonl.gz"))})
    assert kinds(findings) == {
        ("a1", UNREADABLE),
        ("a2", UNREADABLE),
        ("b1", CHANGED),
        ("b2", DURATION),
        ("c1", UNREADABLE),  # half as long, so a second of it is not there
        ("quiet", SILENT),
        ("loud", CLIPPED),
    }


def test_another_rate_of_the_same_duration_is_found(tmp_path):
    cuts = corpus(tmp_path, ["a1", "a2"])
    rewritten(tmp_path, "a1", samples(2.0, 1), RATE * 2)
    assert kinds(find({"all": measured(cuts)})) == {("a1", OTHER_RATE)}


def test_the_same_audio_twice_is_found_in_any_lossless_format(tmp_path):
    corpus(tmp_path, ["a1", "b1", "c1", "d1"])
    texts = {"a1": "one", "copy": "one", "b1": "two", "other": "another text", "c1": "three", "d1": "four"}
    for copied, name in (("a1", "copy"), ("b1", "other")):
        soundfile.write(
            tmp_path / "audio" / f"{name}.flac", soundfile.read(tmp_path / "audio" / f"{copied}.wav")[0], RATE
        )
    cuts = [
        manifest.utterance(id=path.stem, audio=path, text=texts[path.stem], speaker="s")
        for path in sorted((tmp_path / "audio").iterdir())
    ]
    manifest.write(cuts, tmp_path / "all.jsonl.gz")
    rows = Utterances.read(tmp_path / "all.jsonl.gz")
    findings = find({"all": measured(rows)})
    assert kinds(findings) == {("copy", DUPLICATE), ("b1", CONFLICTING), ("other", CONFLICTING)}
    assert dict(zip(findings["id"], findings["detail"], strict=True)) == {
        "copy": "as a1",
        "b1": "as other",
        "other": "as b1",
    }
    left = rows.take(cleaned(rows, findings, DROPPED))
    assert [cut.id for cut in left] == ["a1", "c1", "d1"]


def test_audio_in_two_manifests_is_found_but_for_nested_ones(tmp_path):
    train = corpus(tmp_path / "train", ["a1", "a2", "a3"])
    test = corpus(tmp_path / "test", ["a2", "b1"])
    soundfile.write(tmp_path / "test" / "audio" / "b1.wav", samples(1.0, zlib.crc32(b"a3")), RATE)
    renamed = [manifest.utterance(id=cut.id + "-copy", audio=tmp_path / "test" / "audio" / f"{cut.id}.wav",
                                  text="other words", speaker="z") for cut in test]  # fmt: skip
    manifest.write(renamed, tmp_path / "test" / "all.jsonl.gz")
    test = Utterances.read(tmp_path / "test" / "all.jsonl.gz")
    both = {"train": measured(train), "test": measured(test)}
    findings = find(both)
    assert [(row.manifest, row.id, row.kind, row.detail) for row in findings.itertuples()] == [
        ("train", "a2", SHARED, "as a2-copy of test"),
        ("train", "a3", SHARED, "as b1-copy of test"),
    ]
    (pair,) = shared_recordings({"train": train, "test": test}).items()
    assert pair[0] == "train and test"
    assert [os.path.basename(path) for path in pair[1]] == ["a2.wav", "a3.wav"]  # noqa: PTH119
    manifest.write(train.take(np.array([0, 1])), tmp_path / "train" / "part.jsonl.gz")
    part = Utterances.read(tmp_path / "train" / "part.jsonl.gz")
    assert not len(find({"all": measured(train), "part": measured(part)}))
    assert not shared_recordings({"all": train, "part": part}, nested=False)
    assert shared_recordings({"all": train, "part": part})


def test_pieces_of_a_file_are_measured_where_they_are(tmp_path):
    signal = np.concatenate([samples(1.0, 1), np.zeros(RATE), samples(1.0, 2)])
    soundfile.write(tmp_path / "long.wav", signal, RATE)
    cut = manifest.utterance(id="x", audio=tmp_path / "long.wav", text="t", speaker="s")
    pieces = []
    for second in range(3):
        piece = cut.truncate(offset=second, duration=1.0, preserve_id=False).with_id(f"p{second}")
        piece.supervisions[0].start, piece.supervisions[0].duration = 0.0, 1.0
        pieces.append(piece)
    manifest.write(pieces, tmp_path / "all.jsonl.gz")
    cuts = Utterances.read(tmp_path / "all.jsonl.gz")
    assert kinds(find({"all": measured(cuts)})) == {("p1", SILENT)}


def test_loud_and_clipped_are_what_they_say():
    assert loud_s(np.full((RATE, 1), 0.3, np.float32), RATE) == 0.0  # an offset is no sound
    half = np.concatenate([np.zeros(RATE // 2), samples(0.5, 1)])[:, None].astype(np.float32)
    assert loud_s(half, RATE) == pytest.approx(0.5)
    tone = np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    assert clipped_share(np.round(tone * 32767)[:, None].astype(np.float32) / 32768) == 0.0
    flat = np.clip(tone * 2, -0.8, 0.8).astype(np.float32)
    share = (np.abs(flat) == np.float32(0.8)).mean()
    assert clipped_share(np.stack([tone.astype(np.float32) * 0.1, flat], axis=1)) == pytest.approx(share, abs=0.01)


def test_processes_measure_what_one_process_does(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_measures, "_PART_S", 3.0)
    cuts = corpus(tmp_path, [f"{letter}{number}" for letter in "abc" for number in range(4)])
    alone = measured(cuts).dataset.to_table().sort_by("row")
    Measurements(cuts).remove()
    seen = []
    together = measured(cuts, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert together.dataset.to_table().sort_by("row").equals(alone)
    assert len(list(together.folder.iterdir())) == 4
    assert seen[-1] == (12, 12)


def test_a_second_call_reads_what_is_left_and_what_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_measures, "_PART_S", 2.0)
    cuts, read = corpus(tmp_path, ["a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2"]), []

    def measure(part):
        if {cut.id for cut in part} == {"d1", "d2"} and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        read.extend(cut.id for cut in part)
        return measure_audio(part)

    with pytest.raises(KeyboardInterrupt):
        measured(cuts, measure=measure)
    assert read == ["a1", "a2", "b1", "b2", "c1", "c2"]
    read.clear()
    (tmp_path / "again").touch()
    rewritten(tmp_path, "a2", samples(1.0, 77))
    (Measurements(cuts).folder / "000001.parquet").write_bytes(b"PAR1")
    assert Measurements(cuts).run(measure, workers=1) == 2
    assert read == ["a1", "a2", "b1", "b2", "d1", "d2"]
    assert kinds(find({"all": Measurements(cuts)})) == {("a2", CHANGED)}


def test_two_checks_of_one_manifest_exclude_each_other(tmp_path):
    cuts = corpus(tmp_path, ["a1"])
    with Measurements(cuts).alone(), pytest.raises(AsrLabError, match="another process"), Measurements(cuts).alone():
        pass
    with Measurements(cuts).alone():
        Measurements(cuts).remove()


def test_losses_far_above_others_are_outliers(tmp_path):
    import pyarrow as pa

    cuts = corpus(tmp_path, [f"a{number:02}" for number in range(20)])
    losses = Measurements(cuts, "loss")
    values = [0.1 + number / 100 for number in range(18)] + [4.0, float("inf")]
    losses.run(lambda part: pa.table({"row": part.rows, "loss": [values[row] for row in part.rows]}), workers=1)
    findings = find({"all": measured(cuts)}, {"all": losses})
    assert kinds(findings) == {("a18", OUTLIER), ("a19", OUTLIER)}
    assert findings["detail"].tolist()[1] == "too short for its text"


KILLED = """
import sys, time
from asr_lab.data import audio_measures
from asr_lab.data.table_utterances import Utterances
audio_measures._PART_S = 1.5
def slow(cuts):
    time.sleep(0.2)
    return audio_measures.measure_audio(cuts)
audio_measures.Measurements(Utterances.read(sys.argv[1])).run(slow, workers=2)
"""


def test_what_a_killed_check_has_read_is_not_read_again_and_its_processes_end(tmp_path, monkeypatch):
    import psutil

    cuts = corpus(tmp_path, [f"a{number:02}" for number in range(24)])
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "all.jsonl.gz")])
    folder = Measurements(cuts).folder
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(folder.glob("0*.parquet")) if folder.is_dir() else []) < 3:
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) == 2
    assert not psutil.wait_procs(workers, timeout=60)[1]
    monkeypatch.setattr(audio_measures, "_PART_S", 1.5)
    there = len(list(folder.glob("0*.parquet")))
    assert 3 <= there < 16
    earlier = Measurements(cuts).run(workers=1)
    assert earlier >= there
    assert not len(find({"all": Measurements(cuts)}))
    assert sorted(Measurements(cuts).dataset.to_table()["row"].to_pylist()) == list(range(24))
