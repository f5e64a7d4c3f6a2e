"""Manifests of Lhotse: cuts, and recordings with supervisions."""

import gzip
import json

import corpora
import numpy as np
import pytest
import soundfile
from imported import faults, read
from lhotse import MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut


def lhotse_cuts(root):
    """Cuts of one file, in two utterances; made faster; padded; mixed with noise; noise alone."""
    recordings = {}
    for number, (name, seconds) in enumerate({"a": 2.0, "b": 1.0, "n": 3.0}.items()):
        recordings[name] = Recording.from_file(corpora.sound(root / f"{name}.wav", seconds, number), recording_id=name)
    segments = [
        SupervisionSegment("s1", "a", 0.2, 0.7, text="하나", speaker="미나", language="ko"),
        SupervisionSegment("s2", "a", 1.1, 0.6, text="둘", speaker="주노"),
        SupervisionSegment("s3", "b", 0.0, 1.0, text="셋", speaker="주노"),
    ]
    two = MonoCut("two", 0, 2.0, 0, supervisions=segments[:2], recording=recordings["a"])
    one = MonoCut("one", 0, 1.0, 0, supervisions=segments[2:], recording=recordings["b"])
    noise = MonoCut("noise", 0, 3.0, 0, recording=recordings["n"])
    cuts = [two, one, one.perturb_speed(1.1).with_id("fast"), one.pad(2.0).with_id("padded")]
    return [*cuts, one.mix(noise, snr=10).with_id("mixed"), noise], recordings, segments


def write_cuts(path, cuts):
    content = "".join(json.dumps(cut.to_dict()) + "\n" for cut in cuts).replace(f"{path.parent}/", "").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_cuts_of_lhotse_are_read_and_rendered_where_they_must_be(tmp_path, name):
    cuts, _, _ = lhotse_cuts(tmp_path)
    result = read("cuts", write_cuts(tmp_path / name, cuts))
    of = {cut.id: cut for cut in result.splits["all"]}
    assert {id: round(cut.duration, 2) for id, cut in of.items()} == {
        "s1": 0.7, "s2": 0.6, "one": 1.0, "fast": 0.91, "padded": 2.0, "mixed": 3.0,
    }  # fmt: skip
    assert result.report.left_out == {"a cut without a supervision": 1}
    speech = soundfile.read(tmp_path / "b.wav", dtype="float32")[0]
    assert np.allclose(read_cut(of["one"]), speech)
    assert np.allclose(read_cut(of["padded"])[:16000], speech, atol=1e-3)
    assert not np.allclose(read_cut(of["mixed"])[:16000], speech, atol=1e-3)
    rendered = [id for id, cut in of.items() if "out/audio" in cut.recording.sources[0].source]
    assert rendered == ["fast", "padded", "mixed"]
    manifest.write(result.splits["all"], tmp_path / "all.jsonl.gz")
    assert len(manifest.read(tmp_path / "all.jsonl.gz")) == 6


def test_commands_in_cuts_are_not_run_and_overlaps_are_faults(tmp_path):
    cuts, _, _ = lhotse_cuts(tmp_path)
    path = write_cuts(tmp_path / "cuts.jsonl", cuts[:2])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["supervisions"][1]["start"] = 0.3
    rows[1]["recording"]["sources"][0] |= {"type": "command", "source": f"touch {tmp_path}/ran"}
    corpora.lines_of_json(path, *rows)
    assert faults("cuts", path) == [(1, "2 supervisions overlap"), (2, "the audio is a command")]
    assert not (tmp_path / "ran").exists()


def test_a_cut_that_is_longer_than_its_supervision_is_cut_to_it(tmp_path):
    cuts, _, _ = lhotse_cuts(tmp_path)
    path = write_cuts(tmp_path / "cuts.jsonl", [cut for cut in cuts if cut.id == "one"])
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    row["supervisions"][0] |= {"start": 0.25, "duration": 0.5}
    result = read("cuts", corpora.lines_of_json(path, row))
    assert [(cut.start, cut.end) for cut in result.splits["all"]] == [(0.25, 0.75)]
    assert any("longer than their supervision" in note for note in result.report.notes)


def test_recordings_and_supervisions_of_lhotse(tmp_path):
    _, recordings, segments = lhotse_cuts(tmp_path / "in")
    RecordingSet.from_recordings(recordings.values()).to_file(tmp_path / "in" / "x_recordings_train.jsonl.gz")
    lost = SupervisionSegment("s9", "zz", 0, 1.0, text="구")
    path = tmp_path / "in" / "x_supervisions_train.jsonl.gz"
    SupervisionSet.from_segments([*segments, lost]).to_file(path)
    assert faults("cuts", tmp_path / "in") == [(4, "no recording of its supervision")]
    result = read("cuts", tmp_path / "in", skip_faulty=True)
    assert {cut.id: manifest.text(cut) for cut in result.splits["all"]} == {"s1": "하나", "s2": "둘", "s3": "셋"}
