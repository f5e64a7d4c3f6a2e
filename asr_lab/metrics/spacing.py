"""Error rates in which spaces do not count: of characters as KoSpeech counts them, of words as spaced in the reference.

Where words end is a matter of taste in much of written Korean (할 수 있다, 할수 있다), and wrong spaces in a hypothesis
are word errors that nobody hears.
"""

from __future__ import annotations

from typing import Any

import jiwer
import pandas as pd

from asr_lab.metrics import error_rates

CHARACTERS, WORDS = "nospace_char_errors", "nospace_word_errors"
LENGTH = "nospace_characters"
"""Columns of a score table: errors, and the length of the reference in characters without spaces."""
DESCRIPTION = (
    "wer: words; cer: characters with the spaces between words; cer_no_space: without spaces, as KoSpeech; "
    "wer_no_space: words, the hypothesis spaced as the reference"
)
SCORER = f"{error_rates.SCORER} ({DESCRIPTION})"
"""Name of the scorer with what each rate counts."""


def without_spaces(table: pd.DataFrame) -> pd.DataFrame:
    """Add the errors of each utterance in which spaces do not count, and its length; a table that has them is as it is.

    The table is that of `error_rates.score`.
    """
    if CHARACTERS in table:
        return table
    spaced = table["reference"].tolist()
    references, hypotheses = (
        [text.replace(" ", "") for text in table[side].tolist()] for side in ("reference", "hypothesis")
    )
    aligned = jiwer.process_characters(references or [""], hypotheses or [""]).alignments[: len(table)]
    respaced = [
        respace(reference, hypothesis, chunks)
        for reference, hypothesis, chunks in zip(spaced, table["hypothesis"], aligned, strict=True)
    ]
    words = jiwer.process_words(spaced or [""], respaced or [""])
    return table.assign(
        **{
            CHARACTERS: [_errors(chunks) for chunks in aligned],
            LENGTH: [len(reference) for reference in references],
            WORDS: [_errors(chunks) for chunks in words.alignments[: len(table)]],
        }
    )


def _errors(chunks: Any) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in chunks
        if chunk.type != "equal"
    )


def respace(reference: str, hypothesis: str, chunks: Any) -> str:
    """Return a hypothesis with its spaces where the reference has them.

    `chunks` is jiwer's alignment of both without spaces. What was inserted between two words of the reference keeps
    its own spaces.
    """
    starts, own = _starts(reference), _starts(hypothesis)
    characters, text = hypothesis.replace(" ", ""), ""
    for chunk in chunks:
        if chunk.type == "insert":
            between = chunk.ref_start_idx in starts or chunk.ref_start_idx == len(reference.replace(" ", ""))
            for place in range(chunk.hyp_start_idx, chunk.hyp_end_idx):
                text += (" " if between and place in own else "") + characters[place]
            continue
        for step in range(chunk.ref_end_idx - chunk.ref_start_idx):
            text += " " if chunk.ref_start_idx + step in starts else ""
            text += characters[chunk.hyp_start_idx + step] if chunk.type != "delete" else ""
    return " ".join(text.split())


def _starts(text: str) -> set[int]:
    """Return where words begin, counted in characters without spaces."""
    starts, length = set(), 0
    for word in text.split():
        starts.add(length)
        length += len(word)
    return starts


def cer_no_space(table: pd.DataFrame) -> float:
    """Character error rate of the corpus without spaces, of a table `without_spaces`; NaN without characters."""
    return _rate(table[CHARACTERS], table[LENGTH])


def wer_no_space(table: pd.DataFrame) -> float:
    """Word error rate of the corpus, spaced as the reference, of a table `without_spaces`; NaN without words."""
    return _rate(table[WORDS], table["words"])


def _rate(errors: pd.Series, lengths: pd.Series) -> float:
    return float(errors.sum() / lengths.sum()) if lengths.sum() else float("nan")
