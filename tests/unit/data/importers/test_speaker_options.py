"""Who speaks: by a pattern in the path or the id, or one speaker for all."""

import corpora
import pytest
from imported import faults, guessed, read, speakers

from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.errors import AsrLabError


def test_the_speaker_of_ai_hub_in_the_file_name(tmp_path):
    source = corpora.aihub_medical(tmp_path / "m")
    with pytest.raises(ImportRefusedError) as error:
        read("aihub", source)
    assert "--speaker-from" in error.value.hint
    result = read("aihub", source, speaker_from=r"(?P<speaker>PA_\d+)")
    assert (speakers(result), guessed(result)) == ({"PA_0016", "PA_0017"}, {None})
    assert {kind for _, kind in faults("aihub", source, speaker_from=r"(?P<speaker>HB_\d+)")} == {
        "--speaker-from matches neither path nor id"
    }


def test_speakers_by_a_pattern_or_one_for_all(tmp_path):
    for name in ("kim_1.wav", "lee_1.wav"):
        corpora.sound(tmp_path / name)
    source = corpora.text(tmp_path / "t.csv", "audio,text\nkim_1.wav,가\nlee_1.wav,나\n")
    with pytest.raises(AsrLabError) as error:
        read("csv", source)
    assert "--speaker-from" in error.value.hint
    assert speakers(read("csv", source, speaker_from="^([a-z]+)_")) == {"kim", "lee"}
    assert speakers(read("csv", source, one_speaker="미나")) == {"미나"}
    for pattern in ("kim", "(", "(a)(b)"):
        with pytest.raises(AsrLabError, match="--speaker-from"):
            read("csv", source, speaker_from=pattern)
    with pytest.raises(AsrLabError, match="exclude each other"):
        read("csv", source, speaker_from="(k)", one_speaker="x")
