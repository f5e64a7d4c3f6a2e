"""Columns or keys that are proposed for fields, and those that a user names."""

import json

import pytest
from conftest import ok
from corpora import sound
from imported import cuts_of, recordings, table

from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.errors import AsrLabError


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


def test_of_two_columns_that_may_be_the_text_none_is_taken(folder):
    head, row = "path,sentence,transcript,spk\n", "{}.wav,{},{},kim\n"
    source = table(folder, head + row.format("a", "하나", "둘") + row.format("b", "셋", "셋"))
    with pytest.raises(AsrLabError) as error:
        cuts_of("csv", source, keys={"audio": "path", "speaker": "spk"})
    assert "sentence, transcript" in error.value.hint
    same = table(folder, head + row.format("a", "하나", "하나") + row.format("b", "셋", "셋"))
    assert "2 imported" in ok("data", "import", same, folder / "out")


def test_columns_that_look_like_the_fields_are_proposed(folder):
    for name in ("c1.wav", "c2.wav", "c3.wav"):
        sound(folder / "clips" / name, 0.5)
    rows = "k1\tc1.wav\thi you\tfemale\nk1\tc2.wav\tyes no\tfemale\nk2\tc3.wav\tno\tmale\n"
    source = table(folder, "client_id\tpath\tsentence\tgender\n" + rows, "t.tsv")
    with pytest.raises(AsrLabError) as error:
        cuts_of("csv", source)
    keys = "audio=path,text=sentence,speaker=client_id"
    assert error.value.next_command.endswith(f"--columns {keys} --audio {folder / 'clips'}")
    out = folder / "out"
    printed = ok("data", "import", "csv", source, out, "--keys", keys, "--audio", folder / "clips")
    assert "3 utterances of 2 speakers" in printed


@pytest.mark.parametrize("column", ["utt_speaker", "speaker_age", "sentence"])
def test_what_is_no_speaker_is_not_proposed(folder, column):
    values = {"utt_speaker": ("p", "q"), "speaker_age": ("7", "7"), "sentence": ("x", "y")}[column]
    source = table(folder, f"audio,text,{column}\na.wav,x,{values[0]}\nb.wav,y,{values[1]}\n")
    with pytest.raises(AsrLabError) as error:
        cuts_of("csv", source)
    assert "for speaker?" not in error.value.hint
    assert error.value.next_command.endswith("--speaker NAME")
    assert "--columns" not in error.value.next_command


@pytest.mark.parametrize("column", ["sentence", "path"])
def test_a_speaker_key_with_as_many_values_as_rows_is_refused(folder, column):
    source = table(folder, "path,sentence\na.wav,hello\nb.wav,there\n")
    keys = {"audio": "path", "text": "sentence", "speaker": column}
    with pytest.raises(AsrLabError, match="are no speakers"):
        cuts_of("csv", source, keys=keys)


def test_labels_of_aihub_get_a_hint_of_what_looks_like_a_speaker(tmp_path):
    for number in range(4):
        sound(tmp_path / "원천데이터" / f"u{number}.wav", 0.5)
        label = {
            "전사정보": {"LabelText": f"가요 {number} 번"},
            "기타": {"녹음자코드": f"k{number % 2}", "화자나이": "7"},
        }
        path = tmp_path / "라벨링데이터" / f"u{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(label, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(ImportRefusedError) as error:
        cuts_of("aihub", tmp_path)
    assert "--keys speaker=기타.녹음자코드" in error.value.hint
    assert "LabelText" not in error.value.hint
    with pytest.raises(AsrLabError, match="are no speakers"):
        cuts_of("aihub", tmp_path, keys={"speaker": "전사정보.LabelText"})
    assert len(cuts_of("aihub", tmp_path, keys={"speaker": "기타.녹음자코드"})) == 4
