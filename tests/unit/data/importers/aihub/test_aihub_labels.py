"""Labels of AI-Hub: who speaks, pieces, dialogues, keys named by the user, faults."""

import csv
import json

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, tone_word

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut


def put(root, name, label, seconds=0.0):
    """A recording with its label."""
    audio, text = root / "원천데이터" / f"{name}.wav", root / "라벨링데이터" / f"{name}.json"
    for path in (audio, text):
        path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    soundfile.write(audio, rng.normal(0, 0.1, int(16000 * seconds)) if seconds else tone_word("cab", rng), 16000)
    text.write_text(json.dumps(label, ensure_ascii=False), encoding="utf-8")


def said_by(speaker, number, **more):
    return {
        "Basic": {"NumberOfSpeaker": number},
        "Speaker": {"SpeakerName": speaker, **more},
        "Text": {"LabelText": "학교에 가요"},
    }


def imported(out, part="all"):
    return manifest.read(out / f"{part}.jsonl.gz")


def speakers(out):
    return {cut.id: manifest.supervision(cut).speaker for cut in imported(out)}


@pytest.mark.parametrize("nobody", ["N/A", "", "-", "unknown", "없음"])
def test_how_many_speak_is_nobodys_name(tmp_path, nobody):
    for name in ("S001/a", "S002/b"):
        put(tmp_path / "in", name, said_by(nobody, "1"))
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "2 utterances of 2 speakers" in said
    assert "2 utterances name no speaker: their folder is used" in said
    assert speakers(tmp_path / "out") == {"a": "S001", "b": "S002"}


def test_without_names_and_folders_of_speakers_the_import_is_refused(tmp_path):
    for name, number in (("a", "1"), ("b", "2"), ("c", "1")):
        put(tmp_path / "in", name, said_by("N/A", number))
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "3 faults" in said
    assert "the speaker is empty: Speaker.SpeakerName" in said
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--keys", "speaker=NumberOfSpeaker")
    assert speakers(tmp_path / "out") == {"a": "1", "b": "2", "c": "1"}


def test_a_speakers_number_is_one(tmp_path):
    for name, number in (("a", "6030"), ("b", "6031"), ("c", "6031")):
        put(tmp_path / "in", name, said_by("N/A", number))
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert speakers(tmp_path / "out") == {"a": "6030", "b": "6031", "c": "6031"}
    for name, number in (("k1_a", "1"), ("k02_b", "2")):  # the names of the files say that they are speakers
        put(tmp_path / "numbered", name, said_by("N/A", number))
    ok("data", "import", "aihub", tmp_path / "numbered", tmp_path / "other")
    assert speakers(tmp_path / "other") == {"k1_a": "1", "k02_b": "2"}


@pytest.mark.parametrize("who", ["recorder", "speaker", "녹음자정보"])
def test_a_speaker_may_be_an_object_with_an_id(tmp_path, who):
    put(tmp_path / "in", "a", {"stt": "가요", who: {"id": "kid7", "age": 7}})
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert speakers(tmp_path / "out") == {"a": "kid7"}


def test_what_could_not_be_read_is_counted(tmp_path):
    for name, age, snr in (("a", "초2", "20~30dB"), ("b", "초2", "12"), ("c", "7", "약 9")):
        put(tmp_path / "in", name, said_by("k1", "1", age=age, snr=snr, gender="아동"))
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "2 ages are not years: written as age_range, such as 초2" in said
    assert "1 SNRs are not numbers: left out, such as 20~30dB" in said
    assert "3 genders are not known: left out, such as 아동" in said
    assert [manifest.field(cut, "age_range") for cut in imported(tmp_path / "out")] == ["초2", "초2", None]


def test_a_label_that_names_a_piece_of_its_recording_is_cut(tmp_path):
    """All of it, a piece, the place of the clip in a longer recording, and what is none of them."""
    times = {"all": ("00:00:00", "00:00:06"), "piece": ("1.0", 2.5), "clip": (3, 9), "odd": (500, 1700)}
    times["date"] = ("2024-01-01", "2024-01-02")
    for name, pair in times.items():
        more = {"File": dict(zip(("startTime", "endTime"), pair, strict=True))}
        put(tmp_path / "in", name, said_by("k1", "1") | more, seconds=6.0)
    several = {"말": {"시작시간": 1, "종료시간": 2}, "소음": {"시작시간": 3, "종료시간": 4}}
    put(tmp_path / "in", "several", said_by("k1", "1") | several, seconds=6.0)
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "1 label names a start and an end within the recording: cut" in said
    assert "3 labels name times that are not in the recording" in said
    spans = {cut.id: (cut.start, cut.end) for cut in manifest.read(tmp_path / "out" / "all.jsonl.gz")}
    assert spans == dict.fromkeys([*times, "several"], (0, 6)) | {"piece": (1, 2.5)}


