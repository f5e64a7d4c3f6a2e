"""The pronunciation fields of an utterance: canonical and perceived phonemes.

In `custom` of the supervision, N the number of canonical phonemes (the 39 of `arpabet.PHONEMES`):

- `canonical`: N phonemes; `canonical_words` (optional): the index of the word each belongs to
- `perceived`: N items, each a phoneme, `<del>` (deleted) or `<unk>` (an unidentified sound)
- `insertions` (optional): N + 1 lists of phonemes inserted before the first, after the first, ..., after the last
- `errors`: N of 0 or 1; `accented` (optional): N of 0 or 1, correct but with an accent
- `scores` (optional): `{"phones": N floats of 0-2, ...}`; `phone_times` (optional): N of [start_s, end_s] or null
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.arpabet import PHONEMES
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

DELETED, UNKNOWN = "<del>", "<unk>"
_PHONEMES = frozenset(PHONEMES)
_PERCEIVED = _PHONEMES | {DELETED, UNKNOWN}
_MISSING_HINT = (
    "corpora with perceived phonemes: L2-ARCTIC, the older JSON, synthetic speech, and speechocean762 with its scores"
)


@dataclass(frozen=True, kw_only=True)
class Pronunciation:
    """Pronunciation of an utterance of N canonical phonemes; the module docstring describes the fields."""

    canonical: tuple[str, ...]
    perceived: tuple[str, ...]
    errors: tuple[int, ...]
    insertions: tuple[tuple[str, ...], ...] = ()  # N + 1; () becomes N + 1 empty ones
    words: tuple[int, ...] = ()  # N, or () if unknown
    accented: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None  # of the phonemes, 0-2
    phone_times: tuple[tuple[float, float] | None, ...] | None = None  # s

    def __post_init__(self) -> None:
        if not self.insertions:
            object.__setattr__(self, "insertions", ((),) * (len(self.canonical) + 1))

    @property
    def spoken(self) -> tuple[str, ...]:
        """Perceived phonemes with insertions and `<unk>`, without `<del>`: the target of phoneme recognition."""
        phonemes = list(self.insertions[0])
        for phoneme, inserted in zip(self.perceived, self.insertions[1:], strict=True):
            phonemes += [] if phoneme == DELETED else [phoneme]
            phonemes += inserted
        return tuple(phonemes)

    def to_custom(self) -> dict[str, Any]:
        """Return the fields of a manifest, without empty ones."""
        fields: dict[str, Any] = {"canonical": list(self.canonical), "perceived": list(self.perceived)}
        fields["errors"] = list(self.errors)
        if any(self.insertions):
            fields["insertions"] = [list(group) for group in self.insertions]
        if self.words:
            fields["canonical_words"] = list(self.words)
        if self.accented is not None:
            fields["accented"] = list(self.accented)
        if self.scores is not None:
            fields["scores"] = {"phones": list(self.scores)}
        if self.phone_times is not None:
            fields["phone_times"] = [list(time) if time else None for time in self.phone_times]
        return fields


def is_annotated(cut: Cut) -> bool:
    """Return whether an utterance has the required pronunciation fields."""
    return all(manifest.field(cut, name) is not None for name in ("canonical", "perceived", "errors"))


def pronunciation(cut: Cut) -> Pronunciation:
    """Return the pronunciation of an utterance; raises `AsrLabError` for missing or inconsistent fields."""
    faults = _faults(cut)
    if faults:
        raise AsrLabError(f"its pronunciation cannot be used: {'; '.join(faults)}", where=cut.id)
    custom = manifest.supervision(cut).custom or {}
    scores = _phone_scores(custom)
    times = custom.get("phone_times")
    return Pronunciation(
        canonical=tuple(custom["canonical"]),
        perceived=tuple(custom["perceived"]),
        errors=tuple(custom["errors"]),
        insertions=tuple(tuple(group) for group in custom.get("insertions") or ()),
        words=tuple(custom.get("canonical_words") or ()),
        accented=None if custom.get("accented") is None else tuple(custom["accented"]),
        scores=None if scores is None else tuple(float(score) for score in scores),
        phone_times=None if times is None else tuple((time[0], time[1]) if time else None for time in times),
    )


def check_pronunciations(cuts: Iterable[Cut], where: str = "") -> None:
    """Raise one `AsrLabError` that lists every kind of fault with its utterances, and the unknown labels.

    Faults: fields that are missing, of a wrong type, or differ in length from `canonical`; unknown phonemes; errors
    other than 0 and 1; a perceived phoneme that differs from the canonical one without an error.
    """
    ids_by_fault: dict[str, list[str]] = {}
    unknown: Counter[str] = Counter()
    for cut in cuts:
        for fault in _faults(cut):
            ids_by_fault.setdefault(fault.partition(":")[0], []).append(cut.id)
        custom = manifest.supervision(cut).custom or {}
        unknown.update([] if _type_faults(custom) else _unknown(custom))
    if not ids_by_fault:
        return
    lines = [f"{fault}: {counted(len(ids), 'utterance')}, {listing(ids, 5)}" for fault, ids in ids_by_fault.items()]
    if unknown:
        lines.append("unknown labels: " + listing((f"{label!r} {n} times" for label, n in unknown.most_common()), 20))
    raise AsrLabError(
        "pronunciations cannot be used:\n    " + "\n    ".join(lines),
        where=where,
        allowed=f"the phonemes {PHONEMES[0]} ... {PHONEMES[-1]}; as perceived also {DELETED}, {UNKNOWN}",
        hint=_MISSING_HINT if any(fault.startswith("no ") for fault in ids_by_fault) else "",
    )


def _faults(cut: Cut) -> list[str]:
    """Return the faults of an utterance: the kind, then details after a colon."""
    custom = manifest.supervision(cut).custom or {}
    missing = [name for name in ("canonical", "perceived", "errors") if custom.get(name) is None]
    if missing:
        return [f"no {name}" for name in missing]
    if type_faults := _type_faults(custom):
        return type_faults
    number = len(custom["canonical"])
    if not number:
        return ["canonical is empty"]
    faults = [
        f"{name} and canonical differ in length: {length} and {wanted}"
        for name, length, wanted in _lengths(custom, number)
        if length != wanted
    ]
    if unknown := _unknown(custom):
        faults.append(f"unknown labels: {listing(sorted(set(unknown)))}")
    if not set(custom["errors"]) <= {0, 1}:
        faults.append("errors that are neither 0 nor 1")
    elif not faults:
        rows = zip(custom["canonical"], custom["perceived"], custom["errors"], strict=True)
        if any(canonical != perceived and not error for canonical, perceived, error in rows):
            faults.append("perceived phonemes that differ without an error")
    return faults


_LISTS: dict[str, tuple[tuple[type, ...], str]] = {
    "canonical": ((str,), "phonemes"),
    "perceived": ((str,), "phonemes"),
    "errors": ((int,), "0 and 1"),
    "accented": ((int,), "0 and 1"),
    "canonical_words": ((int,), "indices"),
    "insertions": ((list, tuple), "lists"),
    "phone_times": ((list, tuple, type(None)), "pairs of seconds"),
    "scores.phones": ((int, float), "numbers"),
}
"""Field -> types of its items, and their name in messages."""


def _type_faults(custom: dict[str, Any]) -> list[str]:
    """Return a fault for each field that is not a list of items of its type."""
    fields = custom | {"scores.phones": _phone_scores(custom)}
    return [
        f"{name} is no list of {called}"
        for name, (kinds, called) in _LISTS.items()
        if (values := fields.get(name)) is not None
        and not (isinstance(values, list | tuple) and all(isinstance(one, kinds) for one in values))
    ]


def _lengths(custom: dict[str, Any], number: int) -> list[tuple[str, int, int]]:
    """Return (field, length, expected length) of the fields present."""
    fields: list[tuple[str, Sequence[Any] | None, int]] = [
        (name, custom.get(name), number) for name in ("perceived", "errors", "accented", "phone_times")
    ]
    fields += [("canonical_words", custom.get("canonical_words") or None, number)]
    fields += [("insertions", custom.get("insertions") or None, number + 1)]
    fields += [("scores.phones", _phone_scores(custom), number)]
    return [(name, len(values), wanted) for name, values, wanted in fields if values is not None]


def _phone_scores(custom: dict[str, Any]) -> Sequence[float] | None:
    scores = custom.get("scores")
    return scores.get("phones") if isinstance(scores, dict) else None


def _unknown(custom: dict[str, Any]) -> list[str]:
    """Return the labels that are no phonemes, with repetitions."""
    labels = [label for label in custom.get("canonical") or () if label not in _PHONEMES]
    labels += [label for label in custom.get("perceived") or () if label not in _PERCEIVED]
    allowed = _PHONEMES | {UNKNOWN}
    return labels + [label for slot in custom.get("insertions") or () for label in slot if label not in allowed]
