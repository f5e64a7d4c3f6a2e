"""What every importer takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import listing

if TYPE_CHECKING:
    from lhotse.cut import Cut

MIN_DURATION_S = 0.025  # one frame of wav2vec2, the shortest input that any model here accepts
SKIP_FAULTY = "skip_faulty"

Progress = Callable[[int, int], None]
"""Called with (done, total); a total of 0 is not known."""


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """The utterances of a corpus by split (`all` where it has none), and what was found wrong with others."""

    splits: Mapping[str, Sequence[Cut]]
    report: ImportReport

    @property
    def warnings(self) -> list[str]:
        """What will not work with the utterances that were imported."""
        short = [cut.id for cuts in self.splits.values() for cut in cuts if cut.duration < MIN_DURATION_S]
        limit = f"{1000 * MIN_DURATION_S:.0f} ms"
        text = f"{len(short)} utterances are shorter than {limit}, too short for any model: {listing(short)}"
        return [text] if short else []


class ImportFunction(Protocol):
    """Reads the corpus at `source`; what audio it must write goes under `out`. Its other parameters are its options.

    Raises `AsrLabError` where nothing can be imported.
    """

    def __call__(self, source: Path, out: Path, *, progress: Progress = ..., **options: Any) -> ImportResult: ...


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of an importer, as the command line offers it."""

    name: str
    """The parameter of the import function: `drop_silence` is `--drop-silence`."""
    help: str
    kind: Literal["text", "integer", "flag", "path", "range", "pairs"] = "text"
    """`range` is `1-5` as (1, 5); `pairs` is `KEY=VALUE,...`, or one pair each time where it is `multiple`."""
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
class Importer:
    """One kind of corpus."""

    description: str
    function: str
    """`module:function` of the `ImportFunction`."""
    options: tuple[Option, ...] = ()
    has_splits: bool = False
    """Whether it writes a manifest for each split that the corpus has, else only `all`."""
    markers: tuple[str, ...] = ()
    """Patterns of paths that a folder with this kind of corpus holds."""
    file_names: tuple[str, ...] = ()
    """Patterns of names that SOURCE has where it is a file."""

    def load(self) -> ImportFunction:
        """Import the module, and return the function."""
        module, _, name = self.function.partition(":")
        function: ImportFunction = getattr(import_module(module), name)
        return function

    def recognizes(self, source: Path) -> bool:
        """Whether SOURCE looks like this kind of corpus."""
        if source.is_dir():
            return any(next(source.glob(pattern), None) for pattern in self.markers)
        return any(source.match(pattern) for pattern in self.file_names)

    def accepts(self, option: str) -> bool:
        """Whether it has an option of this name."""
        return any(own.name == option for own in self.options)
