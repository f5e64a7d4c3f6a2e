"""Take recordings out of files that pack many: archives of Kaldi's (`x.ark:1234`), the tars of NeMo's shards."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

from asr_lab.data.media import written_audio
from asr_lab.errors import AsrLabError, reason

_RIFF_HEAD = 12
_SHARD = re.compile(r".*?(\d+)\.tar")


def from_ark(ark: Path, offset: int, name: str) -> Path:
    """Write the WAV at a byte of an archive of Kaldi's to `name.wav` in the audio of the import, and return its path.

    Raises `AsrLabError` if there is no WAV there, as in an archive of features, or if it is cut off.
    """
    with ark.open("rb") as file:
        file.seek(offset)
        head = file.read(_RIFF_HEAD)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise AsrLabError(
                f"no WAV at byte {offset} of the archive: {ark}",
                allowed="archives of WAV, as wav-copy of Kaldi writes them",
                hint="kaldiio, or wav-copy of Kaldi, writes the recordings of other archives to files",
            )
        length = int.from_bytes(head[4:8], "little") + 8
        if offset + length > ark.stat().st_size:
            raise AsrLabError(f"the WAV at byte {offset} of the archive is cut off: {ark}")
        return _written(f"{name}.wav", head + file.read(length - _RIFF_HEAD))


def shards(folder: Path) -> dict[int, Path]:
    """Return shard -> tar in a folder, or the one above, by the last number in the names: `audio_3.tar`."""
    for one in (folder, folder.absolute().parent):
        named = ((_SHARD.fullmatch(path.name), path) for path in sorted(one.glob("*.tar")))
        if found := {int(match[1]): path for match, path in named if match}:
            return found
    return {}


def from_tars(tars: Mapping[int, Path], wanted: Mapping[int, Set[str]]) -> Iterator[tuple[tuple[int, str], Path]]:
    """Yield ((shard, member), path of what is written) for the wanted members of tars that are there."""
    for shard, names in wanted.items():
        if shard not in tars:
            continue
        try:
            with tarfile.open(tars[shard]) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isfile() and member.name in names else None
                    if file is not None:
                        yield (shard, member.name), _written(f"{shard}-{member.name}", file.read())
        except (tarfile.TarError, OSError) as error:
            what = f"the tar cannot be read, or is cut off: {reason(error)}"
            raise AsrLabError(what, where=str(tars[shard])) from error


def _written(name: str, content: bytes) -> Path:
    target = written_audio().target(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target.absolute()
