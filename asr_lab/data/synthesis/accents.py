"""Pronunciation errors of English learners by first language: confusions of phonemes, and error rates.

**Rates** are the share of canonical phonemes that are substituted or deleted, of the six test speakers of L2-ARCTIC
(Zhao et al., Interspeech 2018), one per first language, counted in the reference and human phoneme sequences published
at github.com/cageyoko/CTC-Attention-Mispronunciation (29,786 canonical phonemes: 3,154 substituted, 918 deleted, 219
inserted). One speaker represents a language, although speakers of a language differ a lot.

**Confusions** are those of textbooks: Swan & Smith (eds.), *Learner English*, 2nd ed., Cambridge 2001 (Arabic, Chinese,
Korean, South Asian and Spanish speakers) and Hwa-Froelich, Hodson & Edwards, *Characteristics of Vietnamese
Phonology*, AJSLP 11, 2002; and the most frequent ones of the test speakers over all languages: DH>D, Z>S, IH>IY,
deletion of D, T and R, OW>AO, ER>AH, insertion of AH, D>T.

**Weights** within a language are estimates from these sources, not measurements: the probability of a confusion where
its phoneme occurs, before scaling to the rate of the language.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from asr_lab.data.arpabet import PHONEMES, VOWELS
from asr_lab.data.text_files import lines
from asr_lab.errors import AsrLabError, nearest

Position = Literal["", "initial", "final", "cluster", "single"]
"""Position in a word: at its start, at its end, next to a consonant, or next to none; "" anywhere."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A phoneme and its realisation, at a position in a word."""

    canonical: str
    realized: tuple[str, ...]  # () = deleted; phonemes after the first are insertions
    weight: float
    position: Position = ""

    @property
    def is_error(self) -> bool:
        """Whether the phoneme itself is wrong; if not, phonemes are only inserted after it."""
        return self.realized[:1] != (self.canonical,)


@dataclass(frozen=True, kw_only=True)
class Accent:
    """Pronunciation errors of learners with a first language."""

    name: str
    error_rate: float  # share of canonical phonemes substituted or deleted
    confusions: tuple[Confusion, ...]

    def of(self, word: Sequence[str], index: int) -> Iterator[Confusion]:
        """Yield the confusions of the phoneme at an index of a word."""
        positions = _positions(word, index)
        return (one for one in self.confusions if one.canonical == word[index] and one.position in positions)


def accent(name: str) -> Accent:
    """Return the accent of a first language; raises `AsrLabError` for an unknown one."""
    if name not in ACCENTS:
        close = nearest(name.lower(), ACCENTS)
        raise AsrLabError(
            f"unknown first language {name!r}",
            allowed=", ".join(ACCENTS),
            hint=f"did you mean {close}?" if close else "",
        )
    return ACCENTS[name]


def _positions(word: Sequence[str], index: int) -> set[str]:
    beside = [word[i] for i in (index - 1, index + 1) if 0 <= i < len(word)]
    positions = {"", "cluster" if any(phoneme not in VOWELS for phoneme in beside) else "single"}
    positions |= {"initial"} if index == 0 else set()
    return positions | ({"final"} if index == len(word) - 1 else set())


def _accent(name: str, error_rate: float, table: str) -> Accent:
    """Parse lines such as `T> .3 final, L>R .2, K>K UH .1 final`: realisation, weight, position."""
    cells = [cell.strip() for line in lines(table.strip()) for cell in line.split(",") if cell.strip()]
    return Accent(name=name, error_rate=error_rate, confusions=tuple(_confusion(cell) for cell in cells))


def _confusion(cell: str) -> Confusion:
    canonical, _, rest = cell.partition(">")
    realized: list[str] = rest.split()
    positions: dict[str, Position] = {one: one for one in get_args(Position)}
    position: Position = positions[realized.pop()] if realized[-1] in positions else ""
    weight = float(realized.pop())
    assert {canonical, *realized} <= set(PHONEMES), cell
    return Confusion(canonical=canonical, realized=tuple(realized), weight=weight, position=position)


