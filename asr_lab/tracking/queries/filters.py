"""Build MLflow filters, so that the store does the filtering.

MLflow's grammar has no OR, and its ILIKE no escape; a filter may return too many runs, never too few.
"""

from __future__ import annotations

import fnmatch
import itertools
import re

from asr_lab.errors import AsrLabError
from asr_lab.metrics import catalog
from asr_lab.metrics.catalog import VALIDATED
from asr_lab.system.times import parse_time
from asr_lab.tracking.clock import store_now_ms
from asr_lab.tracking.tags import ARCHIVED, FAMILY, KIND, MODEL_TYPE, PARENT

OURS = f"tags.`{FAMILY}` IS NOT NULL"
FOLDED = ("trial", "seed", "fold", "phase")
"""Kinds of runs that belong to a parent and are hidden by default."""

_NAMES = ("attributes.run_name", f"tags.`{MODEL_TYPE}`", f"tags.`{FAMILY}`")
_NOT_ARCHIVED = f"tags.`{ARCHIVED}` IS NULL"
_NO_PARENT = f"tags.`{PARENT}` IS NULL"


def queries(
    pattern: str, family: str, *, status: str, where: str, since: str, archived: bool, children: bool
) -> list[str]:
    """Return MLflow filters; the union of their results holds all selected runs (for a pattern, maybe more)."""
    always = [OURS]
    if family:
        always.append(f"tags.`{FAMILY}` = {quoted(family)}")
    if status:
        always.append(f"attributes.status = {quoted(status)}")
    if since:
        always.append(f"attributes.start_time >= {parse_time(since, store_now_ms() / 1000)}")
    if not archived:
        always.append(_NOT_ARCHIVED)
    if where.strip():
        always.append(where.strip())
    alike = [f"{name} ILIKE '{like(pattern)}'" for name in _NAMES] if pattern else [""]
    # `kind !=` alone would drop every run without a kind
    folded = " and ".join(f"tags.`{KIND}` != '{kind}'" for kind in FOLDED)
    parents = [""] if children else [_NO_PARENT, f"tags.`{PARENT}` IS NOT NULL and {folded}"]
    return [
        " and ".join([part for part in (name, parent) if part] + always)
        for name, parent in itertools.product(alike, parents)
    ]


_VALIDATED_IN_FILTER = re.compile(rf"(metrics?\.[`\"])({'|'.join(map(re.escape, VALIDATED))})(?=[`\"])")


def of_best_epoch(where: str) -> str:
    """Return a filter with the names that validated metrics have in the best epoch: `best/val_wer` for `val/wer`."""
    return _VALIDATED_IN_FILTER.sub(lambda match: match[1] + catalog.of_best_epoch(match[2]), where)


def quoted(text: str) -> str:
    """Quote a value for MLflow's grammar; raises `AsrLabError` if it has both kinds of quotes."""
    if "'" in text and '"' in text:
        raise AsrLabError(f"a value cannot contain both kinds of quotes: {text!r}", allowed="one kind of quotes")
    return f'"{text}"' if "'" in text else f"'{text}'"


def equals(column: str, text: str) -> str:
    """Return the filter for an exact value; it may match more if the value has both kinds of quotes."""
    if "'" in text and '"' in text:
        return f"{column} ILIKE '{''.join(sign if _is_plain(sign) else '%' for sign in text)}'"
    return f"{column} = {quoted(text)}"


def like(pattern: str) -> str:
    """Convert a glob or a plain part of a name to an ILIKE pattern; special characters become wildcards."""
    anywhere = re.sub(r"\[[^]]*.?", "*", pattern)
    text = pattern if is_glob(pattern) and "[" not in pattern else f"*{anywhere}*"
    return "".join("%" if sign == "*" else sign if _is_plain(sign) else "%" for sign in text.replace("?", "_"))


def _is_plain(sign: str) -> bool:
    """Return whether every store compares the character as Python does (SQLite folds the case of ASCII only)."""
    return sign in " -._=,/+@" or (sign.isalnum() and (sign.isascii() or sign.lower() == sign.upper()))


def is_glob(pattern: str) -> bool:
    """Return whether a pattern is a glob, not a plain part of a name."""
    return any(sign in pattern for sign in "*?[")


def is_like(pattern: str, *names: str | None) -> bool:
    """Return whether a name matches the glob or contains the plain part; case-insensitive.

    What may be a set of characters, as `[x]`, may be a part too: a name as it is printed is a pattern for itself.
    """
    plain, lower = pattern.lower(), [(name or "").lower() for name in names]
    if not is_glob(pattern) or ("[" in pattern and any(plain in name for name in lower)):
        return any(plain in name for name in lower)
    return any(fnmatch.fnmatchcase(name, plain) for name in lower)
