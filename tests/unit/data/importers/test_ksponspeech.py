"""KsponSpeech by its lists, and by the text beside each recording."""

import corpora
import pytest
from imported import faults, guessed, read, texts


def test_ksponspeech_by_its_lists(tmp_path):
    result = read("ksponspeech", corpora.ksponspeech(tmp_path / "k"))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 2, "val": 1, "eval_clean": 2}
    assert texts(result)["train"][1] == "나는 (70%)/(칠십 퍼센트) 확률이라고 봐."
    assert guessed(result) == {"speaker"}
    assert all(cut.duration == pytest.approx(0.6) for cut in result.splits["train"])


def test_ksponspeech_by_the_texts_beside_it_in_cp949(tmp_path):
    source = corpora.ksponspeech(tmp_path / "k", scripts=False)
    assert len(faults("ksponspeech", source)) == 2  # the evaluation's recordings have no .txt here
    result = read("ksponspeech", source / "KsponSpeech_01")
    assert texts(result)["all"][0] == "b/ 아/ 몬 소리야 그건 또. b/"
    assert sorted(cut.id for cut in result.splits["all"])[0] == "KsponSpeech_000001"


def test_one_list_of_ksponspeech_and_a_recording_that_is_not_there(tmp_path):
    source = corpora.ksponspeech(tmp_path / "k")
    (source / "KsponSpeech_01" / "KsponSpeech_0002" / "KsponSpeech_000002.pcm").unlink()
    path = source / "KsponSpeech_scripts" / "train.trn"
    assert faults("ksponspeech", path) == [(2, "no such recording")]
    assert set(read("ksponspeech", path, skip_faulty=True).splits) == {"train"}
