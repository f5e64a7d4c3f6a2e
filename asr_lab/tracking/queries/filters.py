"""Build MLflow filters, so that the store does the filtering.

MLflow's grammar has no OR, and its ILIKE no escape; a filter may return too many runs, never too few.
"""

from __future__ import annotations

import fnmatch
import itertools
import re

from asr_lab.errors import AsrLabError
from asr_lab.system.times import parse_time
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
        always.append(f"attributes.start_time >= {parse_time(since)}")
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


def quoted(text: str) -> str:
    """Quote a value for MLflow's grammar; raises `AsrLabError` if it has both kinds of quotes."""
    if "'" in text and '"' in text:
        raise AsrLabError(f"a value cannot contain both kinds of quotes: {text!r}", allowed="one kind of quotes")
    return f'"{text}"' if "'" in text else f"'{text}'"


def named(name: str) -> str:
    """Return the filter for an exact run name; it may match more if the name has both kinds of quotes."""
    if "'" in name and '"' in name:
        return f"attributes.run_name ILIKE '{''.join(sign if _is_plain(sign) else '%' for sign in name)}'"
    return f"attributes.run_name = {quoted(name)}"


def like(pattern: str) -> str:
    """Convert a glob or a plain part of a name to an ILIKE pattern; special characters become wildcards."""
    text = re.sub(r"\[[^\]]*\]", "?", pattern) if is_glob(pattern) else f"*{pattern}*"
    return "".join("%" if sign == "*" else sign if _is_plain(sign) else "%" for sign in text.replace("?", "_"))


def _is_plain(sign: str) -> bool:
    """Return whether every store compares the character as Python does (SQLite folds the case of ASCII only)."""
    return sign in " -._=,/+@" or (sign.isalnum() and (sign.isascii() or sign.lower() == sign.upper()))


def is_glob(pattern: str) -> bool:
    """Return whether a pattern is a glob, not a plain part of a name."""
    return any(sign in pattern for sign in "*?[")


def is_like(pattern: str, *names: str | None) -> bool:
    """Return whether a name matches the glob or contains the plain part; case-insensitive."""
    glob = pattern.lower() if is_glob(pattern) else f"*{pattern.lower()}*"
    return not pattern or any(fnmatch.fnmatchcase((name or "").lower(), glob) for name in names)
