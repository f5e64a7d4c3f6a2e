"""Language models as ARPA files: their header, their words, and copies with raised words.

A file that asr_lab wrote has a header (`Header`) in comments, which other programs skip: what it was estimated from.
A file of another toolkit has none. A model whose words are a recogniser's units, among them the word boundary `|`, is
one of units: characters, syllables or jamo.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from asr_lab.data.text import SPACE
from asr_lab.decoding.ngram import MARKS, UNKNOWN, Ngram, NgramModel, Units, arpa_lines
from asr_lab.errors import AsrLabError
from asr_lab.system.files import atomic_file

HEADER, _SENTENCES = "# asr_lab ", "# sentences "
"""How the first line of a file that asr_lab made begins."""
_DIGITS = 12  # of the hash of a sentence: of a million sentences, one in 280 million is taken for another
_A_LINE = 32
_TITLE = re.compile(r"\\(\d+)-grams:\s*")
_COUNT = re.compile(r"ngram +(?P<order>\d+) *= *\d+")
_MOST = -1e-6  # KenLM refuses log probabilities above 0


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a language model was estimated from."""

    order: int
    units: Units
    text: str
    """Name of the text normaliser."""
    digest: str
    """SHA-256 (32 hexadecimal digits) of the normalised sentences."""
    sentences: int
    words: int
    """Number of words of the text."""


@dataclass(frozen=True)
class Arpa:
    """An ARPA file: its words with their log10 probabilities, and its header."""

    path: Path
    words: Mapping[str, float]
    """Without `<s>`, `</s>` and `<unk>`."""
    unknown: float | None
    """log10 probability of `<unk>`; None if the file has none."""
    order: int
    header: Header | None = None
    sentences: frozenset[str] = frozenset()
    """Hashes of the sentences it was trained on (`sentence_hash`); empty if unknown."""

    @property
    def of_units(self) -> bool:
        """Whether its words are units of a recogniser, not words."""
        return SPACE in self.words


def sentence_hash(text: str) -> str:
    """Return the hash of a normalised sentence, by which test sentences in a language model are found."""
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def write(model: NgramModel, path: Path, header: Header, sentences: Iterable[str]) -> None:
    """Write a model with its header, atomically; `sentences` are the normalised sentences of its text."""
    hashes = iter(sorted({sentence_hash(one) for one in sentences}))
    with atomic_file(path) as written, written.open("w", encoding="utf-8", newline="\n") as file:
        file.write(HEADER + json.dumps(asdict(header)) + "\n")
        while some := list(islice(hashes, _A_LINE)):
            file.write(_SENTENCES + " ".join(some) + "\n")
        file.writelines(f"{line}\n" for line in arpa_lines(model))


def read(path: Path) -> Arpa:
    """Read header and words, but not the longer n-grams; raises `AsrLabError` if it is not an ARPA file."""
    words: dict[str, float] = {}
    header, hashes, order = None, set[str](), 0
    for section, line in _lines(path):
        if section == 0 and line.startswith(HEADER):
            header = _header(line)
        elif section == 0 and line.startswith(_SENTENCES):
            hashes |= set(line.removeprefix(_SENTENCES).split())
        elif section == 0 and (count := _COUNT.fullmatch(line)):
            order = max(order, int(count["order"]))
        elif section == 1:
            ngram, probability, _ = _entry(line, path)
            words[ngram[0]] = probability
        elif section > 1:
            break
    if order < 2 or not words:
        raise AsrLabError(
            "not a language model of bigrams or more" if words else "a language model without words",
            where=str(path),
            next_command="asr-lab lm TEXT --order 3 --out NAME.arpa",
        )
    unknown = words.get(UNKNOWN)
    own = {word: value for word, value in words.items() if word not in MARKS}
    return Arpa(path, own, unknown, order, header, frozenset(hashes))


def load(path: Path) -> NgramModel:
    """Read a whole model; raises `AsrLabError` if it is not an ARPA file."""
    probabilities: dict[Ngram, float] = {}
    backoffs: dict[Ngram, float] = {}
    for section, line in _lines(path):
        if section:
            ngram, probabilities_of, backoff = _entry(line, path)
            probabilities[ngram] = probabilities_of
            if backoff is not None:
                backoffs[ngram] = backoff
    return NgramModel(probabilities, backoffs)


def write_raised(source: Path, path: Path, raised: Mapping[str, float], floor: float) -> None:
    """Copy a model with the log10 probability of some words raised after every history; it need not sum to 1.

    Words that it does not have, `<unk>` among them, become unigrams of log10 probability `floor` plus their raise. No
    probability is raised above 1.
    """
    known: set[str] = set()
    with source.open(encoding="utf-8") as lines:
        section = 0
        for line in lines:
            section = _section(line.rstrip("\r\n"), section)
            if section > 1:
                break
            if section == 1 and "\t" in line:
                known.add(line.split("\t")[1].strip())
    new = {word: by for word, by in raised.items() if word not in known}
    with source.open(encoding="utf-8") as lines, path.open("w", encoding="utf-8", newline="\n") as out:
        section = 0
        for line in lines:
            section = _section(line.rstrip("\r\n"), section)
            if section == 0 and new and line.startswith("ngram 1="):
                line = f"ngram 1={int(line.partition('=')[2]) + len(new)}\n"
            elif section and "\t" in line:
                ngram, value, _ = _entry(line.rstrip("\r\n"), source)
                value = min(value + raised.get(ngram[-1], 0.0), _MOST)
                line = "\t".join([f"{value:.7f}", line.partition("\t")[2]])
            out.write(line)
            if line.startswith("\\1-grams:"):
                out.writelines(f"{min(floor + by, _MOST):.7f}\t{word}\n" for word, by in new.items())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (section, line) of all lines but empty ones and titles; section 0 is what precedes the unigrams."""
    if not path.is_file():
        raise AsrLabError("no such language model", where=str(path), next_command=f"asr-lab lm TEXT --out {path}")
    section, begun = 0, False
    try:
        with path.open(encoding="utf-8") as file:
            for raw in file:
                line = raw.strip("\r\n ")
                begun = begun or line == "\\data\\"
                if line and not begun and not line.startswith("#"):
                    break
                previous, section = section, _section(line, section)
                if line and section == previous and not line.startswith("\\"):
                    yield section, line
    except UnicodeDecodeError:
        begun = False
    if not begun:
        raise AsrLabError(
            "not a language model in ARPA format",
            where=str(path),
            allowed="a text file that begins with \\data\\, not compressed and not KenLM's binary format",
        )


def _section(line: str, section: int) -> int:
    title = _TITLE.fullmatch(line)
    return int(title[1]) if title else section


def _entry(line: str, path: Path) -> tuple[Ngram, float, float | None]:
    fields = line.split("\t")
    try:
        backoff = float(fields[2]) if len(fields) > 2 else None
        probability = float(fields[0])
        if math.isnan(probability) or math.isnan(backoff or 0.0):
            raise ValueError
        return tuple(fields[1].strip(" ").split(" ")), probability, backoff
    except (IndexError, ValueError) as error:
        raise AsrLabError(
            f"a line of the language model is no n-gram: {line[:80]!r}",
            where=str(path),
            allowed="log10 probability, tab, words, and tab and back-off weight where there is one",
        ) from error


def _header(line: str) -> Header | None:
    try:
        return Header(**json.loads(line.removeprefix(HEADER)))
    except (ValueError, TypeError):
        return None  # of another version
