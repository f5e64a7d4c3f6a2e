"""The words of a language model in the units of a recogniser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from asr_lab.data.text import SPACE
from asr_lab.errors import AsrLabError, listing

Spelling = tuple[str, ...]
Spell = Callable[[str], str]
"""Normalises a text and splits it into units (`Recognizer.spell`)."""
JOINT = "\u2581"
"""Joins the words of a phrase that is one word of a language model, which cannot contain spaces."""
LONGEST_HOT = 200
"""Characters of the longest hot word or phrase."""
_SHOWN = 20  # characters of one that is too long
_MOST_ALIKE = 6  # words of one spelling that flashlight's trie holds
_MARK = re.compile(r"</?\w+>")


@dataclass(frozen=True)
class Lexicon:
    """Word of the language model -> its units, each word followed by its boundary `|`."""

    spellings: Mapping[str, Spelling]
    unspellable: tuple[str, ...] = ()
    """Words that the recogniser cannot write."""


def spelling(word: str, spell: Spell, units: Iterable[str]) -> Spelling:
    """Return the units of a word or phrase, with `|` after each word; () if a unit is missing or nothing is left."""
    classes = set(units)
    text = spell(word)
    written = [SPACE if unit == " " else unit for unit in text]
    if not written or SPACE in text or any(unit not in classes or _MARK.fullmatch(unit) for unit in written):
        return ()
    return (*written, SPACE)


def lexicon(words: Mapping[str, float], spell: Spell, units: Sequence[str]) -> Lexicon:
    """Return the lexicon of a language model's words (word -> log10 probability).

    Of more than six words that are spelt alike, such as `Read` and `read`, the most probable six are kept. Raises
    `AsrLabError` if the recogniser can write none.
    """
    classes, alike = set(units), dict[Spelling, int]()
    spellings: dict[str, Spelling] = {}
    unspellable: list[str] = []
    for word in sorted(words, key=lambda one: -words[one]):
        units_of = spelling(word, spell, classes)
        if not units_of:
            unspellable.append(word)
        elif alike.setdefault(units_of, 0) < _MOST_ALIKE:
            alike[units_of] += 1
            spellings[word] = units_of
    if not spellings:
        raise AsrLabError(
            f"the recogniser can write none of the {len(words)} words of the language model: {listing(words, 3)}",
            allowed=f"words of its units: {listing(sorted(classes), 40)}",
        )
    return Lexicon(spellings, tuple(unspellable))


def hot_spellings(words: Iterable[str], spell: Spell, units: Sequence[str]) -> dict[str, Spelling]:
    """Return hot word -> its units, each word as the recogniser writes it, with `JOINT` for spaces.

    Raises `AsrLabError` that names those that it cannot write, or that are too long.
    """
    words, classes = list(words), set(units)
    if endless := [f"{word[:_SHOWN]}... ({len(word):,} characters)" for word in words if len(word) > LONGEST_HOT]:
        what = f"hot words that are too long: {listing(endless)}"
        raise AsrLabError(what, where="decode.hot_words", allowed=f"at most {LONGEST_HOT} characters each")
    of_each = {word: spelling(word, spell, classes) for word in words}
    if unspellable := [word for word, written in of_each.items() if not written]:
        missing = sorted({unit for word in unspellable for unit in spell(word) if unit != " "} - classes)
        raise AsrLabError(
            f"hot words that the recogniser cannot write: {listing(unspellable)}"
            + (f", for want of {' '.join(missing)}" if missing else ""),
            where="decode.hot_words",
            allowed=f"words of its units: {listing(sorted(one for one in classes if not _MARK.fullmatch(one)), 40)}",
        )
    return {"".join(written[:-1]).replace(SPACE, JOINT): written for written in of_each.values()}
