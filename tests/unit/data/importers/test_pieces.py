"""Columns that name a piece of an audio file: start, end, duration, and channel."""

import numpy as np
import pytest
import soundfile
from conftest import ok
from imported import LONG_S, cuts_of, faults, jsonl, recordings

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.importers.pieces import meaning


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({"offset": 0.5, "duration": 1.2}, 0.5, 1.7),
        ({"start": "0.5", "end": "1.7"}, 0.5, 1.7),
        ({"start_ms": 500, "end_ms": 1700}, 0.5, 1.7),
        ({"begin_samples": 8000, "num_samples": 19200}, 0.5, 1.7),
        ({"startTime": "00:00:00.5", "endTime": "0:01.7"}, 0.5, 1.7),
        ({"시작": 0.5, "종료": 1.7}, 0.5, 1.7),
        ({"시작(초)": 0.5, "길이(ms)": 1200}, 0.5, 1.7),
        ({"onset": "500 ms", "dur": "1.2 s"}, 0.5, 1.7),
        ({"start": 0.5, "end": 1.7, "duration": LONG_S}, 0.5, 1.7),
        ({"from": 0.5, "to": 1.7}, 0.5, 1.7),
        ({"t0": 0.5, "t1": 1.7}, 0.5, 1.7),
        ({"t_start": 0.5, "t_end": 1.7}, 0.5, 1.7),
        ({"t1": 3}, 0, LONG_S),
        ({"startms": 500, "endms": 1700}, 0.5, 1.7),
        ({"시작점": 0.5, "끝점": 1.7}, 0.5, 1.7),
        ({"stime": 0.5, "etime": 1.7}, 0.5, 1.7),
        ({"trim_start": 0.5, "trim_end": 1.7}, 0.5, 1.7),
        ({"start": 3}, 3, LONG_S),
        ({"duration": LONG_S - 0.02}, 0, LONG_S),
        ({"start": 0, "end": LONG_S + 0.05}, 0, LONG_S),
        ({"from": "studio"}, 0, LONG_S),
    ],
)
def test_columns_that_name_a_piece_cut_it(folder, fields, start, end):
    (cut,) = cuts_of("jsonl", jsonl(folder, {"id": "s1", **fields}))
    assert (cut.id, round(cut.start, 6), round(cut.end, 6)) == ("s1", start, end)
    samples, _ = soundfile.read(folder / "long.wav", dtype="float32")
    assert np.array_equal(read_cut(cut), samples[round(16000 * start) : round(16000 * end)])
    if start:
        assert not set(fields) & set(manifest.supervision(cut).custom)


def test_pieces_without_an_id_have_ids_of_their_own_and_can_be_used(folder):
    source = jsonl(folder, {"offset": 0.5, "duration": 1.2}, {"duration": 0.5, "speaker": "bob"}, {"audio": "a.wav"})
    printed = ok("data", "import", "jsonl", source, folder / "out")
    assert "3 utterances read, 3 imported, 0 left out" in printed
    assert "columns understood: audio, text, speaker, offset, duration\n" in printed
    cuts = manifest.read(folder / "out" / "all.jsonl.gz")
    assert list(cuts.ids) == ["long-0000500-0001700", "long-0000000-0000500", "a"]
    assert "all 3 utterances can be used" in ok("data", "check", folder / "out" / "all.jsonl.gz")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"start": 5, "duration": 4}, "the piece is not inside the file"),
        ({"start": -1, "end": 1}, "the piece is not inside the file"),
        ({"start": 2, "end": 1}, "the piece is not inside the file"),
        ({"start": 2, "end": 2}, "the piece is not inside the file"),
        ({"start": 500, "end": 1700}, "the piece is not inside the file"),
        ({"start": float("nan"), "end": 2}, "start is not a time"),
        ({"start": "soon", "end": 2}, "start is not a time"),
        ({"start": 1, "end": 3, "duration": 1}, "the times contradict each other"),
        ({"start": 1, "start_ms": 1500}, "the times contradict each other"),
        ({"start_frame": 50, "end_frame": 100}, "the unit of start_frame is not known"),
        ({"duration": 1.2}, "the duration is not that of the file"),
        ({"end": 1.2}, "the duration is not that of the file"),
        ({"segment": [0.5, 1.2]}, "a piece of the audio in one column"),
        ({"segment": {"start": 0.5, "end": 1.2}}, "a piece of the audio in one column"),
        ({"channel": 1, "audio": "stereo.wav"}, "channel 1 of 2 may be counted from 0 or from 1"),
        ({"channel": 3}, "no such channel"),
    ],
)
def test_a_piece_that_is_none_is_reported_by_its_line(folder, fields, kind):
    assert faults("jsonl", jsonl(folder, {"id": "good"}, {"id": "bad", **fields})) == [(2, kind)]


def test_a_channel_is_read_alone(folder):
    rows = [{"id": f"c{n}", "audio": "stereo.wav", "channel": n} for n in (0, 1)]
    samples, _ = soundfile.read(folder / "stereo.wav", dtype="float32")
    for number, cut in enumerate(cuts_of("jsonl", jsonl(folder, *rows))):
        assert np.allclose(read_cut(cut), samples[:, number])


def test_channels_are_counted_from_1_where_the_last_one_is_named(folder):
    rows = [{"id": f"c{n}", "audio": "stereo.wav", "channel": n} for n in (1, 2)]
    samples, _ = soundfile.read(folder / "stereo.wav", dtype="float32")
    for number, cut in enumerate(cuts_of("jsonl", jsonl(folder, *rows))):
        assert np.allclose(read_cut(cut), samples[:, number])


@pytest.mark.parametrize(
    "name", ["text_length", "start_date", "num_words", "sample_rate", "chapter_id", "age", "up_votes", "n_channels"]
)
def test_names_that_are_of_no_piece(name):
    assert meaning(name) is None


def test_the_channels_of_one_file_are_utterances_of_their_own(folder):
    rows = (
        {"audio": "stereo.wav", "채널번호": 0},
        {"audio": "stereo.wav", "채널번호": 1, "text": "c d", "speaker": "bob"},
    )
    cuts = cuts_of("jsonl", jsonl(folder, *rows))
    assert [(cut.channel, manifest.text(cut)) for cut in cuts] == [(0, "a b"), (1, "c d")]
    assert len({cut.id for cut in cuts}) == 2


@pytest.mark.parametrize("timing", [{"start": 1, "end": 2}, {"offset": 0.5, "length": 1}])
def test_a_piece_named_within_an_object_is_not_kept_as_a_field(folder, timing):
    assert faults("jsonl", jsonl(folder, {"timing": timing})) == [(1, "a piece of the audio in one column")]
