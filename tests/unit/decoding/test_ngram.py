"""N-gram language models: probabilities that sum to 1 after every history, and files that say what they are of."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from asr_lab.decoding import arpa, ngram
from asr_lab.decoding.ngram import BEGIN, END, UNKNOWN, split_text
from asr_lab.errors import AsrLabError


def drawn(seed: int, sentences: int) -> list[list[str]]:
    """Sentences of a skewed vocabulary, so that words are seen once, twice, and often."""
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(40)]
    weights = [1 / (rank + 1) for rank in range(40)]
    return [rng.choices(words, weights, k=rng.randint(1, 8)) for _ in range(sentences)]


def total(model: ngram.NgramModel, history: tuple[str, ...]) -> float:
    return sum(10 ** model.log10(word, history) for word in [*model.words, END, UNKNOWN])


@pytest.mark.parametrize("order", [2, 3, 6])
@pytest.mark.parametrize("text", [drawn(0, 300), drawn(1, 3), [["a"]], [["a", "a", "a"], ["b", "a"]]], ids=len)
def test_probabilities_sum_to_one_after_every_history(text, order):
    model = ngram.train(text, order)
    histories = [(), (BEGIN,), ("never-seen",), (BEGIN, "never-seen"), ("never-seen", text[0][0])]
    for history in [*histories, *random.Random(0).sample(sorted(model.backoffs), min(60, len(model.backoffs)))]:
        assert total(model, history) == pytest.approx(1, abs=1e-9), history


def test_jamo_and_syllables_sum_to_one():
    for units in ("characters", "jamo"):
        model = ngram.train([split_text(text, units) for text in ("한국 말", "말 한 마디", "국 말")], 4)
        assert "|" in model.words
        assert total(model, (BEGIN, "|")) == pytest.approx(1)
        assert total(model, (split_text("말", units)[0],)) == pytest.approx(1)
    assert split_text("말 a", "jamo") == ["\u1106", "\u1161", "\u11af", "|", "a"]


def test_a_small_text_by_hand():
    """`a b`, `a b`: discounts cannot be estimated, so 0.5, 1, 1.5 are taken for 1, 2 and more."""
    model = ngram.train([["a", "b"], ["a", "b"]], 2)
    # each of a, b, </s> follows one word; half of each 1 / 3 is shared by a, b, </s> and <unk>
    unigram = 0.5 / 3 + 0.5 / 4
    assert 10 ** model.log10("b") == pytest.approx(unigram)
    assert 10 ** model.log10(UNKNOWN) == pytest.approx(0.5 / 4)
    assert 10 ** model.log10("b", ("a",)) == pytest.approx(1 / 2 + 1 / 2 * unigram)
    assert 10 ** model.log10("zzz", ("a",)) == pytest.approx(1 / 2 * 0.5 / 4)
    assert 10 ** model.log10("b", ("zzz",)) == pytest.approx(unigram)


def test_what_was_seen_is_likelier_than_what_was_not():
    model = ngram.train(drawn(0, 300), 3)
    seen, unseen = drawn(0, 300)[:20], drawn(7, 20)
    assert sum(map(model.sentence, seen)) > sum(map(model.sentence, unseen))


@pytest.mark.parametrize(("text", "order"), [([], 3), ([[]], 3), ([["a", "<s>"]], 3), ([["a"]], 1), ([["a"]], 7)])
def test_what_makes_no_model_is_refused(text, order):
    with pytest.raises(AsrLabError) as caught:
        ngram.train(text, order)
    assert caught.value.allowed


def header(**given) -> arpa.Header:
    usual = {"order": 3, "units": "words", "text": "nfc", "digest": "d", "sentences": 2, "words": 4}
    return arpa.Header(**{**usual, **given})


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "x.arpa"
    text = drawn(0, 50)
    arpa.write(ngram.train(text, 3), path, header(), [" ".join(one) for one in text])
    return path


def test_a_file_says_what_it_was_made_of(written):
    model = arpa.read(written)
    assert model.header == header()
    assert model.order == 3
    assert not model.of_units
    assert arpa.sentence_hash(" ".join(drawn(0, 50)[0])) in model.sentences
    assert arpa.sentence_hash("another sentence") not in model.sentences
    assert set(model.words) == {word for one in drawn(0, 50) for word in one}


def test_scoring_does_not_go_through_the_model_for_each_word():
    class Counted(dict):
        passes = 0

        def __iter__(self):
            Counted.passes += 1
            return super().__iter__()

    trained = ngram.train(drawn(0, 50), 3)
    model = ngram.NgramModel(Counted(trained.probabilities), trained.backoffs)
    for sentence in drawn(1, 20):
        assert model.sentence(sentence) == trained.sentence(sentence)
        assert all(word in trained.words for word in sentence if word in model.words)
    assert Counted.passes <= 2


def test_a_file_is_the_model(written):
    model, again = ngram.train(drawn(0, 50), 3), arpa.load(written)
    assert again.probabilities.keys() == model.probabilities.keys()
    for history in random.Random(0).sample(sorted(model.backoffs), 30):
        assert total(again, history) == pytest.approx(1, abs=1e-5)


def test_the_same_text_gives_the_same_file(written, tmp_path):
    text = drawn(0, 50)
    arpa.write(ngram.train(text, 3), tmp_path / "y.arpa", header(), [" ".join(one) for one in text])
    assert (tmp_path / "y.arpa").read_bytes() == written.read_bytes()


def test_a_file_of_another_toolkit_is_read(tmp_path):
    path = tmp_path / "other.arpa"
    path.write_text(
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-99\t<s>\t-0.3\n-0.4\t</s>\n-0.5\tHELLO\t-0.2\n-0.6\tworld\n\n"
        "\\2-grams:\n-0.1\t<s> HELLO\n-0.2\tHELLO world\n\n\\end\\\n"
    )
    model = arpa.read(path)
    assert (model.header, model.sentences, model.unknown, model.order) == (None, frozenset(), None, 2)
    assert dict(model.words) == {"HELLO": -0.5, "world": -0.6}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a sentence\n",
        b"\x1f\x8b\x08\x00\xff",
        b"\\data\\\nngram 1=1\n\n\\1-grams:\n-1\ta\n\\end\\\n",
        b"\\data\\\nngram x=1\n\n\\1-grams:\n-1\ta\n\\end\\\n",
    ],
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "x.arpa"
    path.write_bytes(content)
    with pytest.raises(AsrLabError) as caught:
        arpa.read(path)
    assert caught.value.where == str(path)


def test_a_line_that_is_no_ngram_is_named(tmp_path):
    path = tmp_path / "x.arpa"
    path.write_text("\\data\\\nngram 1=2\nngram 2=1\n\n\\1-grams:\n-1\ta\nb -1\n\n\\2-grams:\n-1\ta b\n\\end\\\n")
    with pytest.raises(AsrLabError, match="b -1"):
        arpa.read(path)


def test_raised_words_are_likelier_after_every_history(written, tmp_path):
    path = tmp_path / "raised.arpa"
    arpa.write_raised(written, path, {"w3": 0.2, "new": 1.0, UNKNOWN: -2.0}, floor=-3.0)
    before, after = arpa.load(written), arpa.load(path)
    for history in [(), (BEGIN,), ("w0",), ("w0", "w1"), ("never-seen",)]:
        assert after.log10("w3", history) == pytest.approx(before.log10("w3", history) + 0.2, abs=1e-6)
        assert after.log10("w4", history) == pytest.approx(before.log10("w4", history), abs=1e-6)
        assert after.log10("zzz", history) == pytest.approx(before.log10("zzz", history) - 2.0, abs=1e-6)
    assert after.log10("new") == -2.0
    assert len(arpa.read(path).words) == len(arpa.read(written).words) + 1
