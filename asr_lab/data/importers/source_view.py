"""A quick look at what a user wants to import: some of its files, the first lines of texts. Nothing large is read."""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from asr_lab.data.importers.audio_paths import is_audio_name, without_suffix
from asr_lab.data.text_files import ENCODING_MARKS, json_rows, lines, read_table
from asr_lab.data.workbooks import SUFFIXES, is_workbook
from asr_lab.errors import AsrLabError

_MOST_FILES = 4000
_MOST_FOLDERS = 400
_MOST_OF_A_FOLDER = 400  # entries, of a folder of thousands
_MOST_LINES = 400  # of the first element of a JSON array
_HEAD_BYTES = 1 << 16
_SKIPPED = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE)


def bare(name: str) -> str:
    """Return the name of a file in NFC, without folders and a suffix of audio."""
    return without_suffix(normalize("NFC", PurePosixPath(name.replace("\\", "/")).name))


class Source:
    """A file or a folder to import, looked at."""

    def __init__(self, path: Path, *, without: Path | None = None) -> None:
        self.path = path
        self._without = without.resolve() if without else None

    @property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    @cached_property
    def files(self) -> list[str]:
        """Paths of files below the folder with `/`, those near its top first; a part of them in a large one."""
        return list(islice(self._walk(), _MOST_FILES)) if self.is_folder else []

    def _walk(self) -> Iterator[str]:
        folders, seen = deque([self.path]), 0
        while folders and seen < _MOST_FOLDERS:
            folder, seen = folders.popleft(), seen + 1
            try:
                with os.scandir(folder) as entries:
                    some = sorted(islice(entries, _MOST_OF_A_FOLDER), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in some:
                if _SKIPPED.fullmatch(entry.name):
                    continue
                path = folder / entry.name
                if not entry.is_dir():
                    yield path.relative_to(self.path).as_posix()
                elif self._without is None or path.resolve() != self._without:
                    folders.append(path)

    @cached_property
    def audio(self) -> list[str]:
        """The audio files among `files`."""
        return [name for name in self.files if is_audio_name(name)]

    def has(self, *names: str) -> list[str]:
        """Return those of the names that are files or folders at the top of the folder."""
        return [name for name in names if (self.path / name).exists()] if self.is_folder else []

    def matching(self, *patterns: str) -> list[str]:
        """Return the files that match a pattern; `*` is any text, also with slashes."""
        return [name for name in self.files if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def top(self, *suffixes: str) -> list[str]:
        """Return the files with a suffix at the top of the folder; of a file, itself."""
        if not self.is_folder:
            return [self.path.name] if self.path.name.lower().endswith(suffixes) else []
        return [name for name in self.files if "/" not in name and name.lower().endswith(suffixes)]

    def file(self, name: str) -> Path:
        """Return the path of one of `files`, or of the file itself."""
        return self.path / name if self.is_folder else self.path

    def partners(self, suffixes: Iterable[str]) -> list[str]:
        """Return the audio files that have a file of the same name with one of the suffixes beside them."""
        of_any_case = [one for suffix in suffixes for one in (suffix, suffix.upper())]
        return [
            name
            for name in self.audio
            if any((self.path / f"{without_suffix(name)}{suffix}").is_file() for suffix in of_any_case)
        ]

    def suffixes(self) -> str:
        """Return what there is: `20 .wav, 1 .docx`."""
        counts = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in self.files)
        return ", ".join(f"{number} {suffix}" for suffix, number in counts.most_common(6))


def first_lines(path: Path, number: int = 20) -> list[str]:
    """Return the first lines of a text, also of a compressed one; [] for what is no text."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return []
    marked = next((encoding for mark, encoding in ENCODING_MARKS.items() if content.startswith(mark)), "")
    if not marked and b"\0" in content:
        return []
    for encoding in [marked] if marked else ["utf-8-sig", "cp949"]:
        text = codecs.getincrementaldecoder(encoding)(errors="replace" if marked else "strict")
        try:
            rows = lines(text.decode(content).removeprefix("\ufeff"))
        except UnicodeDecodeError:
            continue
        return (rows if len(content) < _HEAD_BYTES else rows[:-1])[:number]
    return []


def first_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of the first line that is not empty, or the first of an array, {} if it is none."""
    rows = [line for line in first_lines(path, _MOST_LINES) if line.strip()]
    is_array = bool(rows) and rows[0].lstrip().startswith("[")
    _, value = next(json_rows("\n".join(rows if is_array else rows[:1])), (0, None))
    return value if isinstance(value, dict) else {}


def header(path: Path) -> list[str]:
    """Return the columns of a table with a header, [] for what looks like none."""
    if path.suffix.lower() in SUFFIXES and path.is_file() and is_workbook(path):
        try:
            rows_of_sheet = read_table(path)
        except AsrLabError:
            return []
        return [str(name) for name in rows_of_sheet[0].values if name] if rows_of_sheet else []
    rows = [row for row in first_lines(path, 3) if not row.lower().startswith(("sep=", '"sep='))]
    first = rows[0] if rows else ""
    delimiter = max(",\t;|", key=first.count)
    columns = [normalize("NFC", cell.strip().strip('"').strip()) for cell in first.split(delimiter)]
    is_named = all(columns) and not any(is_audio_name(column) or "/" in column or "\\" in column for column in columns)
    return columns if len(columns) > 1 and is_named else []
