"""The 39 phonemes of ARPAbet (CMUdict's, without stress), and eSpeak NG's American English in them.

The table was made by reading 340 sentences with eSpeak NG 1.52's `en-us`: no mnemonic was left over. eSpeak's marks
that hold two phonemes (`A@` of *car*, `n-` of *garden*) become two.
"""

from __future__ import annotations

from collections.abc import Sequence

_ROWS = """
p P|b B|t T|t2 T|t# T|? T|d D|k K|g G|tS CH|dZ JH|f F|v V|T TH|D DH|s S|z Z|S SH|Z ZH|h HH|m M|n N|N NG
l L|l# L|r R|r- R|w W|j Y|n- AH N|m- AH M|@L AH L
a AE|aa AE|a# AH|@ AH|@2 AH|@5 AH|@- AH|V AH|3 ER|3: ER|E EH|I IH|I# IH|I2 IH|i IY|i: IY
0 AA|02 AA|A: AA|a: AA|O: AO|O2 AO|O AO|U UH|u: UW|u UW|eI EY|aI AY|aU AW|oU OW|OI OY
A@ AA R|O@ AO R|o@ AO R|e@ EH R|i@3 IH R|U@ UH R|aI3 AY ER|aI@ AY AH|i@ IY AH|aU@ AW ER
"""
FROM_ESPEAK: dict[str, tuple[str, ...]] = {
    mark: tuple(phonemes) for mark, *phonemes in (cell.split() for cell in _ROWS.replace("\n", "|").split("|") if cell)
}
"""eSpeak's mnemonic without stress -> ARPAbet."""

_BACK = """
AA A:|AE a|AH V|AO O:|AW aU|AY aI|EH E|ER 3:|EY eI|IH I|IY i:|OW oU|OY OI|UH U|UW u:
B b|CH tS|D d|DH D|F f|G g|HH h|JH dZ|K k|L l|M m|N n|NG N|P p|R r|S s|SH S|T t|TH T|V v|W w|Y j|Z z|ZH Z
"""
TO_ESPEAK: dict[str, str] = dict(cell.split() for cell in _BACK.replace("\n", "|").split("|") if cell)
"""ARPAbet -> eSpeak's mnemonic that says it; an unstressed AH is better said by `@`."""

PHONEMES: tuple[str, ...] = tuple(sorted(TO_ESPEAK))
"""All 39, sorted: the inventory of manifests and of models."""
VOWELS = frozenset(phoneme for phoneme in PHONEMES if phoneme[0] in "AEIOU")

SILENCES = frozenset({"", "SIL", "SP", "SPN", "PAU"})
_STRAY = "0123456789*_)(`'\" "
_ALIKE = {"AX": "AH", "AXR": "ER", "IX": "IH"}  # reduced vowels of older inventories


def phoneme_of(label: str) -> str | None:
    """The phoneme a corpus' label means: `ah0`, `ER)`, ``W` `` and `AX*` are AH, ER, W and AH; None for any other.

    Stress digits, marks of an accent (`*`, `_`) and what slipped in while typing are dropped.
    """
    bare = label.strip().upper().strip(_STRAY)
    bare = _ALIKE.get(bare, bare)
    return bare if bare in TO_ESPEAK else None


def is_silence(label: str) -> bool:
    """Whether a corpus' label means that nothing is said: `sil`, `sp`, `spn`, or nothing at all."""
    return label.strip().upper() in SILENCES


_STRESS = str.maketrans("", "", "',%=")
_R_COLOURED = frozenset({"A@", "O@", "o@", "e@", "i@3", "U@", "3", "3:", "aI3"})  # an r behind them is theirs


def bare_mark(mark: str) -> str:
    """An eSpeak mnemonic without its stress; "" for what is no sound: pauses, changes of language, `|`."""
    bare = mark.translate(_STRESS)
    return "" if not bare or bare[0] in "_(" or bare in ("|", ";", "-", "!") else bare


def from_espeak(marks: Sequence[str]) -> list[tuple[str, ...]]:
    """The ARPAbet phonemes of each mark, in their order; () for pauses, and for an `r` that the vowel before holds.

    Raises `KeyError` for a mnemonic that American English does not have.
    """
    found: list[tuple[str, ...]] = []
    before = ""  # the last mark that was a sound
    for mark in map(bare_mark, marks):
        if not mark:
            found.append(())
            continue
        said = FROM_ESPEAK[mark]
        if mark in ("r", "r-") and before in _R_COLOURED:
            said = ()
        elif mark in ("r", "r-") and before == "i@":  # *hearing*: i@ r is IH R
            found[_last(found)] = ("IH",)
        found.append(said)
        before = mark
    return found


def _last(found: list[tuple[str, ...]]) -> int:
    return max(index for index, phonemes in enumerate(found) if phonemes)
