"""AI-Hub corpora of children: splits, the table of metadata, keys and faults."""

import json

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, tone_word

from asr_lab.data import manifest

FOLDERS = {"train": "1.Training", "val": "2.Validation_split", "test": "3.Test"}


def conversation(text, speaker, age, gender):
    """A label of children's free conversation."""
    return {
        "발화정보": {"stt": text, "scriptId": "s1", "fileNm": "x.wav", "recrdTime": "1.0"},
        "대화정보": {"recrdEnvrn": "실내", "convrsThema": "놀이"},
        "녹음자정보": {"gender": gender, "recorderId": speaker, "age": age},
    }


def reading(text, speaker, age, gender):
    """A label of read speech."""
    return {
        "기본정보": {"Language": "KOR", "NumberOfSpeaker": "6030"},
        "음성정보": {"SamplingRate": "16000", "SignalToNoiseRatio": "N/A"},
        "전사정보": {"OrgLabelText": "x", "TransLabelText": text},
        "화자정보": {"SpeakerName": speaker, "Gender": gender, "Age": age},
    }


def corpus(root, label=conversation, speakers=("c1", "c2", "c3"), encoding="utf-8"):
    """Two utterances of one child in each split, WAV and labels in folders of their own."""
    for (split, folder), speaker in zip(FOLDERS.items(), speakers, strict=True):
        for number in range(2):
            name = f"{split}{number}"
            audio, text = root / folder / "원천데이터" / f"{name}.wav", root / folder / "라벨링데이터" / f"{name}.json"
            audio.parent.mkdir(parents=True, exist_ok=True)
            text.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(audio, tone_word("cab", np.random.default_rng(0)), 16000)
            said = json.dumps(label("학교에 가요", speaker, "7", "여"), ensure_ascii=False)
            text.write_bytes(said.encode(encoding))
    return root


def table(root, rows, name="subset_metadata_with_test.csv", columns="file_name,speaker_id,age,snr_db,duration,split"):
    (root / name).write_text(columns + "\n" + "\n".join(rows) + "\n", encoding="utf-8-sig")


@pytest.mark.parametrize(("label", "encoding"), [(conversation, "utf-8-sig"), (reading, "cp949")])
def test_splits_are_those_of_the_folders(tmp_path, label, encoding):
    said = ok("data", "import", "aihub", corpus(tmp_path / "in", label, encoding=encoding), tmp_path / "out")
    assert "2 utterances of 1 speaker" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.jsonl.gz" for name in FOLDERS}
    cut = manifest.read(tmp_path / "out" / "val.jsonl.gz")["val0"]
    segment = manifest.supervision(cut)
    assert (segment.text, segment.speaker, segment.gender) == ("학교에 가요", "c2", "female")
    assert (segment.language, manifest.field(cut, "age")) == ("ko", 7)
    manifest.check_files(manifest.read(tmp_path / "out" / "test.jsonl.gz"))


def test_the_table_says_who_how_noisy_and_in_which_split(tmp_path):
    corpus(tmp_path / "in")
    table(tmp_path / "in", ["train0.wav,k1,6,12.5,1.0,train", "data/val0.wav,k2,8,3.0,1.0,test"])
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "4 recordings are not in the table: left out" in said
    assert "1 utterance is in the folder of another split" in said
    cut = manifest.read(tmp_path / "out" / "test.jsonl.gz")[0]
    assert (cut.id, manifest.supervision(cut).speaker) == ("val0", "k2")
    assert (manifest.field(cut, "age"), manifest.field(cut, "snr_db")) == (8, 3.0)
    assert not (tmp_path / "out" / "val.jsonl.gz").exists()


def test_a_table_without_split_leaves_the_folders_theirs(tmp_path):
    corpus(tmp_path / "in")
    table(tmp_path / "in", ["train0,k1,6,12.5"], "subset_metadata.csv", "utterance_id,speaker_id,age,SNR")
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert manifest.field(manifest.read(tmp_path / "out" / "train.jsonl.gz")[0], "snr_db") == 12.5


def test_splits_that_share_a_speaker_are_one_message_with_a_way_out(tmp_path):
    corpus(tmp_path / "in", speakers=("c1", "c2", "c1"))
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "the splits are not disjoint by speaker: train and test share 1: c1" in said
    assert "--as-one" in said
    assert not (tmp_path / "out").exists()
    assert "6 utterances of 2 speakers" in ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--as-one")


def test_labels_of_another_shape_list_the_keys_found_and_can_be_named(tmp_path):
    corpus(tmp_path / "in", lambda text, speaker, age, gender: {"who": speaker, "info": {"words": text, "n": 1}})
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "6 faults, nothing was imported" in said
    assert "no text in the label" in said
    assert "found: who, info.words, info.n" in said
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out", "--keys", "text=info.words,speaker=who")
    assert manifest.supervision(manifest.read(tmp_path / "out" / "val.jsonl.gz")[0]).speaker == "c2"


def test_every_fault_is_named_and_nothing_is_written(tmp_path):
    root = corpus(tmp_path / "in")
    (root / "1.Training" / "라벨링데이터" / "train0.json").unlink()
    (root / "2.Validation_split" / "라벨링데이터" / "val0.json").write_text("{")
    (root / "3.Test" / "원천데이터" / "test0.wav").write_bytes(b"")
    said = refused("data", "import", "aihub", root, tmp_path / "out")
    assert "train0: there is no label" in said
    assert "val0: the label is not JSON" in said
    assert "test0: the audio file is empty" in said
    assert not (tmp_path / "out").exists()
    table(root, ["nowhere.wav,k1,6,12.5,1.0,train"])
    assert "nowhere: in the table, but there is no such recording" in refused(
        "data", "import", "aihub", root, tmp_path / "out"
    )
    table(root, ["k1,6"], columns="speaker,age")
    assert "rows name no utterance" in refused("data", "import", "aihub", root, tmp_path / "out")
