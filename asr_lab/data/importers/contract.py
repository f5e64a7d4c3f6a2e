"""The interface of importers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import listing
from asr_lab.units import counted

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_lab.data.importers.source_view import Source

MIN_DURATION_S = 0.025  # one frame of wav2vec2, the shortest input that any model here accepts
SKIP_FAULTY = "skip_faulty"

Progress = Callable[[int, int], None]
"""Called with (done, total); total 0 is unknown."""


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """The utterances of a corpus by split (`all` if it has none), and the faults of others."""

    splits: Mapping[str, Sequence[Cut]]
    report: ImportReport

    @property
    def summary(self) -> str:
        """How many utterances were read, imported and left out, and why: the same for every importer."""
        dropped = self.report.dropped()
        kept = sum(map(len, self.splits.values()))
        if (unexplained := self.report.read - kept - dropped.total()) > 0:
            dropped["the importer gives no reason"] += unexplained
        why = "; ".join(f"{reason}: {count}" for reason, count in dropped.most_common())
        total = kept + dropped.total()
        return f"{counted(total, 'utterance')} read, {kept} imported, {dropped.total()} left out" + (
            f" ({why})" if why else ""
        )

    @property
    def warnings(self) -> list[str]:
        """Warnings about imported utterances."""
        short = [cut.id for cuts in self.splits.values() for cut in cuts if cut.duration < MIN_DURATION_S]
        limit = f"{1000 * MIN_DURATION_S:.0f} ms"
        text = (
            f"{counted(len(short), 'utterance', 'are')} shorter than {limit}, too short for any model: {listing(short)}"
        )
        return [text] if short else []


class ImportFunction(Protocol):
    """Read the corpus at `source`, and write audio, if necessary, under `out`. Other parameters are options.

    Raises `AsrLabError` if nothing can be imported.
    """

    def __call__(self, source: Path, out: Path, *, progress: Progress = ..., **options: Any) -> ImportResult: ...


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of an importer, as the command line offers it."""

    name: str
    """The parameter of the import function: `drop_silence` is `--drop-silence`."""
    help: str
    kind: Literal["text", "integer", "flag", "path", "range", "pairs"] = "text"
    """`range` is `1-5` as (1, 5); `pairs` is `KEY=VALUE,...`, or one pair per use if `multiple`."""
    alias: str = ""
    """Another name on the command line, with dashes."""
    default: Any = None
    multiple: bool = False
    positional: bool = False
    """An argument before SOURCE."""
    metavar: str | None = None

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.name.upper() if self.positional else f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read a source, and why."""

    what: str
    """What it is taken for: `a data folder of Kaldi's`."""
    evidence: tuple[str, ...]
    """What was seen there: files, columns."""
    file: str = ""
    """The file in the folder to import, if not the folder itself."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of the importer that it needs: columns, the folder of the audio."""
    is_general: bool = False
    """A table, or audio with texts: a corpus with a layout of its own takes precedence."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """One kind of corpus."""

    description: str
    function: str
    """`module:function` of the `ImportFunction`."""
    layout: str = ""
    """What SOURCE looks like, as lines to show: files, columns, how speakers are named."""
    options: tuple[Option, ...] = ()
    has_splits: bool = False
    """Whether it writes a manifest per split, else only `all`."""
    recognizer: str = ""
    """`module:function` of what looks at a `Source` and returns its `Reading`s, [] for another kind of corpus; "" if
    the kind has no layout of its own."""

    def load(self) -> ImportFunction:
        """Return the function, importing its module."""
        module, _, name = self.function.partition(":")
        function: ImportFunction = getattr(import_module(module), name)
        return function

    def readings(self, source: Source) -> list[Reading]:
        """Return the ways to read SOURCE as this kind of corpus, by a look at some of its files."""
        if not self.recognizer:
            return []
        module, _, name = self.recognizer.partition(":")
        result: list[Reading] = getattr(import_module(module), name)(source)
        return result

    def accepts(self, option: str) -> bool:
        """Return whether it has an option of this name."""
        return any(own.name == option for own in self.options)
