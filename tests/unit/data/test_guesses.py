"""What an importer guesses is marked in the manifest, and reported by every command that relies on it."""

import json

from conftest import ok
from corpora import sound

from asr_lab.data import manifest

WARNING = "warning: the speakers of {} of {} utterances are guessed, not named by the corpus"


def guessed(path):
    return {cut.id: manifest.field(cut, "guessed") for cut in manifest.read(path)}


def kospeech(folder, text="가 나"):
    names = [f"{part}/{number}.wav" for part in "abcd" for number in (1, 2)]
    for name in names:
        sound(folder / name)
    (folder / "transcripts.txt").write_text("".join(f"{name}\t{text}\t\n" for name in names), encoding="utf-8")


def test_guesses_are_reported_when_they_are_exported_and_stay_marked_in_the_form_of_nemo(tmp_path):
    kospeech(tmp_path / "in")
    ok("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out")
    for form, target in (("kaldi", tmp_path / "kaldi"), ("nemo", tmp_path / "n" / "train.json")):
        said = ok("data", "export", form, tmp_path / "out" / "all.jsonl.gz", target)
        assert WARNING.format(8, 8) in said
    assert WARNING.format(8, 8) in ok("data", "import", tmp_path / "n", tmp_path / "again")
    assert set(guessed(tmp_path / "again" / "train.jsonl.gz").values()) == {"speaker"}


def test_a_pattern_that_finds_a_speaker_in_each_utterance_is_warned_of(tmp_path):
    kospeech(tmp_path / "in")
    command = ("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out", "--overwrite")
    assert "another speaker in each of the 8" in ok(*command, "--speaker-from", r"(\w/\d)")
    assert "another speaker in each" not in ok(*command, "--speaker-from", r"(\w)/")


def test_the_folder_of_kospeech_is_reported_as_a_guess_by_every_command(tmp_path):
    kospeech(tmp_path / "in")
    out = tmp_path / "out"
    said = ok("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", out)
    assert "8 utterances name no speaker: their folder is used" in said
    assert WARNING.format(8, 8) in said
    assert set(guessed(out / "all.jsonl.gz").values()) == {"speaker"}
    said = ok("data", "split", out / "all.jsonl.gz", tmp_path / "split", "--val", "0.2", "--test", "0.2")
    assert "0 speakers are in two splits, of 4" in said
    assert WARNING.format(8, 8) in said
    assert "are guessed" in (tmp_path / "split" / "split.html").read_text(encoding="utf-8")
    parts = [tmp_path / "split" / f"{name}.jsonl.gz" for name in ("train", "val", "test")]
    assert WARNING.format(4, 4) in ok("data", "stats", parts[0])
    assert WARNING.format(4, 4) in ok("data", "check", *parts, "--disjoint", "speaker")


def test_a_language_that_the_text_does_not_show_is_a_guess(tmp_path):
    kospeech(tmp_path / "in", text="good morning")
    said = ok("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out")
    assert "the languages of 8 of 8 utterances are guessed" in said
    assert set(guessed(tmp_path / "out" / "all.jsonl.gz").values()) == {"language,speaker"}


def aihub(root, name, label):
    sound(root / "원천데이터" / f"{name}.wav")
    path = root / "라벨링데이터" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(label, ensure_ascii=False), encoding="utf-8")


def test_speakers_of_ai_hub_by_folder_by_number_and_by_recording_are_guesses(tmp_path):
    aihub(tmp_path / "folder", "S1/a", {"stt": "가요"})
    aihub(tmp_path / "folder", "S2/b", {"stt": "가요", "speaker_id": "k7"})
    aihub(tmp_path / "folder", "S3/c", {"stt": "가요"})
    for name, number in (("a", "6030"), ("b", "6031")):
        aihub(tmp_path / "number", name, {"stt": "가요", "NumberOfSpeaker": number})
    said_by = [{"start": 0, "end": 0.2, "form": "네", "speaker_id": who} for who in ("1", "SP22")]
    aihub(tmp_path / "talk", "t", {"utterance": said_by})
    for kind in ("folder", "number", "talk"):
        ok("data", "import", "aihub", tmp_path / kind, tmp_path / "out" / kind)
    found = {kind: guessed(tmp_path / "out" / kind / "all.jsonl.gz") for kind in ("folder", "number", "talk")}
    assert found["folder"] == {"a": "speaker", "b": None, "c": "speaker"}
    assert found["number"] == {"a": "speaker", "b": "speaker"}
    assert found["talk"] == {"t-0000": "speaker", "t-0001": None}


def test_the_age_in_a_label_is_of_nobody_if_two_speak(tmp_path):
    said_by = [{"start": 0, "end": 0.2, "form": "네", "speaker_id": who} for who in ("SP21", "SP22")]
    aihub(tmp_path / "in", "t", {"age": 7, "utterance": said_by})
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert [manifest.field(cut, "age") for cut in manifest.read(tmp_path / "out" / "all.jsonl.gz")] == [None, None]


def test_a_guess_does_not_change_the_digest(corpus):
    cuts = list(manifest.read(corpus))
    before = manifest.digest(cuts)
    manifest.supervision(cuts[0]).custom["guessed"] = "speaker"
    assert manifest.digest(cuts) == before
