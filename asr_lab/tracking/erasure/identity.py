"""Names of a speaker in tables, and mentions of them in texts."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from asr_lab.families import makes_adapters
from asr_lab.metrics.catalog import in_a_name
from asr_lab.tracking.run_index import Record
from asr_lab.tracking.tags import KIND, SPEAKER

NOBODY = "unknown"
"""Speaker of utterances without a known speaker."""


def also_called(
    speaker: str, records: Sequence[Record], tables: Mapping[str, Iterable[str]]
) -> tuple[set[str], set[str]]:
    """Return (other names of the speaker in tables, ambiguous names that are not used).

    A name is used if it is the only speaker of an adapter's own corpus, and of no other speaker's.
    """
    theirs, others = set[str](), {NOBODY, ""}
    for one in records:
        of = one.tags.get(SPEAKER, "")
        if not of:
            continue
        speakers = set(tables[one.run_id])
        is_own = makes_adapters(one.family) and one.tags.get(KIND) == "train" and len(speakers) == 1
        if of == speaker:
            theirs |= speakers if is_own else set()
        else:
            others |= {of} | (speakers if is_own else set())
    return theirs - others - {speaker}, (theirs & others) - {speaker}


@dataclass(frozen=True)
class Traces:
    """What identifies a speaker in a text about several."""

    speaker: str
    known_as: Set[str]
    runs: Iterable[Record]

    def occur_in(self, text: str) -> bool:
        """Return whether a text names the speaker, one of their runs, or a metric of them."""
        of_markdown = re.sub(r"\\([^\w\s])", r"\1", text)
        forms = (text, html.unescape(text), text.replace('""', '"').replace('\\"', '"'), of_markdown)
        ids = [one.run_id for one in self.runs]
        figures = [f"_by_speaker/{in_a_name(name)}" for name in self.known_as]
        words = [word for word in (self.speaker, *figures, *(one.name for one in self.runs)) if word]
        return any(id in text for id in ids) or any(_has_word(form, word) for form in forms for word in words)


def _has_word(text: str, word: str) -> bool:
    """Return whether a text contains a whole word: `ann` in `ann-1a2b` and `of_ann`, not in `hannah`."""
    return word in text and re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text) is not None
