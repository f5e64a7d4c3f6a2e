"""What people ask for as conditions of MLflow's search, so that the store filters and not this process.

MLflow's grammar has no OR, and its ILIKE no escape; a condition here may let too much through, never too little.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from datetime import datetime, timedelta

from asr_lab.errors import AsrLabError
from asr_lab.tracking.tags import ARCHIVED, FAMILY, KIND, MODEL_TYPE, PARENT

OURS = f"tags.`{FAMILY}` IS NOT NULL"
FOLDED = ("trial", "seed", "fold", "phase")
"""Kinds of runs that are parts of another one and are shown under it."""

_NAMES = ("attributes.run_name", f"tags.`{MODEL_TYPE}`", f"tags.`{FAMILY}`")
_NOT_ARCHIVED = f"tags.`{ARCHIVED}` IS NULL"
_NO_PARENT = f"tags.`{PARENT}` IS NULL"
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def queries(
    pattern: str, family: str, *, status: str, where: str, since: str, archived: bool, children: bool
) -> list[str]:
    """Filters of MLflow whose hits, united, are what is asked for (of a pattern: at least that)."""
    always = [OURS]
    if family:
        always.append(f"tags.`{FAMILY}` = {quoted(family)}")
    if status:
        always.append(f"attributes.status = {quoted(status)}")
    if since:
        always.append(f"attributes.start_time >= {started_since(since)}")
    if not archived:
        always.append(_NOT_ARCHIVED)
    if where.strip():
        always.append(where.strip())
    alike = [f"{name} ILIKE '{like(pattern)}'" for name in _NAMES] if pattern else [""]
    # parts with a parent are left out; not by `kind !=` alone, which drops every run that has no kind
    folded = " and ".join(f"tags.`{KIND}` != '{kind}'" for kind in FOLDED)
    parents = [""] if children else [_NO_PARENT, f"tags.`{PARENT}` IS NOT NULL and {folded}"]
    return [
        " and ".join([part for part in (name, parent) if part] + always)
        for name, parent in itertools.product(alike, parents)
    ]


def quoted(text: str) -> str:
    """A text as a value in MLflow's grammar, which cannot hold both kinds of quotes."""
    if "'" in text and '"' in text:
        raise AsrLabError(f"nothing can be called {text!r}", allowed="one kind of quotes at most")
    return f'"{text}"' if "'" in text else f"'{text}'"


def named(name: str) -> str:
    """The condition that a run is called exactly so; of a name with both kinds of quotes, at least that."""
    if "'" in name and '"' in name:
        return f"attributes.run_name ILIKE '{''.join(sign if _is_plain(sign) else '%' for sign in name)}'"
    return f"attributes.run_name = {quoted(name)}"


def like(pattern: str) -> str:
    """A glob, or a plain part of a name, for ILIKE: what ILIKE might read otherwise becomes a wildcard."""
    text = re.sub(r"\[[^\]]*\]", "?", pattern) if is_glob(pattern) else f"*{pattern}*"
    return "".join("%" if sign == "*" else sign if _is_plain(sign) else "%" for sign in text.replace("?", "_"))


def _is_plain(sign: str) -> bool:
    """Whether a store compares it as Python does, and no grammar reads it: SQLite folds the case of ASCII only."""
    return sign in " -._=,/+@" or (sign.isalnum() and (sign.isascii() or sign.lower() == sign.upper()))


def is_glob(pattern: str) -> bool:
    """Whether it has the signs of a glob; if not, it is a plain part of a name."""
    return any(sign in pattern for sign in "*?[")


def is_like(pattern: str, *names: str | None) -> bool:
    """Whether one of the names matches the glob, or has the plain part in it; case-blind."""
    glob = pattern.lower() if is_glob(pattern) else f"*{pattern.lower()}*"
    return not pattern or any(fnmatch.fnmatchcase((name or "").lower(), glob) for name in names)


def started_since(text: str, now: datetime | None = None) -> int:
    """`7d`, `12h`, `90m`, `2w` ago, or a date (`2026-11-01`, `2026-11-01T14:30`, local time), as ms since 1970."""
    now = now or datetime.now()
    if found := _AGE.fullmatch(text.strip()):
        return int((now - timedelta(**{_UNITS[found[2]]: float(found[1])})).timestamp() * 1000)
    try:
        return int(datetime.fromisoformat(text.strip()).timestamp() * 1000)
    except ValueError:
        raise AsrLabError(
            f"no time is called {text!r}", allowed="7d, 12h, 90m, 2w, or a date such as 2026-11-01"
        ) from None
