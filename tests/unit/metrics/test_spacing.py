"""Error rates in which spaces do not count, on cases whose value is known beforehand."""

import jiwer
import pytest

from asr_lab.metrics import error_rates, ratios
from asr_lab.metrics.spacing import cer_no_space, respace, wer_no_space, without_spaces


def scored(reference: str, hypothesis: str):
    return without_spaces(error_rates.score({"a": reference}, {"a": hypothesis}))


def kospeech(reference: str, hypothesis: str) -> float:
    """KoSpeech's CER (kospeech/metrics.py): Levenshtein distance of both without spaces, by the reference's length."""
    one, other = reference.replace(" ", ""), hypothesis.replace(" ", "")
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row, before = [i], row
        for j, right in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (left != right)))
    return row[-1] / len(one)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "respaced", "word_errors"),
    [
        ("할 수 있다", "할수 있다", "할 수 있다", 0),
        ("할수 있다", "할 수 있 다", "할수 있다", 0),
        ("나는 집에 간다", "나는 간다", "나는 간다", 1),
        ("나는 간다", "나는 집에 매일 간다", "나는 집에 매일 간다", 2),
        ("나는 간다", "나는 간다고 해", "나는 간다고 해", 2),
        ("나는 간다", "난 은간다", "난은 간다", 1),
        ("나는 간다", "", "", 2),
        ("가", "가 나", "가 나", 1),
    ],
)
def test_words_are_spaced_as_in_the_reference(reference, hypothesis, respaced, word_errors):
    bare = [text.replace(" ", "") for text in (reference, hypothesis)]
    chunks = jiwer.process_characters(*([text] for text in bare)).alignments[0]
    assert respace(reference, hypothesis, chunks) == respaced
    table = scored(reference, hypothesis)
    assert wer_no_space(table) == word_errors / len(reference.split())
    assert cer_no_space(table) == pytest.approx(kospeech(reference, hypothesis))


def test_spaces_alone_are_errors_of_wer_and_cer_only():
    table = scored("할 수 있다", "할수있다")
    assert error_rates.wer(table) == 1
    assert error_rates.cer(table) == 2 / 6
    assert (wer_no_space(table), cer_no_space(table)) == (0, 0)
    assert ratios.value(table, "cer_no_space") == ratios.value(table, "wer_no_space") == 0


def test_a_corpus_is_a_sum_and_may_be_empty():
    references, hypotheses = {"a": "가 나", "b": "다라마바"}, {"a": "가너", "b": "다라마"}
    table = without_spaces(error_rates.score(references, hypotheses))
    assert cer_no_space(table) == 2 / 6
    assert wer_no_space(table) == 2 / 3
    assert without_spaces(table) is table
    empty = without_spaces(error_rates.score({}, {}))
    assert cer_no_space(empty) != cer_no_space(empty)
