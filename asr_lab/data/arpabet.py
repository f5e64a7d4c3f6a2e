"""The 39 ARPAbet phonemes (those of CMUdict, without stress), and their mapping to eSpeak NG's American English.

The table covers every eSpeak phoneme that eSpeak NG 1.52 `en-us` produced for 340 sentences. eSpeak phonemes that
stand for two (`A@` in *car*, `n-` in *garden*) map to two.
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
"""eSpeak phoneme without stress -> ARPAbet."""

_BACK = """
AA A:|AE a|AH V|AO O:|AW aU|AY aI|EH E|ER 3:|EY eI|IH I|IY i:|OW oU|OY OI|UH U|UW u:
B b|CH tS|D d|DH D|F f|G g|HH h|JH dZ|K k|L l|M m|N n|NG N|P p|R r|S s|SH S|T t|TH T|V v|W w|Y j|Z z|ZH Z
"""
TO_ESPEAK: dict[str, str] = dict(cell.split() for cell in _BACK.replace("\n", "|").split("|") if cell)
"""ARPAbet -> eSpeak phoneme; `@` is better for an unstressed AH."""

PHONEMES: tuple[str, ...] = tuple(sorted(TO_ESPEAK))
"""All 39, sorted: the inventory of manifests and of models."""
VOWELS = frozenset(phoneme for phoneme in PHONEMES if phoneme[0] in "AEIOU")

SILENCES = frozenset({"", "SIL", "SP", "SPN", "PAU"})
_STRAY = "0123456789*_)(`'\" "
_ALIKE = {"AX": "AH", "AXR": "ER", "IX": "IH"}  # reduced vowels of older inventories


def phoneme_of(label: str) -> str | None:
    """Return the phoneme of a corpus label: `ah0`, `ER)`, ``W` ``, `AX*` are AH, ER, W, AH; None if there is none.

    Drops stress digits, accent marks (`*`, `_`) and stray characters.
    """
    bare = label.strip().upper().strip(_STRAY)
    bare = _ALIKE.get(bare, bare)
    return bare if bare in TO_ESPEAK else None


def is_silence(label: str) -> bool:
    """Return whether a corpus label means silence: `sil`, `sp`, `spn`, or empty."""
    return label.strip().upper() in SILENCES


_STRESS = str.maketrans("", "", "',%=")
_R_COLOURED = frozenset({"A@", "O@", "o@", "e@", "i@3", "U@", "3", "3:", "aI3"})  # include a following r


def bare_mark(mark: str) -> str:
    """Return an eSpeak phoneme without stress; "" for pauses, language switches and `|`."""
    bare = mark.translate(_STRESS)
    return "" if not bare or bare[0] in "_(" or bare in ("|", ";", "-", "!") else bare


def from_espeak(marks: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the ARPAbet phonemes of each symbol; () for pauses, and for an `r` contained in the preceding vowel.

    Raises `KeyError` for an eSpeak phoneme that American English does not have.
    """
    converted: list[tuple[str, ...]] = []
    before = ""  # the previous symbol that is a sound
    for mark in map(bare_mark, marks):
        if not mark:
            converted.append(())
            continue
        phonemes = FROM_ESPEAK[mark]
        if mark in ("r", "r-") and before in _R_COLOURED:
            phonemes = ()
        elif mark in ("r", "r-") and before == "i@":  # *hearing*: i@ r is IH R
            converted[_last(converted)] = ("IH",)
        converted.append(phonemes)
        before = mark
    return converted


def _last(converted: list[tuple[str, ...]]) -> int:
    return max(index for index, phonemes in enumerate(converted) if phonemes)