def talk(**more):
    return {
        "metadata": {"title": "놀이"},
        "speaker": [{"id": "kid7", "age": "7세", "sex": "여아"}, {"id": "mum3", "age": "30대", "sex": "여성"}],
        "utterance": [
            {"start": 0.5, "end": 1.25, "form": "학교에 가요", "speaker_id": "kid7"},
            {"start": "1.5", "end": "00:00:02.0", "form": "그래", "speaker_id": "mum3"},
            {"start": 2.0, "end": 2.5, "form": "", "speaker_id": "kid7"},
        ],
        **more,
    }


@pytest.mark.parametrize("times", [("00:00:01:500", "00:00:02:500"), ("00:08:20", "00:33:20")])
def test_times_with_frames_or_outside_are_refused(tmp_path, times):
    segment = {"start": times[0], "end": times[1], "form": "네", "speaker_id": "kid7"}
    put(tmp_path / "in", "talk", {"utterance": [segment]}, seconds=3)
    assert "a segment" in refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")


def test_segments_in_milliseconds_are_read_so_if_seconds_cannot_be_meant(tmp_path):
    rows = [(500, 1250, "학교에 가요"), (1500, 2000, "그래")]
    segments = [{"start": start, "end": end, "form": form, "speaker_id": "kid7"} for start, end, form in rows]
    put(tmp_path / "in", "talk", {"utterance": segments}, seconds=3)
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "1 recording has segments whose times are milliseconds" in said
    cuts = manifest.read(tmp_path / "out" / "all.jsonl.gz")
    assert [(cut.start, round(cut.end, 6)) for cut in cuts] == [(0.5, 1.25), (1.5, 2)]


def test_each_segment_of_a_recording_is_an_utterance(tmp_path):
    put(tmp_path / "in", "talk1", {"document": [talk()]}, seconds=3)
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "1 segment has no text: left out" in said
    first, second = imported(tmp_path / "out")
    assert (first.id, first.start, first.duration) == ("talk1-0000", 0.5, 0.75)
    assert (second.start, second.duration) == (1.5, 0.5)
    assert [manifest.field(first, name) for name in ("text", "speaker", "age", "gender")] == [
        "학교에 가요",
        "kid7",
        7,
        "female",
    ]
    assert [manifest.field(second, name) for name in ("speaker", "age", "age_group")] == ["mum3", None, "30-39"]
    samples, _ = soundfile.read(tmp_path / "in" / "원천데이터" / "talk1.wav", dtype="float32")
    assert np.array_equal(read_cut(first), samples[8000:20000])
    assert "all 2 utterances can be used" in ok("data", "check", tmp_path / "out" / "all.jsonl.gz")


@pytest.mark.parametrize(
    ("key", "said", "who"), [("utterances", "text", "speaker"), ("segments", "original_form", "spk")]
)
def test_segments_by_other_names_and_speakers_of_one_recording_alone(tmp_path, key, said, who):
    for name in ("t1", "t2"):
        put(tmp_path / "in", name, {key: [{"start": 0, "end": 1.0, said: "네", who: "1"}]}, seconds=1)
    text = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "2 segments name the speaker by a number or a letter" in text
    assert speakers(tmp_path / "out") == {"t1-0000": "t1-1", "t2-0000": "t2-1"}


@pytest.mark.parametrize("words", [[{"start": 0, "end": 0.1, "text": "학교에"}], [{"start": 0, "end": 0.1}]])
def test_where_the_words_are_makes_no_utterance_of_each(tmp_path, words):
    put(tmp_path / "in", "a", {"stt": "학교에 가요", "speaker_id": "k1", "segments": words * 2})
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert [manifest.field(cut, "text") for cut in imported(tmp_path / "out")] == ["학교에 가요"]


def test_a_segment_behind_the_end_is_a_fault_of_its_own(tmp_path):
    put(tmp_path / "in", "talk1", talk(), seconds=1.3)
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "1 fault," in said
    assert "talk1-0001: a segment is not inside its recording: 1.5 to 2 s of 1.3 s" in said
    assert "1 utterance of 1 speaker" in ok(
        "data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--skip-faulty"
    )


def test_keys_of_fields_that_are_none_are_refused(tmp_path):
    put(tmp_path / "in", "a", said_by("k1", "1"))
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--keys", "txt=a,spekaer=b")
    assert "--keys has no field txt, spekaer" in said
    assert "did you mean text, speaker?" in said