_TABLES = (
    _accent(
        "korean",
        0.119,
        """
        F>P .3, V>B .35, TH>S .4, TH>T .1, DH>D .35, Z>JH .25, Z>S .2, ZH>JH .4, JH>CH .1 final
        L>R .15 single, R>L .25 initial, R>L .15 cluster, R> .2 final, W> .1 cluster
        IY>IH .05, IH>IY .2, AE>EH .3, EH>AE .1, UH>UW .25, OW>AO .25, AO>OW .15, ER>AH .2, AH>AA .05
        D>T .15 final, B>P .1 final, G>K .15 final, D> .1 final, T> .05 final
        T>T UH .05 final, K>K UH .05 final, D>D UH .07 final, CH>CH IY .25 final, JH>JH IY .25 final
        SH>SH IY .2 final
        """,
    ),
    _accent(
        "mandarin",
        0.123,
        """
        TH>S .4, DH>D .25, DH>Z .2, V>W .25, V>F .1, Z>S .3, ZH>SH .25, ZH>JH .2, R>L .1, R>W .05, R> .15 final
        L>R .05, L> .15 final, L>OW .15 final, N>NG .15 final, NG>N .2, N> .05 final, M>N .05 final
        D> .2 final, T> .2 final, K> .1 final, D>T .2 final, B>P .2 final, G>K .2 final, T> .15 cluster
        D> .15 cluster
        IH>IY .25, IY>IH .05, AE>EH .25, EH>AE .1, UH>UW .25, UW>UH .05, AH>AA .05, ER>AH .1, OW>AO .1, EY>EH .1
        D>D AH .06 final, T>T AH .04 final, K>K AH .05 final, G>G AH .1 final
        """,
    ),
    _accent(
        "vietnamese",
        0.239,
        """
        D> .45 final, T> .4 final, K> .25 final, P> .2 final, S> .35 final, Z> .4 final, L> .3 final, V> .3 final
        F> .15 final, CH>T .2 final, JH>CH .3, SH>S .25, S>SH .05, ZH>Z .3, CH>SH .1 initial, R> .35 final
        R> .15 cluster
        S> .1 cluster, T> .2 cluster, D> .2 cluster, L> .15 cluster, L>N .15 final, TH>T .5, DH>D .5, Z>S .4
        P>B .2 initial
        D>T .2 final, B>P .2 final, G>K .2 final, V>F .15, R>Z .05 initial, N> .05 final, JH>Z .15
        IH>IY .3, AE>EH .25, EH>AE .1, UH>UW .25, AH>AA .05, ER>AH .35, OW>AO .3, EY>EH .25, AW>AA .2, AY>AA .1
        K>K AH .03 final, S>S AH .03 final
        """,
    ),
    _accent(
        "spanish",
        0.126,
        """
        IH>IY .35, IY>IH .04, AE>AA .25, AE>EH .1, AH>AA .08, UH>UW .3, AO>OW .15, OW>AO .15, ER>EH R .1, ER>AH .05
        V>B .4, Z>S .5, DH>D .25, TH>S .15, TH>T .2, SH>CH .25, ZH>SH .2, JH>Y .25, JH>CH .1, Y>JH .2 initial
        HH> .1, M>N .12 final, NG>N .2, T> .12 cluster, D> .2 cluster, D> .1 final, D>T .1 final
        G>K .15 final, B>P .1 final
        D>DH .1 single, T> .05 final
        AH>AH EH .005 final, IH>IH EH .005 final, R>R AH .03 cluster
        """,
    ),
    _accent(
        "hindi",
        0.113,
        """
        V>W .4, W>V .35, TH>T .55, DH>D .5, Z>JH .15, Z>S .25, ZH>JH .25, ZH>Z .15, SH>S .05, F>P .12
        AE>EH .25, EH>AE .1, AO>AA .25, OW>AO .25, EY>EH .2, AH>AA .04, ER>AH R .1, ER>AH .1, IH>IY .12, UH>UW .1
        R> .08 final, T> .06 final, D>T .1 final, D> .06 final, NG>N .05, T>D .03 initial
        NG>NG G .3 final, S>S AH .01 cluster
        """,
    ),
    _accent(
        "arabic",
        0.097,
        """
        P>B .45, V>F .35, TH>S .2, TH>T .15, DH>Z .2, DH>D .15, ZH>SH .15, CH>SH .25, JH>ZH .15, G>K .1, NG>N .15
        IH>EH .12, IH>IY .15, EH>IH .15, AE>AA .1, AE>EH .1, AH>AA .04, AO>OW .12, OW>AO .2, UH>UW .15, EY>EH .12
        ER>EH R .12, ER>AH .06, Z>S .15 final, D>T .1 final, B>P .08 final, D> .06 final, T> .05 final, R> .05 final
        NG>NG G .15 final, NG>NG K .1 final, S>S IH .05 cluster, P>B IH .05 cluster, K>K IH .04 cluster
        T>T IH .03 cluster
        """,
    ),
)
ACCENTS: dict[str, Accent] = {one.name: one for one in _TABLES}
"""First language -> its errors."""
