"""Manifests: Lhotse cuts with one supervision each, as `*.jsonl.gz`.

An utterance (built by `utterance`) is a cut with one supervision that has `text`, `speaker`, `gender`, `language` and,
in `custom`, optional fields: `age` (years), `snr_db` (with `snr_by` if estimated), `l1`, `corpus`, `audio_digest`,
`guessed`. Paths are relative to the folder of the manifest, so that a corpus folder can be moved.
"""

from __future__ import annotations

import gzip
import json
import shlex
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unicodedata import normalize

from lhotse import AudioSource, CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut

from asr_lab.data import columns
from asr_lab.data.audio import pcm_width, probe
from asr_lab.data.audio_places import check_there
from asr_lab.data.cut_audio import PCM_WIDTH
from asr_lab.data.cuts import built, identity_of, located
from asr_lab.data.cuts import check as check
from asr_lab.data.cuts import field as field
from asr_lab.data.cuts import supervision as supervision
from asr_lab.data.cuts import text as text
from asr_lab.data.identity import SUFFIX as SUFFIX
from asr_lab.data.identity import digest_of
from asr_lab.data.identity import file_digest as file_digest
from asr_lab.data.media import readable
from asr_lab.data.relocation import relative_line, write_lines, write_rows
from asr_lab.data.remote_manifest import local_manifest
from asr_lab.errors import AsrLabError

_IMPORTED = (".json", ".jsonl", ".csv", ".tsv", ".parquet")  # what is no manifest, but can become one


def utterance(
    *,
    id: str,
    audio: Path,
    text: str,
    speaker: str,
    language: str = "",
    gender: str = "",
    corpus: str = "",
    **custom: Any,
) -> Cut:
    """Return an utterance: a Lhotse cut of a complete audio file.

    Further keywords (`age`, `snr_db`, `l1`, `block`, ...) become `custom` fields of the supervision; an `audio_digest`
    saves reading the file again. Within an import, audio that needs a decoder is written as FLAC. Raises `AsrLabError`
    if the file is missing, empty or not audio.
    """
    if (source := readable(audio)) != audio:
        audio = source
        custom.pop("audio_digest", None)
    info = probe(audio)
    recording = Recording(
        id=id,
        sources=[AudioSource(type="file", channels=list(range(info.channels)), source=str(audio.resolve()))],
        sampling_rate=info.samplerate,
        num_samples=info.frames,
        duration=info.frames / info.samplerate,
        channel_ids=list(range(info.channels)),
    )
    width = {PCM_WIDTH: bits} if (bits := pcm_width(audio, info)) else {}
    channel: Any = recording.channel_ids if info.channels > 1 else 0
    supervision = SupervisionSegment(
        id=id,
        recording_id=id,
        start=0.0,
        duration=recording.duration,
        channel=channel,
        text=text,
        language=language or None,
        speaker=normalize("NFC", speaker),  # two forms of a name would be two speakers
        gender=gender or None,
        custom={
            "corpus": corpus,
            "audio_digest": custom.pop("audio_digest", "") or file_digest(audio),
            **width,
            **custom,
        },
    )
    kind = MultiCut if info.channels > 1 else MonoCut
    return kind(
        id=id,
        start=0.0,
        duration=recording.duration,
        channel=channel,
        supervisions=[supervision],
        recording=recording,
    )


def check_files(cuts: Iterable[Cut], where: str = "") -> None:
    """Raise `AsrLabError` that names missing audio files and shards, and shards cut off; files are not opened."""
    check_there(columns.sources(cuts), where)


def write(cuts: Iterable[Cut], path: Path, *, speech: bool = True) -> CutSet:
    """Check the utterances and write them atomically, with paths relative to the manifest's folder.

    Audio that is not `speech` needs no supervision. Utterances of a manifest's table, which was checked, are copied.
    """
    rows = columns.backing(cuts)
    if rows is not None:
        write_rows(rows, path)
        return CutSet(rows)
    listed = list(cuts)
    check(listed, where=str(path), speech=speech)
    root = path.parent.resolve()
    write_lines((relative_line(cut.to_dict(), root) for cut in listed), path)
    return CutSet.from_cuts(listed)


def read(path: Path | str, *, speech: bool = True) -> CutSet:
    """Read and check a manifest, with absolute audio paths.

    Raises `AsrLabError` if the file is missing, truncated or not a manifest, or violates the utterance contract.
    """
    path = local_manifest(path)
    cuts: list[Cut] = []
    _each_row(path, lambda row: cuts.append(built(row)))
    check(cuts, where=str(path), speech=speech)
    return CutSet.from_cuts(cuts)


def _each_row(path: Path, use: Callable[[dict[str, Any]], None]) -> None:
    """Call `use` with each row of a manifest, its audio paths absolute."""
    number = 0
    if not path.is_file():
        raise AsrLabError(
            "no such manifest",
            where=str(path),
            allowed=f"a file of Lhotse cuts ({SUFFIX})",
            next_command="asr-lab data synth, or asr-lab data import --help",
        )
    root = path.parent.resolve()
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007
                use(located(json.loads(line), root))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise AsrLabError(
            f"the manifest is cut off or not a {SUFFIX} file: {error}",
            where=str(path),
            next_command=f"asr-lab data import {shlex.quote(str(path))} OUT" if path.suffix in _IMPORTED else "",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"line {number} of the manifest is not a Lhotse cut: {error!r}"
        raise AsrLabError(what, where=f"{path}, line {number}") from error


def digest(cuts: Iterable[Cut]) -> str:
    """Return the digest (32 hexadecimal digits) of transcripts, speakers and audio, independent of paths and order.

    Estimated SNRs are not included. Two runs used the same test data if and only if its digests are equal. Audio is
    included by the `audio_digest` that importers write; `asr-lab data check` compares it with the files.
    """
    rows = columns.backing(cuts)
    return rows.digest() if rows is not None else digest_of(identity_of(cut) for cut in cuts)
