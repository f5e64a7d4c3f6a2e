"""What is to be transcribed: files, folders, manifests, and audio from standard input."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.audio_places import file_of, url_of
from asr_lab.data.containers import AUDIO_SUFFIXES
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError, listing

STDIN = "-"
_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Source:
    """An utterance to transcribe, and what is known of it."""

    name: str
    """The path of a file, or the id of a manifest's utterance."""
    audio: Path | Cut | bytes
    speaker: str = ""
    reference: str | None = None
    """The transcript in the manifest; None if there is none."""

    @property
    def state(self) -> str:
        """What changes when the audio is replaced, or what is known of it: of a file, its size and time."""
        if isinstance(self.audio, bytes):
            return hashlib.sha256(self.audio).hexdigest()[:_DIGITS]
        if isinstance(self.audio, Path):
            return _state(self.audio)
        cut = self.audio
        known = (cut.start, cut.duration, str(cut.channel), self.speaker, self.reference)
        of_row = hashlib.sha256(repr(known).encode()).hexdigest()[:_DIGITS]
        return f"{_state(Path(file_of(cut.recording.sources[0].source)))}|{of_row}"


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size}|{state.st_mtime_ns}"


def find_sources(given: Iterable[Path], stdin: BinaryIO) -> list[Source]:
    """Return the utterances of files, folders (with those below), manifests (`.jsonl.gz`), and `-`.

    A missing file is a source too, whose reading fails. Raises `AsrLabError` if a folder holds no audio, a manifest
    cannot be read, or nothing of what was given is there.
    """
    paths = list(given)
    if [str(path) for path in paths].count(STDIN) > 1:
        raise AsrLabError(f"{STDIN} was given several times: standard input holds one file", allowed=f"one {STDIN}")
    here = [path for path in paths if str(path) != STDIN and not url_of(path)]
    missing = [str(path) for path in here if not os.path.exists(path)]  # noqa: PTH110 - no error
    if len(missing) == len(paths):
        raise AsrLabError("no such audio file", where=", ".join(missing))
    return [source for path in paths for source in _of(path, stdin)]


def _of(path: Path, stdin: BinaryIO) -> Iterator[Source]:
    if str(path) == STDIN:
        yield Source(name=STDIN, audio=stdin.read())
    elif os.path.isdir(path):  # noqa: PTH112 - as above
        yield from _of_folder(path)
    elif path.name.endswith(manifest.SUFFIX):
        yield from _of_manifest(path)
    else:
        yield Source(name=str(path), audio=path)


def _of_folder(folder: Path) -> Iterator[Source]:
    files = sorted(file for file in _below(folder) if file.suffix.lower() in AUDIO_SUFFIXES or os.path.isdir(file))  # noqa: PTH112 - no error
    if not files:
        allowed = listing(AUDIO_SUFFIXES, len(AUDIO_SUFFIXES))
        raise AsrLabError("the folder holds no audio files", where=str(folder), allowed=allowed)
    for file in files:
        yield Source(name=str(file), audio=file)


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, and the folders that cannot be read; hidden ones are passed over.

    Links to folders are followed last, so that a file is named by where it is, and not to what holds the folder. A link
    to nothing is a file, whose reading fails. Raises `AsrLabError` if `folder` itself cannot be read.
    """
    unreadable: list[Path] = []

    def failed(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise AsrLabError(f"the folder cannot be read: {error.strerror}", where=str(folder)) from error
        unreadable.append(Path(error.filename))

    above = {*folder.absolute().parents, *folder.resolve().parents}
    seen, roots = set(map(_inode, above)), deque([folder])
    while roots:
        for place, folders, files in os.walk(roots.popleft(), onerror=failed):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if (inode := _inode(place)) in seen:
                folders.clear()
                continue
            seen.add(inode)
            roots.extend(link for name in folders if (link := Path(place, name)).is_symlink())
            for file in (Path(place, name) for name in files if not name.startswith(".")):
                if os.path.isfile(file) or not os.path.exists(file):  # noqa: PTH110, PTH113 - no error
                    yield file
    yield from unreadable


def _inode(folder: Path | str) -> tuple[int, int]:
    state = os.stat(folder)  # noqa: PTH116 - of very many
    return state.st_dev, state.st_ino


def _of_manifest(path: Path) -> Iterator[Source]:
    for cut in Utterances.read(path, speech=False):
        spoken = cut.supervisions[0] if len(cut.supervisions) == 1 else None
        text = (spoken.text or "").strip() if spoken else ""
        speaker = (spoken.speaker or "") if spoken else ""
        yield Source(name=cut.id, audio=cut, speaker=speaker, reference=text or None)
