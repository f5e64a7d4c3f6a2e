"""Find a run by its id, its name, the first characters of its id, or a unique part of its name.

All commands and the notebook functions use these rules. Runs of asr_lab have the tag `asr_lab.family`, in any
experiment.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Run, ViewType

from asr_lab.errors import AsrLabError, listing
from asr_lab.system.visible_text import one_line
from asr_lab.tracking.queries import filters, runs
from asr_lab.tracking.spool.spool import ROOT, spools
from asr_lab.tracking.store import client, experiment_ids, explain_store_errors, has_tables, search_runs
from asr_lab.tracking.tags import RESTORED_FROM, SPOOL

MIN_PREFIX = 4
"""Fewest characters of an id that name a run."""
_ID_LENGTH = 32  # characters
_MOST_MATCHES = 20  # matches read at most: enough for an error message
_LISTED = 8
_ESCAPES = re.compile(r"\\(u[0-9a-f]{4}|.)")
"""Of JSON, by which `one_line` shows what a terminal would act on."""
_NEWEST = 1000  # runs searched for similar names

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """Names and ids of a run."""

    run_id: str
    name: str
    former_id: str = ""
    """Begins with the id before a restore from a bundle."""
    spool_id: str = ""
    """The id under which the run was recorded offline."""
    deleted: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.run_id[:8]}{', deleted' if self.deleted else ''})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One way to name a run."""

    matches: Callable[[str, Candidate], bool]
    filters: Callable[[str], Sequence[str]]
    """MLflow filters for a word; the union of their results holds every match, and maybe other runs."""


class RunNotFoundError(AsrLabError):
    """No run matches."""


class AmbiguousRunError(AsrLabError):
    """Several runs match: `candidates`."""

    def __init__(self, word: str, candidates: Sequence[Candidate], *, next_command: str = "") -> None:
        number = f"{_MOST_MATCHES} or more" if len(candidates) >= _MOST_MATCHES else str(len(candidates))
        super().__init__(
            f"{word!r} matches {number} runs",
            allowed=listing(candidates, _LISTED),
            next_command=next_command or f"asr-lab list --pattern {shlex.quote(word)}",
        )
        self.candidates = tuple(candidates)


class DeletedRunError(AsrLabError):
    """The run that matches is deleted."""

    def __init__(self, run: Candidate) -> None:
        super().__init__(
            f"the run {run.name} is deleted", where=run.run_id, next_command=f"asr-lab restore {run.run_id[:8]}"
        )
        self.run_id = run.run_id


def _is_id_prefix(word: str) -> bool:
    return bool(re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX},{_ID_LENGTH}}}", word.lower()))


def _is_short_prefix(word: str) -> bool:
    return bool(re.fullmatch(rf"[0-9a-f]{{1,{MIN_PREFIX - 1}}}", word.lower()))


def _has_id_prefix(word: str, run: Candidate) -> bool:
    return any(id.startswith(word.lower()) for id in (run.run_id, run.former_id, run.spool_id))


def _by_ids(word: str) -> Sequence[str]:
    fields = ("attributes.run_id", f"tags.`{RESTORED_FROM}`", f"tags.`{SPOOL}`")
    return [f"{field} LIKE '{word.lower()}%'" for field in fields]


_ID = Rule(
    matches=lambda word, run: len(word) == _ID_LENGTH and _has_id_prefix(word, run),
    filters=lambda word: _by_ids(word) if len(word) == _ID_LENGTH and _is_id_prefix(word) else (),
)


def _by_name(word: str) -> Sequence[str]:
    """Return filters for a name, also as it is printed: `\\n` for a line break."""
    printed = filters.like(_ESCAPES.sub("*", word)) if "\\" in word else ""
    return [filters.equals("attributes.run_name", word), *([f"attributes.run_name ILIKE '{printed}'"] * bool(printed))]


_NAME = Rule(matches=lambda word, run: word in (run.name, one_line(run.name)), filters=_by_name)
_ID_PREFIX = Rule(
    matches=lambda word, run: _is_id_prefix(word) and _has_id_prefix(word, run),
    filters=lambda word: _by_ids(word) if _is_id_prefix(word) else (),
)
PART = Rule(
    matches=lambda word, run: bool(word) and filters.is_like(word, run.name),
    filters=lambda word: [f"attributes.run_name ILIKE '{filters.like(word)}'"] if word else (),
)
EXACT = (_ID, _NAME, _ID_PREFIX)
RULES = (*EXACT, PART)
"""In this order: the first rule with matches decides."""


Reader = Callable[[str, Rule, int], Iterable[T]]
"""(word, rule, MLflow's view: ALL or ACTIVE_ONLY) -> at least the matching items of that view."""


