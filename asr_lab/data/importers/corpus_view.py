"""A view of a corpus that others may write into: Lhotse's recipes write beside the files they read.

The view has folders of its own with links to the recordings. Small files are copied, and so are recordings that a
recipe may have made of others (`x.flac` beside `x.pcm`), because writing to a link writes to the original.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_SOURCES = (".pcm", ".raw", ".sph", ".mp3", ".mp4", ".m4a", ".opus", ".webm")
"""Suffixes of recordings that recipes convert from, not to."""
_RECORDINGS = (*_SOURCES, ".wav", ".flac", ".ogg", ".aiff", ".aif", ".au", ".w64", ".caf")
_SMALL = 1 << 20  # bytes


class CorpusView:
    """Links to and copies of the files of a corpus, in a temporary folder under `out`.

    The files `left_out` are not in it, and of the tables in `rows` these lines (from 1) are not.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        folder: Path,
        left_out: Iterable[Path] = (),
        rows: Mapping[Path, Collection[int]] | None = None,
    ) -> None:
        self.folder, self._out, self._source = folder, out, source.resolve()
        self._left_out = {path.resolve() for path in left_out}
        self._rows = {path.resolve(): lines for path, lines in (rows or {}).items()}
        self.root = folder / (source.resolve().name or "corpus") if source.is_dir() else source
        """What a recipe gets as the corpus; a file is given as it is."""
        self._copies: dict[Path, tuple[Path, os.stat_result]] = {}
        if source.is_dir():
            self._fill(source.resolve(), self.root, ())

    def _fill(self, original: Path, view: Path, above: tuple[Path, ...]) -> None:
        view.mkdir()
        entries = sorted(original.iterdir())
        stems = Counter(path.stem for path in entries if path.suffix.lower() in _RECORDINGS)
        for path in entries:
            target, resolved = view / path.name, path.resolve()
            if resolved in self._left_out:
                continue
            if resolved in self._rows:
                content = enumerate(path.read_bytes().split(b"\n"), 1)
                target.write_bytes(b"\n".join(line for number, line in content if number not in self._rows[resolved]))
            elif path.is_dir() and resolved not in (*above, original, self._out.resolve()):
                self._fill(resolved, target, (*above, original))
            elif path.is_file() and self._may_be_written(path, stems):
                shutil.copy2(path, target)
                self._copies[target] = resolved, target.stat()
            elif path.is_file():
                target.symlink_to(resolved)

    @staticmethod
    def _may_be_written(path: Path, stems: Counter[str]) -> bool:
        suffix = path.suffix.lower()
        if suffix in _RECORDINGS:
            return stems[path.stem] > 1 and suffix not in _SOURCES
        return path.stat().st_size <= _SMALL

    def kept(self, path: Path) -> Path:
        """Return the final path of a recording: the original, or `out/audio` for one that was written here."""
        if not path.is_relative_to(self.folder) or path.is_symlink():
            return path.resolve()
        if not path.exists():  # the recipe names what is not there
            return self._source / path.relative_to(self.root) if path.is_relative_to(self.root) else path
        original, before = self._copies.get(path, (path, None))
        now = path.stat()
        if before and (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
            return original
        target = self._out.resolve() / "audio" / path.relative_to(self.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        self._copies.pop(path, None)
        path.symlink_to(target)  # for further segments of the recording
        return target


@contextmanager
def corpus_view(
    source: Path, out: Path, left_out: Iterable[Path] = (), rows: Mapping[Path, Collection[int]] | None = None
) -> Iterator[CorpusView]:
    """Yield a view of the corpus `source`; it is gone afterwards, and so is an empty `out`."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".corpus-", dir=out)).resolve()
    try:
        yield CorpusView(source, out, folder, left_out, rows)
    finally:
        shutil.rmtree(folder)
        with suppress(OSError):  # not empty
            for one in made:
                one.rmdir()
