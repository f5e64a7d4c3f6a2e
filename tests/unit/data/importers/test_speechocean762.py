"""speechocean762: Kaldi files, phones and scores; all faults in one error."""

import json

import numpy as np
import pytest
import soundfile
from conftest import SHARED

from asr_lab.data import manifest
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.registry import import_corpus
from asr_lab.data.importers.speechocean762 import import_speechocean762
from asr_lab.data.pronunciation import pronunciation
from asr_lab.errors import AsrLabError

REAL = SHARED / "data" / "speechocean762"


@pytest.fixture
def source(tmp_path):
    """Two speakers with an utterance each, one of them in the test part."""
    folder = tmp_path / "speechocean762"
    people = {"train": ("0001", "00001a", "WE CALL"), "test": ("0002", "00002b", "THEME")}
    phones = {"00001a.0": "W_B IY0_E", "00001a.1": "K_B AO0_I L_E", "00002b.0": "TH_B IY0_I M_E"}
    for part, (speaker, id, text) in people.items():
        audio = folder / "WAVE" / f"SPEAKER{speaker}" / f"{id}.WAV"
        audio.parent.mkdir(parents=True)
        soundfile.write(audio, np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
        (folder / part).mkdir()
        for name, row in {
            "wav.scp": f"{id}\t{audio.relative_to(folder)}",
            "text": f"{id}\t{text}",
            "utt2spk": f"{id}\t{speaker}",
            "spk2age": f"{speaker}\t{6 if part == 'train' else 33}",
            "spk2gender": f"{speaker}\t{'f' if part == 'train' else 'm'}",
        }.items():
            (folder / part / name).write_text(row + "\n")
    (folder / "resource").mkdir()
    (folder / "resource" / "text-phone").write_text("".join(f"{key}\t{value}\n" for key, value in phones.items()))
    return folder


def imported(source, scores=None):
    return import_speechocean762(source, source, scores=scores)


def word(text, phones, accuracy, *wrong):
    entries = [{"canonical-phone": p, "index": i, "pronounced-phone": h} for i, p, h in wrong]
    row = {"text": text, "phones": phones, "phones-accuracy": [2.0] * len(phones), "accuracy": accuracy}
    return {**row, "stress": 10, "total": accuracy} | ({"mispronunciations": entries} if entries else {})


def scores(**changes):
    whole = {"text": "WE CALL", "accuracy": 8, "completeness": 10.0, "fluency": 9, "prosodic": 9, "total": 8}
    words = [word("WE", ["W", "IY0"], 0), word("CALL", ["K", "AO0", "L"], 6, (1, "AO", "OW*"), (2, "L", "<DEL>"))]
    return {"00001a": {**whole, "words": words, **changes}}


def test_an_utterance_has_what_the_corpus_says(source):
    cuts = {cut.id: cut for cut in imported(source).splits["all"]}
    assert set(cuts) == {"00001a", "00002b"}
    child = cuts["00001a"]
    own = {name: manifest.field(child, name) for name in ("speaker", "gender", "age", "l1", "part", "language", "text")}
    assert own == {"speaker": "0001", "gender": "female", "age": 6, "l1": "mandarin", "part": "train",
                   "language": "en", "text": "WE CALL"}  # fmt: skip
    assert manifest.field(child, "canonical") == ["W", "IY", "K", "AO", "L"]
    assert manifest.field(child, "canonical_words") == [0, 0, 1, 1, 1]
    assert manifest.field(cuts["00002b"], "part") == "test"
    assert manifest.field(child, "scores") is None


def test_scores_and_perceived_phones(source, tmp_path):
    (source / "resource" / "scores.json").write_text(json.dumps(scores()))
    result = imported(source)
    cuts = result.splits["all"]
    path = tmp_path / "all.jsonl.gz"
    manifest.write(cuts, path)
    child = next(cut for cut in manifest.read(path) if cut.id == "00001a")
    assert manifest.field(child, "perceived") == ["<del>", "<del>", "K", "OW", "<del>"]  # WE was not read at all
    assert manifest.field(child, "errors") == [1, 1, 0, 1, 1]
    judged = manifest.field(child, "scores")
    assert judged["sentence"]["fluency"] == 9
    assert judged["words"]["accuracy"] == [0, 6]
    assert judged["phones"] == [2.0] * 5
    assert manifest.field(child, "accented") == [0, 0, 0, 1, 0]
    said = pronunciation(child)
    assert (said.scores, said.words) == ((2.0,) * 5, (0, 0, 1, 1, 1))
    assert result.report.lines() == ["1 of 2 utterances have no scores in scores.json"]


def test_an_old_copy_of_the_scores_tells_errors_by_score_alone(source):
    """Scores as used by GOPT, without `mispronunciations`, which does not mean correct pronunciation."""
    old = scores()
    call = old["00001a"]["words"][1]
    del call["mispronunciations"]
    call["phones-accuracy"] = [2.0, 0.4, 0.5]
    (source / "resource" / "scores.json").write_text(json.dumps(old))
    result = imported(source)
    cuts = result.splits["all"]
    child = pronunciation(next(cut for cut in cuts if cut.id == "00001a"))
    assert child.perceived == ("<del>", "<del>", "K", "<unk>", "L")
    assert child.errors == (1, 1, 0, 1, 0)
    assert any("an old copy of the scores" in note for note in result.report.notes)


def test_a_speaker_without_mispronunciations_is_no_old_copy(source):
    """The file omits `mispronunciations` where there are none."""
    words = [word("WE", ["W", "IY0"], 10), word("CALL", ["K", "AO0", "L"], 10)]
    (source / "resource" / "scores.json").write_text(json.dumps(scores(words=words)))
    result = imported(source)
    child = pronunciation(next(cut for cut in result.splits["all"] if cut.id == "00001a"))
    assert child.errors == (0,) * 5
    assert not any("copy" in note for note in result.report.notes)
    words[1] |= {"mispronunciations": [], "phones-accuracy": [2.0, 0.4, 2.0]}  # a copy that writes empty lists
    (source / "resource" / "scores.json").write_text(json.dumps(scores(words=words)))
    result = imported(source)
    child = pronunciation(next(cut for cut in result.splits["all"] if cut.id == "00001a"))
    assert child.errors == (0,) * 5
    assert not any("copy" in note for note in result.report.notes)


@pytest.mark.parametrize(
    ("label", "perceived", "accented"), [("OW R", "OW", 0), ("ow0 R*", "OW", 1), ("UH  R", "UH", 0)]
)
def test_two_phones_for_one_are_a_phone_and_an_insertion(source, tmp_path, label, perceived, accented):
    words = [word("WE", ["W", "IY0"], 9), word("CALL", ["K", "AO0", "L"], 6, (1, "AO", label))]
    (source / "resource" / "scores.json").write_text(json.dumps(scores(words=words)))
    result = imported(source)
    manifest.write(result.splits["all"], tmp_path / "all.jsonl.gz")
    child = pronunciation(next(cut for cut in manifest.read(tmp_path / "all.jsonl.gz") if cut.id == "00001a"))
    assert child.perceived == ("W", "IY", "K", perceived, "L")
    assert child.insertions == ((), (), (), (), ("R",), ())
    assert (child.errors, child.accented) == ((0, 0, 0, 1, 0), (0, 0, 0, accented, 0))
    assert not result.report.unknown_labels


@pytest.mark.parametrize("side", ["scores.json", "text-phone"])
def test_a_side_file_whose_ids_match_nothing_is_refused(source, side):
    if side == "scores.json":
        (source / "resource" / side).write_text(json.dumps({"1a": scores()["00001a"]}))
    else:
        (source / "resource" / side).write_text("1a.0\tW_B IY0_E\n")
    with pytest.raises(ImportRefusedError) as refused:
        imported(source)
    (fault,) = refused.value.report.faults
    assert (fault.item, fault.file) == (side, str(source / "resource" / side))
    assert fault.detail == "its ids: 1a; the utterances': 00001a, 00002b"


def test_phones_that_are_none_are_unknown_and_counted(source):
    wrong = [(0, "K", "TR"), (1, "AO", "ar*"), (2, "L", "<unk>")]
    judged = scores(words=[word("WE", ["W", "IY0"], 8), word("CALL", ["K", "AO0", "L"], 2, *wrong)])
    (source / "resource" / "scores.json").write_text(json.dumps(judged))
    (source / "resource" / "text-phone").unlink()  # the scores have the canonical phones too
    result = imported(source)
    cuts = result.splits["all"]
    (child,) = (cut for cut in cuts if cut.id == "00001a")
    said = pronunciation(child)
    assert said.canonical == ("W", "IY", "K", "AO", "L")
    assert said.perceived == ("W", "IY", "<unk>", "<unk>", "<unk>")
    assert said.errors == (0, 0, 1, 1, 1)
    assert result.report.unknown_labels == {"TR": 1, "ar*": 1}
    judged = scores(words=[word("WE", ["W", "TR"], 8)])
    (source / "resource" / "scores.json").write_text(json.dumps(judged))
    with pytest.raises(AsrLabError, match="not a phone: 'TR'"):
        imported(source)
    judged = scores(words=[word("WE", ["W", "IY0"], 8, (5, "IY", "IH"))])
    (source / "resource" / "scores.json").write_text(json.dumps(judged))
    with pytest.raises(AsrLabError, match="a mispronunciation of phone 5 of 2"):
        imported(source)


def test_scores_of_other_phones_are_refused(source, tmp_path):
    other = tmp_path / "scores.json"
    other.write_text(json.dumps(scores(words=[word("WE", ["W", "AH0"], 9)])))
    with pytest.raises(AsrLabError, match="scores are of other phones"):
        imported(source, scores=other)
    with pytest.raises(AsrLabError, match=r"none.json: the file is missing"):
        imported(source, scores=tmp_path / "none.json")


def test_every_fault_is_reported_at_once(source):
    (source / "train" / "spk2age").unlink()
    (source / "train" / "text").write_text("00001a\tWE CALL\n00009z\tNOBODY\nalone\n")
    with pytest.raises(ImportRefusedError) as refused:
        imported(source)
    train = source / "train"
    assert {(fault.file, fault.line, fault.kind, fault.detail) for fault in refused.value.report.faults} == {
        (str(train / "text"), 3, "one column, two are needed", ""),
        (str(train / "spk2age"), 0, "the file is missing", ""),
        (str(train / "spk2age"), 0, "speakers are missing", "1: 0001"),
        (str(train / "wav.scp"), 0, "utterances are missing", "1: 00009z"),
        (str(train / "utt2spk"), 0, "utterances are missing", "1: 00009z"),
    }


def test_a_folder_that_is_something_else(tmp_path):
    with pytest.raises(AsrLabError, match="neither train/ nor test/"):
        imported(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="speechocean762 is not on this machine")
def test_the_corpus_itself():
    cuts = imported(REAL).splits["all"]
    assert len(cuts) == 960
    ages = {manifest.supervision(cut).speaker: manifest.field(cut, "age") for cut in cuts}
    assert len(ages) == 48
    assert sum(age <= 15 for age in ages.values()) == 24
    assert sum(cut.duration for cut in cuts) / 3600 == pytest.approx(1.1, abs=0.05)
    assert all(manifest.field(cut, "canonical") for cut in cuts)


def test_speechocean762_with_segments_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "segments").write_text("u1 rec1 0 1\n")
    with pytest.raises(AsrLabError) as error:
        import_corpus("speechocean762", tmp_path, tmp_path / "out")
    assert error.value.where.endswith("segments")
    assert "import kaldi" in error.value.next_command
