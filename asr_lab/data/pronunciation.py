"""What should have been said and what was: the pronunciation fields of an utterance.

In `custom` of the supervision, N the number of canonical phonemes (the 39 of `arpabet.PHONEMES`):

- `canonical`: N phonemes; `canonical_words` (optional): the index of the word each belongs to
- `perceived`: N items, each a phoneme, `<del>` (it was left out) or `<unk>` (something was said, nobody knows what)
- `insertions` (optional): N + 1 lists, what was said before the first phoneme, after the first, ..., after the last
- `errors`: N of 0 or 1; `accented` (optional): N of 0 or 1, right but with an accent
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

DELETED, UNKNOWN = "<del>", "<unk>"
_PHONEMES = frozenset(PHONEMES)
_PERCEIVED = _PHONEMES | {DELETED, UNKNOWN}
_LACKING = "what was said is annotated in L2-ARCTIC, the older JSON, made speech, and speechocean762 with its scores"


@dataclass(frozen=True, kw_only=True)
class Pronunciation:
    """The pronunciation of an utterance of N canonical phonemes; see the module for the fields."""

    canonical: tuple[str, ...]
    perceived: tuple[str, ...]
    errors: tuple[int, ...]
    insertions: tuple[tuple[str, ...], ...] = ()  # N + 1; () is made N + 1 empty ones
    words: tuple[int, ...] = ()  # N, or () where nobody knows
    accented: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None  # of the phonemes, 0-2
    phone_times: tuple[tuple[float, float] | None, ...] | None = None  # s

    def __post_init__(self) -> None:
        if not self.insertions:
            object.__setattr__(self, "insertions", ((),) * (len(self.canonical) + 1))

    @property
    def spoken(self) -> tuple[str, ...]:
        """What was said, in order, with insertions and `<unk>`, without `<del>`: the target of phoneme recognition."""
        found = list(self.insertions[0])
        for phoneme, inserted in zip(self.perceived, self.insertions[1:], strict=True):
            found += [] if phoneme == DELETED else [phoneme]
            found += inserted
        return tuple(found)

    def to_custom(self) -> dict[str, Any]:
        """The fields as they lie in a manifest; what is empty is left out."""
        fields: dict[str, Any] = {"canonical": list(self.canonical), "perceived": list(self.perceived)}
        fields["errors"] = list(self.errors)
        if any(self.insertions):
            fields["insertions"] = [list(each) for each in self.insertions]
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
    """Whether an utterance has the pronunciation fields that are needed."""
    return all(manifest.field(cut, name) is not None for name in ("canonical", "perceived", "errors"))


def pronunciation(cut: Cut) -> Pronunciation:
    """The pronunciation of an utterance; raises `AsrLabError` when fields lack, differ in length or are unknown."""
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
        insertions=tuple(tuple(each) for each in custom.get("insertions") or ()),
        words=tuple(custom.get("canonical_words") or ()),
        accented=None if custom.get("accented") is None else tuple(custom["accented"]),
        scores=None if scores is None else tuple(float(score) for score in scores),
        phone_times=None if times is None else tuple((time[0], time[1]) if time else None for time in times),
    )


def check_pronunciations(cuts: Iterable[Cut], where: str = "") -> None:
    """Raise one `AsrLabError` that names every kind of fault, how many utterances have it, which labels are unknown.

    Faults are fields that lack, are no lists, or differ in length from `canonical`, labels that are no phonemes,
    errors that are neither 0 nor 1, and a phoneme that was heard as another one and is called right.
    """
    found: dict[str, list[str]] = {}
    unknown: Counter[str] = Counter()
    for cut in cuts:
        for fault in _faults(cut):
            found.setdefault(fault.partition(":")[0], []).append(cut.id)
        custom = manifest.supervision(cut).custom or {}
        unknown.update([] if _no_lists(custom) else _unknown(custom))
    if not found:
        return
    lines = [f"{fault}: {len(ids)} utterances, {listing(ids, 5)}" for fault, ids in found.items()]
    if unknown:
        lines.append("unknown labels: " + listing((f"{label!r} {n} times" for label, n in unknown.most_common()), 20))
    raise AsrLabError(
        "pronunciations cannot be used:\n    " + "\n    ".join(lines),
        where=where,
        allowed=f"the phonemes {PHONEMES[0]} ... {PHONEMES[-1]}; as perceived also {DELETED}, {UNKNOWN}",
        hint=_LACKING if any(fault.startswith("no ") for fault in found) else "",
    )


def _faults(cut: Cut) -> list[str]:
    """What is wrong with an utterance: a kind of fault, with details behind a colon."""
    custom = manifest.supervision(cut).custom or {}
    lacking = [name for name in ("canonical", "perceived", "errors") if custom.get(name) is None]
    if lacking:
        return [f"no {name}" for name in lacking]
    if strange := _no_lists(custom):
        return strange
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
            faults.append("phonemes heard as others that are called right")
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
"""Field -> what its items have to be, and how that is called."""


def _no_lists(custom: dict[str, Any]) -> list[str]:
    """A fault for each field that is there and is no list of what it should hold."""
    fields = custom | {"scores.phones": _phone_scores(custom)}
    return [
        f"{name} is no list of {called}"
        for name, (kinds, called) in _LISTS.items()
        if (values := fields.get(name)) is not None
        and not (isinstance(values, list | tuple) and all(isinstance(one, kinds) for one in values))
    ]


def _lengths(custom: dict[str, Any], number: int) -> list[tuple[str, int, int]]:
    """(field, its length, the length it should have) of the fields that are there."""
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
    """The labels that are none, as often as they stand there."""
    found = [label for label in custom.get("canonical") or () if label not in _PHONEMES]
    found += [label for label in custom.get("perceived") or () if label not in _PERCEIVED]
    allowed = _PHONEMES | {UNKNOWN}
    return found + [label for slot in custom.get("insertions") or () for label in slot if label not in allowed]
