"""Leakage between splits: common utterances, also under other ids, and common speakers."""

from conftest import make_corpus
from lhotse import CutSet, MonoCut, SupervisionSegment

from asr_lab.data import manifest
from asr_lab.data.leakage import Leakage, same_utterances


def spoken(**speakers: str | None) -> CutSet:
    """An utterance of each speaker, by its id."""
    return CutSet.from_cuts(
        MonoCut(id, 0, 1, 0, supervisions=[SupervisionSegment(id, id, 0, 1, text="x", speaker=name)])
        for id, name in speakers.items()
    )


TRAIN = spoken(a="ann", b="bob", c=None)


def test_nothing_is_said_of_splits_that_share_nothing():
    found = Leakage.of({"train": TRAIN, "val": spoken(d="dan", e=None), "test": spoken(f="fay")})
    assert found == Leakage()
    assert found.warnings() == found.notes() == []


def test_each_pair_is_reported_with_its_speakers():
    found = Leakage.of({"train": TRAIN, "val": spoken(d="ann", e="bob", f="fay"), "test": spoken(g="fay")})
    (said,) = found.warnings()
    assert said.startswith("the splits share speakers, ")
    assert said.endswith(": train and val 2 (ann, bob), val and test 1 (fay)")
    (noted,) = found.notes()
    assert noted.endswith(": train and val 2, val and test 1")  # names nobody, so nobody has to be forgotten in it


def test_utterances_are_reported_beside_their_speakers():
    utterances, speakers = Leakage.of({"train": TRAIN, "test": spoken(c=None, a="ann", d="dan")}).warnings()
    assert utterances.startswith("the splits share utterances, ")
    assert utterances.endswith(": train and test 2 (a, c)")
    assert speakers.endswith(": train and test 1 (ann)")


def test_the_one_speaker_of_all_splits_is_meant_but_not_the_same_utterances():
    assert Leakage.of({"train": spoken(a="ann", b="ann"), "test": spoken(c="ann")}) == Leakage()
    (said,) = Leakage.of({"train": spoken(a="ann", b="ann"), "test": spoken(b="ann")}).warnings()
    assert said.endswith("train and test 1 (b)")


def test_tests_may_share_what_they_like():
    both = {"test": spoken(d="dan"), "test_hard": spoken(d="dan", e="eve")}
    assert Leakage.of({"train": TRAIN, **both}) == Leakage()


def test_the_same_audio_under_other_names_is_the_same_and_an_id_alone_is_not(tmp_path):
    ours = manifest.read(make_corpus(tmp_path / "ours", {"u1": "abba", "u2": "dad"}))
    other = make_corpus(tmp_path / "other", {"u1": "bed", "u2": "ace"}, speaker="bob", seed=1)
    assert same_utterances(ours, manifest.read(other)) == []
    renamed = [cut.with_id(f"copy-of-{cut.id}") for cut in ours]
    assert same_utterances(ours, CutSet.from_cuts(renamed)) == ["u1", "u2"]
    for cut in renamed:
        del cut.supervisions[0].custom["audio_digest"]  # the file is still the same
    assert same_utterances(CutSet.from_cuts(renamed), ours) == ["copy-of-u1", "copy-of-u2"]
    first, second = renamed[0].truncate(duration=0.2), renamed[0].truncate(offset=0.2)
    assert same_utterances(CutSet.from_cuts([first]), CutSet.from_cuts([second.with_id("rest")])) == []
