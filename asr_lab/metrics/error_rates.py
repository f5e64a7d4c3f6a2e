"""Word, character and phoneme error rates of a corpus: sums over utterances by jiwer, never means of utterances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jiwer
import pandas as pd

SCORER = f"jiwer {version('jiwer')}"


def score(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> pd.DataFrame:
    """One row per utterance: `id, reference, hypothesis`, and the errors and lengths in words and in characters.

    Both sides must be normalised alike. Characters include the spaces between words. A missing hypothesis counts as
    empty.
    """
    ids = list(references)
    refs = [references[id] for id in ids]
    hyps = [hypotheses.get(id, "") for id in ids]
    table = pd.DataFrame({"id": ids, "reference": refs, "hypothesis": hyps})
    if not ids:
        refs, hyps = [""], [""]
    words = jiwer.process_words(refs, hyps)
    characters = jiwer.process_characters(refs, hyps)
    for column, counts in _counts(words, len(ids)).items():
        table[column] = counts
    table["words"] = [len(row) for row in words.references[: len(ids)]]
    for column, counts in _counts(characters, len(ids)).items():
        table[f"char_{column}"] = counts
    table["characters"] = [len(row) for row in characters.references[: len(ids)]]
    return table


def with_phonemes(table: pd.DataFrame, phonemes: Callable[[str, str], Sequence[str]]) -> pd.DataFrame:
    """Add the errors and lengths of each utterance in phonemes, from `phonemes(text, language)`.

    The table needs the column `language`. Homophones make no errors.
    """
    pronounced = {
        side: [
            " ".join(phonemes(text, language)) for text, language in zip(table[side], table["language"], strict=True)
        ]
        for side in ("reference", "hypothesis")
    }
    output = jiwer.process_words(pronounced["reference"] or [""], pronounced["hypothesis"] or [""])
    counted = {f"phoneme_{column}": counts for column, counts in _counts(output, len(table)).items()}
    return table.assign(**counted, phonemes=[len(row) for row in output.references[: len(table)]])


def _counts(output: Any, rows: int) -> dict[str, list[int]]:
    counted: dict[str, list[int]] = {"substitutions": [], "deletions": [], "insertions": []}
    for chunks in output.alignments[:rows]:
        edits = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
        for chunk in chunks:
            reference = chunk.ref_end_idx - chunk.ref_start_idx
            edits[chunk.type] += max(reference, chunk.hyp_end_idx - chunk.hyp_start_idx)
        counted["substitutions"].append(edits["substitute"])
        counted["deletions"].append(edits["delete"])
        counted["insertions"].append(edits["insert"])
    return counted


def word_errors(table: pd.DataFrame) -> pd.Series:
    """Substituted, deleted and inserted words of each utterance."""
    return table["substitutions"] + table["deletions"] + table["insertions"]


def character_errors(table: pd.DataFrame) -> pd.Series:
    """Substituted, deleted and inserted characters of each utterance."""
    return table["char_substitutions"] + table["char_deletions"] + table["char_insertions"]


def phoneme_errors(table: pd.DataFrame) -> pd.Series:
    """Substituted, deleted and inserted phonemes of each utterance of a table `with_phonemes`."""
    return table["phoneme_substitutions"] + table["phoneme_deletions"] + table["phoneme_insertions"]


def wer(table: pd.DataFrame) -> float:
    """Word error rate of the corpus (0.25 is 25 %); NaN without reference words."""
    return _rate(int(word_errors(table).sum()), int(table["words"].sum()))


def cer(table: pd.DataFrame) -> float:
    """Character error rate of the corpus, spaces counted; NaN without reference characters."""
    return _rate(int(character_errors(table).sum()), int(table["characters"].sum()))


def per(table: pd.DataFrame) -> float:
    """Phoneme error rate of the corpus, of a table `with_phonemes`; NaN without reference phonemes."""
    return _rate(int(phoneme_errors(table).sum()), int(table["phonemes"].sum()))


def _rate(errors: int, length: int) -> float:
    return errors / length if length else float("nan")


def errors_by_word(reference: str, hypothesis: str) -> list[int]:
    """Count the errors at each reference word: its own and those inserted after it (before the first: at the first)."""
    words = reference.split()
    if not words:
        return []
    errors = [0] * len(words)
    for chunk in jiwer.process_words([reference], [hypothesis]).alignments[0]:
        if chunk.type == "insert":
            errors[max(0, chunk.ref_start_idx - 1)] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for position in range(chunk.ref_start_idx, chunk.ref_end_idx):
                errors[position] += 1
    return errors


def alignment(reference: str, hypothesis: str) -> list[tuple[str, str, str]]:
    """(kind, reference word, hypothesis word) in order; kind is equal, substitute, delete or insert."""
    output = jiwer.process_words([reference], [hypothesis])
    refs, hyps = output.references[0], output.hypotheses[0]
    pairs: list[tuple[str, str, str]] = []
    for chunk in output.alignments[0]:
        width = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for step in range(width):
            ref = "" if chunk.type == "insert" else refs[chunk.ref_start_idx + step]
            hyp = "" if chunk.type == "delete" else hyps[chunk.hyp_start_idx + step]
            pairs.append((chunk.type, ref, hyp))
    return pairs


def confusions(table: pd.DataFrame) -> pd.DataFrame:
    """Confusions of words and of characters, the most frequent first.

    Columns `unit` (word, character), `kind` (substitute, delete, insert), `reference`, `hypothesis`, `count`, and
    `share` of all errors of the unit.
    """
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for reference, hypothesis in zip(table["reference"], table["hypothesis"], strict=True):
        for unit, pairs in (
            ("word", alignment(reference, hypothesis)),
            ("character", _characters(reference, hypothesis)),
        ):
            counted.update((unit, *pair) for pair in pairs if pair[0] != "equal")
    columns = ["unit", "kind", "reference", "hypothesis"]
    rows = pd.DataFrame([[*key, count] for key, count in counted.items()], columns=[*columns, "count"])
    rows["share"] = rows["count"] / rows.groupby("unit")["count"].transform("sum")
    return rows.sort_values(["unit", "count", *columns[2:]], ascending=[False, False, True, True], ignore_index=True)


def _characters(reference: str, hypothesis: str) -> list[tuple[str, str, str]]:
    """Like `alignment`, by character; a space becomes `_`."""
    spaced = (" ".join(text.replace(" ", "_")) for text in (reference, hypothesis))
    return alignment(*spaced)
