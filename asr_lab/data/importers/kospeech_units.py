"""The three units of KoSpeech's preprocessing of KsponSpeech: characters, subwords, graphemes.

Characters and graphemes have a CSV vocabulary (`id,char,freq` or `id,grpm,freq`) and plain transcripts; graphemes are
the NFKD form in upper case, with `|` for a space. Subwords are pieces of SentencePiece, also in the transcripts
(`▁그 래 서`); their vocabulary is a `.vocab` file with lines `piece <tab> score`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from asr_lab.data.text import SPACE
from asr_lab.data.text_files import lines, read_text
from asr_lab.errors import AsrLabError, listing

Unit = Literal["character", "subword", "grapheme"]

BLANK = "<blank>"  # KoSpeech appends it to the units of the vocabulary
_WORD_START = "▁"  # of a subword
_UNKNOWN = "<unk>"
_HEADERS: dict[str, Unit] = {"char": "character", "grpm": "grapheme"}
_PIECES = re.compile(r"[^\t]+\t-?\d+(\.\d+)?(e-?\d+)?")
_JAMO = re.compile("[\u1100-\u11ff]")


@dataclass(frozen=True)
class Units:
    """A vocabulary of KoSpeech."""

    unit: Unit
    ids: Mapping[str, int]

    def encode(self, transcript: str) -> list[int]:
        """Return the ids of a transcript as it is in the file; KoSpeech omits characters without an id."""
        if self.unit == "subword":
            return [self.ids.get(piece, self.ids.get(_UNKNOWN, -1)) for piece in transcript.split()]
        text = plain(transcript)
        text = normalize("NFKD", text).upper() if self.unit == "grapheme" else text
        classes = (self.ids.get(SPACE if character == " " else character) for character in text)
        return [index for index in classes if index is not None]


def unit_of(transcript: str) -> Unit | None:
    """Return the unit that a transcript is written in; None for plain text, as of characters and graphemes."""
    if transcript.startswith(_WORD_START):
        return "subword"
    tokens = transcript.split()
    return "grapheme" if _JAMO.search(transcript) and all(len(token) == 1 for token in tokens) else None


def plain(transcript: str) -> str:
    """Return a transcript as text: subwords and separated graphemes are joined."""
    unit = unit_of(transcript)
    if unit == "subword":
        return "".join(transcript.split()).replace(_WORD_START, " ").strip()
    if unit == "grapheme":
        return normalize("NFC", "".join(transcript.split()).replace(SPACE, " "))
    return transcript


def read_units(path: Path) -> Units:
    """Read a vocabulary file of any unit; raises `AsrLabError` if it is none."""
    first, *_ = _lines(path) or [""]
    if _PIECES.fullmatch(first):
        return Units("subword", {line.split("\t")[0]: index for index, line in enumerate(_lines(path))})
    vocabulary = read_vocabulary(path)
    return Units(_HEADERS.get(next(csv.reader([first]))[1].strip(), "character"), vocabulary)


def _lines(path: Path) -> list[str]:
    """Return the lines of a vocabulary file, in UTF-8 or CP949."""
    if not path.is_file():
        raise AsrLabError("no such vocabulary file", where=str(path))
    if b"\0" in path.read_bytes():
        raise AsrLabError(
            "not a vocabulary file",
            where=str(path),
            allowed="lines id,char,freq or id,grpm,freq under such a header; lines of a piece and its score",
            hint=f"SentencePiece writes {path.with_suffix('.vocab').name} beside its model",
        )
    return lines(read_text(path))


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read KoSpeech's `id,char,freq` or `id,grpm,freq` (UTF-8 or CP949) as unit -> class, with the blank last.

    Raises `AsrLabError` if the file is not a vocabulary, or its ids are not 0, 1, 2, ...
    """
    rows = list(csv.reader(_lines(path)))
    if not rows or rows[0][:1] != ["id"] or any(len(row) < 2 for row in rows if row):
        raise AsrLabError("not a vocabulary file", where=str(path), allowed="lines id,char,freq under such a header")
    units = [(row[0], SPACE if row[1] == " " else row[1]) for row in rows[1:] if row]
    if [number for number, _ in units] != [str(index) for index in range(len(units))]:
        raise AsrLabError("the ids are not 0, 1, 2, ... in order", where=str(path))
    vocabulary = {unit: index for index, (_, unit) in enumerate(units)}
    if len(vocabulary) < len(units):
        twice = sorted({unit for index, (_, unit) in enumerate(units) if vocabulary[unit] != index})
        raise AsrLabError(f"units that occur twice: {listing(twice)}", where=str(path))
    vocabulary.setdefault(BLANK, len(units))
    return vocabulary