def test_a_key_that_no_label_has_is_refused(tmp_path):
    put(tmp_path / "in", "a", said_by("k1", "1", Age="7"))
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--keys", "age=Speaker.AgeX")
    assert "no label has the key of --keys age=Speaker.AgeX" in said
    assert "Speaker.Age" in said
    assert not (tmp_path / "out").exists()


def test_the_last_part_of_a_key_is_enough_where_it_is_the_only_one(tmp_path):
    put(tmp_path / "in", "a", {"x": {"Words": "가요", "Name": "k1"}, "y": {"Name": "z"}})
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--keys", "text=Words,speaker=x.Name")
    assert speakers(tmp_path / "out") == {"a": "k1"}
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "again", "--keys", "text=Words,speaker=Name")
    assert "--keys speaker=Name may be several keys" in said


def test_a_key_for_what_the_table_says_too_is_no_fault(tmp_path):
    put(tmp_path / "in", "a", {"stt": "가요", "who": "k1"})
    (tmp_path / "in" / "subset_metadata.csv").write_text("id,speaker_id\na,k2\n", encoding="utf-8")
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--keys", "speaker=who")
    assert speakers(tmp_path / "out") == {"a": "k2"}


def faulty(root):
    for name in ("a", "b", "c"):
        put(root, name, said_by("k1", "1"))
    put(root, "empty", said_by("k1", "1") | {"Text": {"LabelText": ""}})
    (root / "원천데이터" / "c.wav").write_bytes(b"")
    return root


def test_what_is_faulty_can_be_left_out_and_is_listed(tmp_path):
    said = refused("data", "import", "aihub", faulty(tmp_path / "in"), tmp_path / "out")
    assert "empty: the text is empty: Text.LabelText" in said
    assert "--skip-faulty leaves them out and lists them in OUT/faults.tsv" in said
    assert not (tmp_path / "out").exists()
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--skip-faulty")
    assert "1 left out: the audio file is empty (0 bytes): c\n" in said
    assert "1 left out: the text is empty: empty (Text.LabelText)\n" in said
    assert "faults.tsv" in said
    assert set(speakers(tmp_path / "out")) == {"a", "b"}
    with (tmp_path / "out" / "faults.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["utterance"] for row in rows] == ["c", "empty"]
    assert rows[1]["fault"] == "the text is empty: Text.LabelText"
    assert rows[1]["file"].endswith("empty.json")


def test_where_nothing_is_left_leaving_out_does_not_help(tmp_path):
    put(tmp_path / "in", "a", {"words": "가요", "speaker_id": "k1"})
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--skip-faulty")
    assert "--keys text=KEY" in said
    assert "--skip-faulty" not in said


def test_a_list_of_faults_that_are_no_more_is_removed(tmp_path):
    ok("data", "import", "aihub", faulty(tmp_path / "in"), tmp_path / "out", "--skip-faulty")
    for name in ("c", "empty"):
        put(tmp_path / "in", name, said_by("k1", "1"))
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--overwrite")
    assert "faults.tsv: removed" in said
    assert not (tmp_path / "out" / "faults.tsv").exists()


def test_clips_too_short_for_any_model_are_named(tmp_path):
    put(tmp_path / "in", "a", said_by("k1", "1"))
    put(tmp_path / "in", "click", said_by("k1", "1"), seconds=0.02)
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "1 utterance is shorter than 25 ms, too short for any model: click" in said


def test_manifests_of_an_earlier_import_go_with_it(tmp_path):
    root = tmp_path / "in"
    for number, folder in enumerate(("1.Training", "2.Validation")):
        put(root / folder, f"u{number}", said_by(f"k{number}", "1"))
    out = tmp_path / "out"
    ok("data", "import", "aihub", root, out)
    (out / "mine.jsonl.gz").write_bytes((out / "val.jsonl.gz").read_bytes())
    assert "would be replaced" in refused("data", "import", "aihub", root, out, "--as-one")
    said = ok("data", "import", "aihub", root, out, "--as-one", "--overwrite")
    assert f"removed {out / 'train.jsonl.gz'} of an earlier call" in said
    assert {path.name for path in out.iterdir()} == {"all.jsonl.gz", "mine.jsonl.gz"}
    said = ok("data", "import", "aihub", root, out, "--overwrite")
    assert f"removed {out / 'all.jsonl.gz'} of an earlier call" in said
    assert {path.name for path in out.iterdir()} == {"train.jsonl.gz", "val.jsonl.gz", "mine.jsonl.gz"}
