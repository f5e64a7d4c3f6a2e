"""Words of a transcript with their times and confidence."""

import pytest
import torch

from asr_lab.decoding.words import Word, aligned_words, best_path_words
from asr_lab.errors import AsrLabError

UNITS = {"<pad>": 0, "|": 1, "a": 2, "b": 3}


def encode(word: str) -> list[int]:
    return [UNITS[letter] for letter in word if letter in UNITS]


def frames(*rows: tuple[int, float]) -> torch.Tensor:
    """Log probabilities with the given class at the given probability, the rest shared."""
    probabilities = torch.tensor([[p if c == best else (1 - p) / 3 for c in range(4)] for best, p in rows])
    return probabilities.log()


def words_of(log_probs: torch.Tensor, text: str, boundary: int | None = UNITS["|"]) -> list[Word]:
    return aligned_words(log_probs, text, encode, boundary, 0, 1.0)


def test_words_have_rising_frames_and_the_mean_probability_of_their_units():
    log_probs = frames((0, 0.9), (2, 0.5), (2, 0.8), (1, 0.9), (0, 0.9), (3, 0.2), (2, 0.8), (0, 0.9))
    ab, ba = words_of(log_probs, "a ba")
    assert (ab.text, ab.start_s, ab.end_s, ab.confidence) == ("a", 1, 3, pytest.approx(0.8))
    assert (ba.text, ba.start_s, ba.end_s, ba.confidence) == ("ba", 5, 7, pytest.approx((0.2 * 0.8) ** 0.5))
    assert words_of(log_probs, "") == []
    assert [word.text for word in words_of(log_probs, "zz a")] == ["a"]


def test_the_words_of_the_best_path_are_those_of_an_alignment_of_its_text():
    draw = torch.Generator().manual_seed(0)
    checked = 0
    for _ in range(50):
        log_probs = (4 * torch.randn(30, 4, generator=draw)).log_softmax(dim=-1)
        found = best_path_words(log_probs, list(UNITS), 0, 1.0)
        aligned = words_of(log_probs, " ".join(word.text for word in found))
        checked += len(found)
        for word, other in zip(found, aligned, strict=True):
            assert (word.text, word.start_s, word.end_s) == (other.text, other.start_s, other.end_s)
            assert word.confidence == pytest.approx(other.confidence, abs=2e-4)
    assert checked > 200


def test_equal_neighbours_without_a_boundary():
    log_probs = frames((2, 0.9), (0, 0.9), (2, 0.9), (0, 0.9))
    first, second = words_of(log_probs, "a a", None)
    assert first.end_s <= second.start_s


def test_a_text_that_does_not_fit_is_refused():
    with pytest.raises(AsrLabError):
        words_of(frames((2, 0.9)), "ab")
