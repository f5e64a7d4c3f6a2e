"""Beam search against brute force on tiny cases, and what it must never do."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asr_lab.config.schema import Decode
from asr_lab.decoding import arpa, ngram
from asr_lab.decoding.beam import BeamDecoder, beam_decoder
from asr_lab.decoding.greedy import best_path, to_text
from asr_lab.errors import AsrLabError

pytest.importorskip("flashlight", reason="the extra lm is not installed")

UNITS = ["<pad>", "<unk>", "|", "a", "b", "c"]
SENTENCES = ["a b", "ab a", "a a", "b ab", "ab b", "b"]


def made(path: Path, sentences: list[str], order: int = 2) -> Path:
    model = ngram.train((one.split() for one in sentences), order)
    header = arpa.Header(order=order, units="words", text="plain", digest="", sentences=len(sentences), words=1)
    arpa.write(model, path, header, sentences)
    return path


def decoder(path: Path | None, **settings: object) -> BeamDecoder:
    decode = Decode.model_validate({"lm": str(path or ""), "beam": 2000, **settings})
    return beam_decoder(decode, path, UNITS, 0, str.lower)


def logits(seed: int, frames: int, sharpness: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(1, frames, len(UNITS), generator=generator) * sharpness).log_softmax(-1)


def collapsed(path: tuple[int, ...]) -> str:
    merged = [index for index, _ in itertools.groupby(path) if index]
    return "".join(" " if UNITS[index] == "|" else UNITS[index] for index in merged)


def best_by_brute_force(log_probs: torch.Tensor, model: ngram.NgramModel, settings: Decode, lexicon: set[str]) -> str:
    """The best of all paths whose words are in the lexicon, each scored as the search should score it."""
    rows, best = log_probs[0].tolist(), (-math.inf, "")
    for path in itertools.product(range(len(UNITS)), repeat=len(rows)):
        words = collapsed(path).split()
        if 1 in path or not set(words) <= lexicon:  # <unk> is no letter of a word
            continue
        score = sum(row[index] for row, index in zip(rows, path, strict=True))
        score += settings.lm_weight * model.sentence(words) + settings.word_score * len(words)
        best = max(best, (score, " ".join(words)))
    return best[1]


@pytest.mark.parametrize("lm_weight", [1.5, 0.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_of_all_paths_wins(tmp_path: Path, seed: int, lm_weight: float) -> None:
    path = made(tmp_path / "x.arpa", SENTENCES)
    found = decoder(path, lm_weight=lm_weight, word_score=-0.5, unknown_score=-1000.0)
    log_probs = logits(seed, 5)
    greedy = to_text(best_path(log_probs, torch.tensor([5]), 0)[0], UNITS)
    expected = best_by_brute_force(log_probs, arpa.load(path), found.settings, {"a", "b", "ab"})
    assert found.decode(log_probs, torch.tensor([5])) == [expected if greedy else ""]


def units_model(path: Path, texts: list[str], order: int) -> Path:
    model = ngram.train((ngram.split_text(text, "characters") for text in texts), order)
    arpa.write(
        model, path, arpa.Header(order=order, units="characters", text="", digest="", sentences=1, words=1), texts
    )
    return path


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_paths_wins_with_a_model_of_units(tmp_path: Path, seed: int) -> None:
    path = units_model(tmp_path / "x.arpa", ["a b", "ab a", "b ab", "c a"], 3)
    model, log_probs = arpa.load(path), logits(seed, 5)
    rows, best = log_probs[0].tolist(), (-math.inf, "")
    for one in itertools.product(range(len(UNITS)), repeat=len(rows)):
        merged = [UNITS[index] for index, _ in itertools.groupby(one) if index]
        begun = merged[1:] if UNITS[one[0]] == "|" else merged  # a boundary in the first frame is free
        score = sum(row[index] for row, index in zip(rows, one, strict=True)) + 1.5 * model.sentence(begun)
        best = max(best, (score, to_text([UNITS.index(unit) for unit in merged], UNITS)))
    assert decoder(path, lm_weight=1.5).decode(log_probs, torch.tensor([5])) == [best[1]]


def spoken(text: str, probability: float = 0.9, *, ends: bool = False) -> torch.Tensor:
    """Log probabilities (1, U, V) of a network that writes the text, a blank behind each unit; `ends`: then a `|`."""
    classes = [UNITS.index("|" if letter == " " else letter) for letter in text + (" " if ends else "")]
    path = [index for one in classes for index in (one, 0)]
    rows = torch.full((len(path), len(UNITS)), (1 - probability) / (len(UNITS) - 1))
    rows[range(len(path)), path] = probability
    return rows.log()[None]


@pytest.mark.parametrize("ends", [False, True], ids=["no boundary at the end", "a boundary at the end"])
@pytest.mark.parametrize("text", ["a", "ab a", "a b ab b"])
def test_the_last_word_is_not_cut_off(tmp_path: Path, text: str, ends: bool) -> None:
    log_probs = spoken(text, ends=ends)
    for found in (decoder(made(tmp_path / "x.arpa", SENTENCES)), decoder(None, hot_words=("cc",), beam=50)):
        assert found.decode(log_probs, torch.tensor([log_probs.shape[1]])) == [text]


def test_batches_are_decoded_as_their_utterances(tmp_path: Path) -> None:
    found = decoder(made(tmp_path / "x.arpa", SENTENCES))
    rows = [logits(seed, frames)[0] for seed, frames in enumerate((7, 4, 9, 2))]
    alone = [found.decode(row[None], torch.tensor([len(row)]))[0] for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=5.0)
    assert found.decode(padded, torch.tensor([len(row) for row in rows])) == alone


def test_a_word_outside_the_lexicon_is_kept_where_the_network_is_sure(tmp_path: Path) -> None:
    path = made(tmp_path / "x.arpa", SENTENCES)
    sure, unsure = spoken("ab cc", 0.99), spoken("ab cc", 0.99)
    unsure[0, 6:] = spoken("cc", 0.35)[0]  # b is nearly as probable
    unsure[0, 6:, UNITS.index("b")] = math.log(0.3)
    length = torch.tensor([sure.shape[1]])
    assert decoder(path).decode(sure, length) == ["ab cc"]
    assert decoder(path).decode(unsure, length) != ["ab cc"]
    assert "cc" not in decoder(path, unknown_score=-1000.0).decode(sure, length)[0]


def test_an_utterance_does_not_learn_the_words_of_another(tmp_path: Path) -> None:
    found = decoder(made(tmp_path / "x.arpa", SENTENCES), unknown_score=0.0)
    unsure = spoken("ab b", 0.5)
    length = torch.tensor([unsure.shape[1]])
    before = found.decode(unsure, length)
    found.decode(spoken("ab c", 0.99), torch.tensor([8]))
    assert found.decode(unsure, length) == before


@pytest.mark.parametrize("settings", [{}, {"hot_words": ("ab", "cc")}], ids=["model", "model and hot words"])
def test_silence_stays_silent(tmp_path: Path, settings: dict[str, object]) -> None:
    silence = torch.full((1, 40, len(UNITS)), math.log(0.1))
    silence[..., 0] = math.log(0.5)
    for path in (made(tmp_path / "x.arpa", SENTENCES), None):
        if path or settings:
            found = decoder(path, word_score=5.0, **settings) if path else decoder(None, **settings)
            assert found.decode(silence, torch.tensor([40])) == [""]


@pytest.mark.parametrize("weight", [1.0, 0.0, None], ids=["model", "lexicon alone", "hot words alone"])
def test_a_hot_word_beats_one_that_is_nearly_as_probable(tmp_path: Path, weight: float | None) -> None:
    path = None if weight is None else made(tmp_path / "x.arpa", SENTENCES)
    given = {} if weight is None else {"lm_weight": weight}
    log_probs = spoken("ab", 0.5)
    log_probs[0, 2, UNITS.index("c")] = math.log(0.45)
    length = torch.tensor([4])
    if path:
        assert decoder(path, **given).decode(log_probs, length) == ["ab"]
    assert decoder(path, hot_words=("ac",), hot_word_score=4.0, **given).decode(log_probs, length) == ["ac"]


def test_hot_words_share_the_model_and_score_as_in_a_model_that_has_them_raised(tmp_path: Path) -> None:
    from asr_lab.decoding import search_lm

    path = made(tmp_path / "x.arpa", [*SENTENCES] * 3, 3)
    plain = decoder(path, lm_weight=20.0, unknown_score=-10.0)
    hot = plain.with_hot_words(("ab", "ca"), str.lower)
    assert hot.lm._shared is plain.lm
    assert "2 hot words" in hot.name
    unknown = arpa.read(path).unknown
    assert unknown is not None
    arpa.write_raised(path, tmp_path / "raised.arpa", {"ab": 0.2, "ca": 0.2, ngram.UNKNOWN: -0.5}, floor=unknown)
    raised, words = search_lm.load(tmp_path / "raised.arpa", ["a", "b", "ab", "ca", ngram.UNKNOWN])
    for history in itertools.product(["a", "ab", "ca", ngram.UNKNOWN], repeat=3):
        state, expected = hot.lm.start(False), raised.start(False)
        for word in history:
            state, score = hot.lm.score(state, hot.words.get_index(word))
            expected, of_raised = raised.score(expected, words.get_index(word))
            assert score == pytest.approx(of_raised, abs=1e-5)
        assert hot.lm.finish(state)[1] == pytest.approx(raised.finish(expected)[1], abs=1e-5)


def test_a_hot_phrase_is_a_word_of_the_model(tmp_path: Path) -> None:
    log_probs = spoken("ac cb", 0.6)
    found = decoder(made(tmp_path / "x.arpa", SENTENCES), hot_words=("AC cb",))
    assert found.decode(log_probs, torch.tensor([log_probs.shape[1]])) == ["ac cb"]
    assert found.hot_texts == ["ac cb"]


@pytest.mark.parametrize("word", ["xy", "a-x", "|", "<unk>", "é"])
def test_hot_words_that_cannot_be_written_are_refused(word: str) -> None:
    with pytest.raises(AsrLabError) as caught:
        decoder(None, hot_words=("ab", word))
    assert word in caught.value.what
    assert "ab" not in caught.value.what
    assert caught.value.where == "decode.hot_words"


def test_a_hot_word_of_absurd_length_is_refused_and_not_printed() -> None:
    with pytest.raises(AsrLabError) as caught:
        decoder(None, hot_words=("ab", "abc" * 1700))
    assert caught.value.where == "decode.hot_words"
    assert len(str(caught.value)) < 300


def test_words_of_the_model_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    found = decoder(made(tmp_path / "x.arpa", ["a bé", "xyz a"]))
    assert set(found.lexicon.unspellable) == {"bé", "xyz"}
    with pytest.raises(AsrLabError):
        decoder(made(tmp_path / "y.arpa", ["xyz"]))


def test_capitals_of_a_model_are_written_as_the_recogniser_writes(tmp_path: Path) -> None:
    found = decoder(made(tmp_path / "x.arpa", ["AB A", "A B"]))
    log_probs = spoken("ab a")
    assert found.decode(log_probs, torch.tensor([log_probs.shape[1]])) == ["ab a"]


def test_more_than_six_words_of_one_spelling(tmp_path: Path) -> None:
    alike = ["".join(letters) for letters in itertools.product("aA", "bB", "cC")]
    found = decoder(made(tmp_path / "x.arpa", [*alike, "a"]))
    log_probs = spoken("abc")
    assert found.decode(log_probs, torch.tensor([log_probs.shape[1]])) == ["abc"]
    assert len(found.lexicon.spellings) == 7


def test_units_of_another_recogniser_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrLabError):
        decoder(units_model(tmp_path / "x.arpa", ["xyz xw", "a v"], 2))
    with pytest.raises(AsrLabError):
        decoder(units_model(tmp_path / "y.arpa", ["a b"], 2), hot_words=("ab",))


def test_nothing_is_written_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = decoder(made(tmp_path / "x.arpa", SENTENCES))
    found.decode(logits(0, 5), torch.tensor([5]))
    assert capfd.readouterr() == ("", "")


def test_what_other_threads_write_while_a_model_is_loaded_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from asr_lab.decoding import search_lm

    def slow(path: str, words: object) -> object:
        os.write(2, b"Reading a language model: a line of another thread\n")
        return load(path, words)

    load = search_lm.kenlm.KenLM
    monkeypatch.setattr(search_lm, "kenlm", SimpleNamespace(KenLM=slow))
    decoder(made(tmp_path / "x.arpa", SENTENCES))
    assert capfd.readouterr().err == "Reading a language model: a line of another thread\n"


def test_what_kenlm_refuses_is_one_sentence_about_the_user_s_file(tmp_path: Path) -> None:
    path = tmp_path / "x.arpa"
    path.write_text(made(path, SENTENCES).read_text().replace("ngram 1=", "ngram 1=9"))
    with pytest.raises(AsrLabError) as caught:
        decoder(path)
    assert caught.value.where == str(path)
    assert "\n" not in caught.value.what
    assert "threw" not in caught.value.what


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("number", ["one", "nan", "--1"])
def test_a_number_that_is_none_is_one_message_wherever_it_stands(tmp_path, order, number):
    path = made(tmp_path / "x.arpa", SENTENCES)
    lines = path.read_text().splitlines(keepends=True)
    place = lines.index(f"\\{order}-grams:\n") + 1
    lines[place] = "\t".join([number, lines[place].partition("\t")[2]])
    path.write_text("".join(lines))
    with pytest.raises(AsrLabError) as refused:
        decoder(path)
    assert refused.value.where == str(path)
