"""What learners say wrong in a manifest: how often, by speaker or first language, and which phonemes for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.pronunciation import DELETED, UNKNOWN, check_pronunciations, is_annotated, pronunciation


def annotated(cuts: Iterable[Cut], where: str = "") -> list[Cut]:
    """The utterances with labels of what was said; raises `AsrLabError` that names every fault of theirs."""
    found = [cut for cut in cuts if any(manifest.field(cut, name) is not None for name in ("perceived", "errors"))]
    check_pronunciations(found, where)
    return found


def errors_by(cuts: Iterable[Cut], name: str) -> pd.DataFrame:
    """A row a value of the field: canonical phonemes, the share of them that is wrong, and counts of each kind.

    An error whose phoneme nobody could name (`<unk>`), or that has the canonical one with an accent, is a substitution.
    """
    rows = []
    for cut in cuts:
        said = pronunciation(cut)
        deleted = said.perceived.count(DELETED)
        rows.append(
            {
                name: str(manifest.field(cut, name)),
                "phonemes": len(said.canonical),
                "errors": sum(said.errors),
                "substituted": sum(said.errors) - deleted,
                "deleted": deleted,
                "inserted": sum(map(len, said.insertions)),
            }
        )
    table = pd.DataFrame(rows).groupby(name).sum().reset_index()
    table.insert(2, "error_rate", table.pop("errors") / table["phonemes"])
    return table


def confusions(cuts: Iterable[Cut]) -> Counter[tuple[str, str]]:
    """(Canonical, perceived) -> how often; what was put in has "" as canonical, what nobody could name is `<unk>`."""
    found: Counter[tuple[str, str]] = Counter()
    for cut in cuts:
        if not is_annotated(cut):
            continue
        said = pronunciation(cut)
        pairs = zip(said.canonical, said.perceived, said.errors, strict=True)
        found.update((a, b) for a, b, error in pairs if error and a != b)
        found.update(("", phoneme) for slot in said.insertions for phoneme in slot if phoneme != UNKNOWN)
    return found
