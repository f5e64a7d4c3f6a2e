"""Transcripts and vocabularies as KoSpeech's preprocessing writes them for characters, subwords and graphemes."""

from unicodedata import normalize

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, tone_word

from asr_lab.data import manifest
from asr_lab.data.importers.kospeech_units import plain, unit_of

TEXTS = ["그래서 갔다", "아 진짜? PC방", "뭐 그래"]


def characters(texts):
    units = ["<pad>", "<sos>", "<eos>", " ", *sorted({one for text in texts for one in text} - {" "})]
    rows = [(text, [units.index(one) for one in text]) for text in texts]
    return rows, "id,char,freq\n" + "".join(f"{index},{unit},1\n" for index, unit in enumerate(units))


def graphemes(texts):
    split = [" ".join(normalize("NFKD", text).replace(" ", "|")).upper().split() for text in texts]
    units = ["<pad>", "<sos>", "<eos>", *sorted({one for row in split for one in row})]
    rows = [(text, [units.index(one) for one in row]) for text, row in zip(texts, split, strict=True)]
    return rows, "id,grpm,freq\n" + "".join(f"{index},{unit},1\n" for index, unit in enumerate(units))


def subwords(texts):
    """Pieces of two characters at most, the rare ? unknown."""
    split = []
    for text in texts:
        marked = ["▁" + word for word in text.split()]
        split.append([word[at : at + 2] for word in marked for at in range(0, len(word), 2)])
    units = ["<pad>", "<s>", "</s>", "<unk>", *sorted({one for row in split for one in row} - {"짜?"})]
    rows = [(" ".join(row), [units.index(one) if one in units else 3 for one in row]) for row in split]
    return rows, "".join(f"{unit}\t{-index if index > 3 else 0}\n" for index, unit in enumerate(units))


MADE = {"character": characters, "grapheme": graphemes, "subword": subwords}


def corpus(folder, unit, change=lambda rows: rows):
    rows, vocabulary = MADE[unit](TEXTS)
    folder.mkdir(parents=True)
    lines = []
    for number, (text, ids) in enumerate(change(rows)):
        soundfile.write(folder / f"{number}.wav", tone_word("cab", np.random.default_rng(number)), 16000)
        lines.append(f"{number}.wav\t{text}\t{' '.join(map(str, ids))}\n")
    (folder / "transcripts.txt").write_text("".join(lines), encoding="utf-8")
    vocab = folder / ("kspon.vocab" if unit == "subword" else "labels.csv")
    vocab.write_text(vocabulary, encoding="utf-8")
    return vocab


def texts(out):
    return [manifest.text(cut) for cut in manifest.read(out / "all.jsonl.gz")]


@pytest.mark.parametrize("unit", MADE)
def test_the_text_of_every_unit_is_read_and_its_ids_are_checked(tmp_path, unit):
    vocab = corpus(tmp_path / "in", unit)
    said = ok("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out", "--vocab", vocab)
    assert texts(tmp_path / "out") == TEXTS
    assert "the ids of all 3 lines are those of their text" in said
    assert ("3 transcripts are written in subwords" in said) == (unit == "subword")


@pytest.mark.parametrize("unit", MADE)
def test_ids_that_are_not_those_of_the_text_are_reported_in_every_unit(tmp_path, unit):
    vocab = corpus(tmp_path / "in", unit, lambda rows: [rows[0], (rows[1][0], rows[2][1]), rows[2]])
    said = ok("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out", "--vocab", vocab)
    assert "1 line has ids that are not those of their text: line 2" in said


def test_graphemes_in_the_place_of_the_text_are_joined(tmp_path):
    separated = [" ".join(normalize("NFKD", text).replace(" ", "|")) for text in TEXTS]
    vocab = corpus(
        tmp_path / "in", "grapheme", lambda rows: list(zip(separated, (ids for _, ids in rows), strict=True))
    )
    said = ok("data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out", "--vocab", vocab)
    assert texts(tmp_path / "out") == TEXTS
    assert "the ids of all 3 lines" in said


@pytest.mark.parametrize(
    ("unit", "other"), [("subword", "character"), ("subword", "grapheme"), ("character", "subword")]
)
def test_a_vocabulary_of_another_unit_is_refused(tmp_path, unit, other):
    corpus(tmp_path / "in", unit)
    vocab = corpus(tmp_path / "other", other)
    said = refused(
        "data", "import", "kospeech", tmp_path / "in" / "transcripts.txt", tmp_path / "out", "--vocab", vocab
    )
    assert f"the vocabulary is of {other}s" in said
    assert not (tmp_path / "out").exists()


def test_a_model_of_sentencepiece_is_no_vocabulary_but_its_name_leads_there(tmp_path):
    corpus(tmp_path / "in", "subword")
    (tmp_path / "kspon.model").write_bytes(b"\n\x0e\n\x05<pad>\x15\0\0\0\0\x18\x03")
    transcripts = tmp_path / "in" / "transcripts.txt"
    said = refused("data", "import", "kospeech", transcripts, tmp_path / "out", "--vocab", tmp_path / "kspon.model")
    assert "kspon.vocab" in said


@pytest.mark.parametrize(
    ("transcript", "unit", "text"),
    [
        ("▁ 그 래 ▁가", "subword", "그래 가"),
        ("▁그", "subword", "그"),
        ("그 래", None, "그 래"),
        ("가_나 | 다", None, "가_나 | 다"),
        (normalize("NFD", "나가"), None, normalize("NFD", "나가")),
    ],
)
def test_the_unit_of_a_transcript(transcript, unit, text):
    assert unit_of(transcript) == unit
    assert plain(transcript) == text
