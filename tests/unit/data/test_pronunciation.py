"""Pronunciation fields and their checks; ARPAbet and eSpeak phonemes."""

import numpy as np
import pytest
import soundfile

from asr_lab.data import arpabet, manifest
from asr_lab.data.pronunciation import (
    DELETED,
    UNKNOWN,
    Pronunciation,
    check_pronunciations,
    is_annotated,
    pronunciation,
)
from asr_lab.errors import AsrLabError

THEME = Pronunciation(
    canonical=("TH", "IY", "M"),
    perceived=("S", "IY", DELETED),
    errors=(1, 0, 1),
    insertions=((), ("AH",), (), ("UH", "P")),
    words=(0, 0, 0),
    scores=(0.2, 2.0, 0.0),
    phone_times=((0.0, 0.1), (0.1, 0.25), None),
)


@pytest.fixture
def said(tmp_path):
    """Return an utterance with these fields."""
    audio = tmp_path / "a.wav"
    soundfile.write(audio, np.zeros(8000), 16000)

    def make(id="a", **custom):
        return manifest.utterance(id=id, audio=audio, text="theme", speaker="mina", **custom)

    return make


def test_fields_come_back_as_they_were(said, tmp_path):
    manifest.write([said(**THEME.to_custom())], tmp_path / "all.jsonl.gz")
    (cut,) = manifest.read(tmp_path / "all.jsonl.gz")
    assert pronunciation(cut) == THEME
    assert THEME.spoken == ("S", "AH", "IY", "UH", "P")


def test_without_insertions_there_is_a_slot_behind_each_phoneme(said):
    plain = pronunciation(said(canonical=["B", "IY"], perceived=[UNKNOWN, "IY"], errors=[1, 0]))
    assert plain.insertions == ((), (), ())
    assert plain.spoken == (UNKNOWN, "IY")
    assert (plain.words, plain.scores, plain.accented, plain.phone_times) == ((), None, None, None)
    assert "insertions" not in plain.to_custom()


def test_one_utterance_says_what_it_lacks(said):
    assert not is_annotated(said(canonical=["B"]))
    with pytest.raises(AsrLabError, match="no perceived; no errors"):
        pronunciation(said(canonical=["B"]))
    with pytest.raises(AsrLabError, match="errors and canonical differ in length: 1 and 2"):
        pronunciation(said(canonical=["B", "IY"], perceived=["B", "IY"], errors=[0]))


def test_every_fault_of_a_manifest_is_reported_at_once(said):
    fine = {"canonical": ["B", "IY"], "perceived": ["B", "IY"], "errors": [0, 0]}
    check_pronunciations([said(**fine)])
    wrong = [
        said("bare"),
        said("short", **{**fine, "errors": [0]}),
        said("slots", **fine, insertions=[[], ["T"]]),
        said("strange", **{**fine, "canonical": ["B", "IX"], "perceived": ["B", "TR*"], "errors": [0, 1]}),
        said("lazy", **{**fine, "perceived": ["P", "IY"]}),
        said("two", **{**fine, "errors": [0, 2]}),
        said("none", **{**fine, "canonical": []}),
        said("scored", **fine, scores={"phones": [2.0]}),
        said("spelled", **{**fine, "canonical": "B IY"}),
        said("lettered", **{**fine, "errors": ["C", "C"]}),
        said("nested", **{**fine, "errors": [[0], [0]]}),
    ]
    with pytest.raises(AsrLabError) as told:
        check_pronunciations([said(**fine), *wrong], where="all.jsonl.gz")
    for part in (
        "no canonical: 1 utterance, bare",
        "errors and canonical differ in length: 1 utterance, short",
        "insertions and canonical differ in length: 1 utterance, slots",
        "'IX' 1 times, 'TR*' 1 times",
        "differ without an error: 1 utterance, lazy",
        "neither 0 nor 1: 1 utterance, two",
        "canonical is empty: 1 utterance, none",
        "scores.phones and canonical differ in length: 1 utterance, scored",
        "canonical is no list of phonemes: 1 utterance, spelled",
        "errors is no list of 0 and 1: 2 utterances, lettered, nested",
        "speechocean762 with its scores",
        "all.jsonl.gz",
    ):
        assert part in str(told.value), part


def test_the_inventory_is_whole_and_goes_to_espeak_and_back():
    assert len(arpabet.PHONEMES) == 39
    assert len(arpabet.VOWELS) == 15
    assert list(arpabet.PHONEMES) == sorted(arpabet.PHONEMES)
    assert set(arpabet.TO_ESPEAK) == set(arpabet.PHONEMES)
    assert {phoneme for phonemes in arpabet.FROM_ESPEAK.values() for phoneme in phonemes} == set(arpabet.PHONEMES)
    assert all(arpabet.FROM_ESPEAK[mark] == (phoneme,) for phoneme, mark in arpabet.TO_ESPEAK.items())


@pytest.mark.parametrize(
    ("marks", "phonemes"),
    [
        ("D @2 k w 'I k", "DH AH K W IH K"),
        ("k 'A@", "K AA R"),
        ("k 'A@ r i z", "K AA R IY Z"),  # the r is in the vowel before
        ("h 'i@ r I N", "HH IH R IH NG"),
        ("aI d 'i@", "AY D IY AH"),
        ("g 'A@ d n- _: ", "G AA R D AH N"),
        ("w 'O@ t# 3", "W AO R T ER"),
        ("r 'E d", "R EH D"),
        ("g 3 r 'A: Z", "G ER AA ZH"),
    ],
)
def test_espeak_in_arpabet(marks, phonemes):
    found = arpabet.from_espeak(marks.split())
    assert len(found) == len(marks.split())
    assert [phoneme for each in found for phoneme in each] == phonemes.split()


def test_labels_of_corpora_mean_phonemes():
    dirty = {"AH0": "AH", "ah": "AH", "ER)": "ER", "V``": "V", "W`": "W", "T ": "T", "AX": "AH", "D*": "D", "L_": "L"}
    assert {label: arpabet.phoneme_of(label) for label in dirty} == dirty
    assert [arpabet.phoneme_of(label) for label in ("TR", "err", "sil", "", "*")] == [None] * 5
    assert all(arpabet.is_silence(label) for label in ("sil", "SIL", "sp", "spn", "", " "))
    assert not arpabet.is_silence("S")


def test_a_mark_of_another_language_is_refused():
    with pytest.raises(KeyError):
        arpabet.from_espeak(["y:"])