def choose(
    word: str, read: Reader[T], candidate: Callable[[T], Candidate], *, rules: Sequence[Rule] = RULES
) -> list[T]:
    """Return the items that match by the first rule with matches, 20 at most; deleted ones only if all are deleted.

    Raises `RunNotFoundError` for a prefix of an id that is too short.
    """
    for rule in rules:
        matches = _hits(word, rule, read, candidate)
        if rule is PART and _is_short_prefix(word):
            raise _too_short(word, map(candidate, matches))
        if matches:
            return matches
    return []


def choose_among(word: str, items: Sequence[T], candidate: Callable[[T], Candidate]) -> list[T]:
    """Return the items of a list that match; see `choose`."""
    return choose(word, lambda word, rule, view: items, candidate)


def _hits(word: str, rule: Rule, read: Reader[T], candidate: Callable[[T], Candidate]) -> list[T]:
    everything = _first(item for item in read(word, rule, ViewType.ALL) if rule.matches(word, candidate(item)))
    active = [item for item in everything if not candidate(item).deleted]
    if len(everything) == _MOST_MATCHES and len(active) < 2:  # deleted runs may hide active ones
        more = (item for item in read(word, rule, ViewType.ACTIVE_ONLY) if rule.matches(word, candidate(item)))
        active = _first(item for item in more if not candidate(item).deleted)
    return active or everything


def _first(items: Iterable[T]) -> list[T]:
    return list(islice(items, _MOST_MATCHES))


def _too_short(word: str, similar: Iterable[Candidate]) -> RunNotFoundError:
    return RunNotFoundError(
        f"{word!r} is too short: at least {MIN_PREFIX} characters of an id are needed",
        allowed=listing(similar, _LISTED) or "a name, an id, or the first four or more characters of an id",
        next_command=f"asr-lab list --pattern {word}",
    )


def find_run(word: str, *, deleted: bool = False) -> Run:
    """Return the run that a word names; deleted runs only with `deleted`. Archived and child runs are included.

    Raises `RunNotFoundError`, `AmbiguousRunError` or `DeletedRunError`.
    """
    return find_each([word], deleted=deleted)[0]


def find_each(words: Sequence[str], *, deleted: bool = False) -> list[Run]:
    """Return the runs that words name, in their order, without duplicates; raises as `find_run` does."""
    with explain_store_errors("the run cannot be found"):
        read = _reader()
        matches = [_only_one(word, choose(word, read, candidate_of), deleted=deleted) for word in words]
    return list({run.info.run_id: run for run in matches}.values())


def find_exact(word: str) -> list[Run]:
    """Return the runs that match by full name or by id, including deleted ones."""
    with explain_store_errors("the run cannot be found"):
        return choose(word, _reader(), candidate_of, rules=EXACT)


def candidate_of(run: Run) -> Candidate:
    """Return the names and ids of a run."""
    return Candidate(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        former_id=run.data.tags.get(RESTORED_FROM, ""),
        spool_id=run.data.tags.get(SPOOL, ""),
        deleted=run.info.lifecycle_stage == "deleted",
    )


def _reader() -> Reader[Run]:
    """Return a reader of the store that includes deleted experiments."""
    if not has_tables():
        return lambda word, rule, view: ()
    store = client()
    experiments = experiment_ids(store, ViewType.ALL)

    def read(word: str, rule: Rule, view: int) -> Iterator[Run]:
        matches: set[str] = set()
        for condition in rule.filters(word):
            query = f"{condition} and {filters.OURS}"
            for run in search_runs(store, experiments, query, view, page_size=_MOST_MATCHES):
                if run.info.run_id not in matches:
                    matches.add(run.info.run_id)
                    yield run

    return read


def _only_one(word: str, matches: Sequence[Run], *, deleted: bool) -> Run:
    if not matches:
        raise _not_found(word)
    candidates = [candidate_of(run) for run in matches]
    if len(matches) > 1:
        raise AmbiguousRunError(word, candidates)
    if candidates[0].deleted and not deleted:
        raise DeletedRunError(candidates[0])
    return matches[0]


def _waiting(word: str) -> Path | None:
    """Return the spool of a run that was recorded offline and is named by its id or by the name it had then."""
    id = word.rpartition("-")[2].lower()
    waiting = (
        spools(ROOT, lambda spool: spool.id.startswith(id) and not spool.state.run_id) if _is_id_prefix(id) else []
    )
    return waiting[0].folder if waiting else None


def _not_found(word: str) -> RunNotFoundError:
    """Suggest similar names, or the newest runs."""
    if waiting := _waiting(word):
        return RunNotFoundError(
            f"the run {word} is not in the tracking store yet", where=str(waiting), next_command="asr-lab sync"
        )
    names = [run.info.run_name or run.info.run_id for run in runs.find(limit=_NEWEST)]
    plain = {re.sub(r"-[0-9a-f]{8}$", "", name): name for name in reversed(names)}
    near = [plain[name] for name in get_close_matches(word, plain, n=5, cutoff=0.4)]
    return RunNotFoundError(
        f"no run {word!r}", allowed=listing(near or names, _LISTED) or "there are no runs yet",
        next_command="asr-lab list",
    )  # fmt: skip
