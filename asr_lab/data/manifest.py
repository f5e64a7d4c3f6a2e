"""Manifests: Lhotse cuts with one supervision each, as `*.jsonl.gz`.

An utterance (built by `utterance`) is a cut with one supervision that has `text`, `speaker`, `gender`, `language` and,
in `custom`, optional fields: `age` (years), `snr_db` (with `snr_by` if estimated), `l1`, `corpus`, `audio_digest`,
`guessed`. Paths are relative to the folder of the manifest, so that a corpus folder can be moved.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import shlex
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from lhotse import AudioSource, CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut

from asr_lab.data.audio import PCM_WIDTH, pcm_width, probe
from asr_lab.data.guesses import GUESSED
from asr_lab.data.media import readable
from asr_lab.errors import AsrLabError, listing
from asr_lab.system.files import atomic_file

SUFFIX = ".jsonl.gz"
_IMPORTED = (".json", ".jsonl", ".csv", ".tsv", ".parquet")  # what is no manifest, but can become one
_OWN = ("speaker", "gender", "language", "text")  # fields of a supervision itself
_OVER_S = 0.02  # tolerance for supervisions that end after their cut, by rounding
DIGEST_LENGTH = 32  # hexadecimal digits; MLflow refuses digests of more than 36 characters


def file_digest(path: Path) -> str:
    """Return the SHA-256 (32 hexadecimal digits) of a file; raises `AsrLabError` if it is missing."""
    if not path.is_file():
        raise AsrLabError("no such file", where=str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]


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


def supervision(cut: Cut) -> SupervisionSegment:
    """The one supervision of an utterance."""
    return cut.supervisions[0]


def text(cut: Cut) -> str:
    """Return the transcript of an utterance, not normalised; "" if there is none."""
    return supervision(cut).text or ""


def field(cut: Cut, name: str) -> Any:
    """Return a field of the supervision, or of its `custom`; None if absent, NaN or infinite."""
    segment = supervision(cut)
    if name in _OWN:
        return getattr(segment, name)
    value = (segment.custom or {}).get(name)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fields(cuts: Iterable[Cut]) -> set[str]:
    """Return the names of the standard fields and of the custom fields of any utterance."""
    return {*_OWN, *(key for cut in cuts for key in (supervision(cut).custom or {}))}


def check(cuts: Sequence[Cut], where: str = "", *, speech: bool = True) -> None:
    """Raise one `AsrLabError` that lists every violation of the utterance contract.

    Audio that is not `speech`, such as noise, needs no supervision.
    """
    problems: list[str] = []
    if not cuts:
        problems.append("it holds no utterance")
    duplicates = [id for id, n in Counter(cut.id for cut in cuts).items() if n > 1]
    if duplicates:
        problems.append(f"{len(duplicates)} duplicate ids: {listing(sorted(duplicates))}")
    invalid = [f"{cut.id} ({cut.start} + {cut.duration})" for cut in cuts if not _has_valid_times(cut)]
    if invalid:
        problems.append(f"{len(invalid)} utterances with an invalid start or duration (s): {listing(invalid)}")
    several = [cut.id for cut in cuts if len(cut.supervisions) != 1 and speech]
    if several:
        problems.append(
            f"{len(several)} utterances without exactly one supervision: {listing(several)}; "
            "Lhotse's cuts.trim_to_supervisions() makes one utterance of each"
        )
    single = [cut for cut in cuts if len(cut.supervisions) == 1 and speech]
    outside = [f"{cut.id} ({_span(cut)})" for cut in single if _has_valid_times(cut) and not _is_inside(cut)]
    if outside:
        problems.append(f"{len(outside)} utterances whose supervision is not inside the cut (s): {listing(outside)}")
    untranscribed = [cut.id for cut in single if not text(cut).strip()]
    if untranscribed:
        problems.append(f"{len(untranscribed)} utterances without a transcript: {listing(untranscribed)}")
    anonymous = [cut.id for cut in single if not supervision(cut).speaker]
    if anonymous:
        problems.append(f"{len(anonymous)} utterances without a speaker: {listing(anonymous)}")
    if problems:
        raise AsrLabError("the manifest breaks the utterance contract: " + "; ".join(problems), where=where)


def _has_valid_times(cut: Cut) -> bool:
    return _are_times(cut.start, cut.duration) and cut.start >= 0 and cut.duration > 0


def _is_inside(cut: Cut) -> bool:
    """Return whether the supervision of a cut is a stretch of it."""
    start, duration = supervision(cut).start, supervision(cut).duration
    if not _are_times(start, duration) or duration <= 0:
        return False
    return bool(-_OVER_S <= start < cut.duration and start + duration <= cut.duration + _OVER_S)


def _are_times(*values: Any) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _span(cut: Cut) -> str:
    segment = supervision(cut)
    return f"{segment.start} + {segment.duration} of {cut.duration}"


def check_files(cuts: Iterable[Cut], where: str = "") -> None:
    """Raise `AsrLabError` that names missing audio files; files are not opened."""
    missing = [s.source for cut in cuts for s in cut.recording.sources if not Path(s.source).is_file()]
    if missing:
        raise AsrLabError(f"{len(missing)} audio files are not there: {listing(missing, 3)}", where=where)


def write(cuts: Iterable[Cut], path: Path, *, speech: bool = True) -> CutSet:
    """Check the utterances and write them atomically, with paths relative to the manifest's folder.

    Audio that is not `speech` needs no supervision.
    """
    rows = list(cuts)
    check(rows, where=str(path), speech=speech)
    root = path.parent.resolve()
    with (
        atomic_file(path) as written,
        written.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file,
    ):  # same contents, same bytes
        for cut in rows:
            row = cut.to_dict()
            for source in row["recording"]["sources"]:
                source["source"] = os.path.relpath(source["source"], root)
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return CutSet.from_cuts(rows)


def read(path: Path | str, *, speech: bool = True) -> CutSet:
    """Read and check a manifest, with absolute audio paths.

    Raises `AsrLabError` if the file is missing, truncated or not a manifest, or violates the utterance contract.
    """
    path = Path(path)
    cuts: list[Cut] = []
    _each_row(path, lambda row: cuts.append(_built(row)))
    check(cuts, where=str(path), speech=speech)
    return CutSet.from_cuts(cuts)


def digest_rows(path: Path, look: Callable[[Mapping[str, Any]], None]) -> str:
    """Call `look` with each row of a manifest of speech, with absolute audio paths, and return its `digest`.

    No cuts are built, which is several times as fast as `read` and `digest`. Raises `AsrLabError` as `read` does if the
    file is missing or not a manifest.
    """
    lines: list[str] = []

    def add(row: dict[str, Any]) -> None:
        lines.append(_line(row, row["supervisions"][0], row["recording"]["sources"][0]["source"]))
        look(row)

    _each_row(path, add)
    return _total(lines)


def _each_row(path: Path, use: Callable[[dict[str, Any]], None]) -> None:
    """Call `use` with each row of a manifest, its audio paths absolute."""
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
            for line in file:
                use(_located(json.loads(line), root))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise AsrLabError(
            f"the manifest is cut off or not a {SUFFIX} file: {error}",
            where=str(path),
            next_command=f"asr-lab data import {shlex.quote(str(path))} OUT" if path.suffix in _IMPORTED else "",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise AsrLabError(f"a line of the manifest is not a Lhotse cut: {error!r}", where=str(path)) from error


def _located(row: dict[str, Any], root: Path) -> dict[str, Any]:
    if row.get("type") in ("MixedCut", "PaddingCut"):
        raise AsrLabError(
            f"{row.get('id')} is mixed or padded: a {row['type']} of Lhotse, not a stretch of a recording",
            allowed="cuts of one recording",
            next_command="asr-lab data import cuts MANIFEST OUT, which renders them",
        )
    for source in row["recording"]["sources"]:
        source["source"] = str(root / source["source"])  # an absolute source stays as it is
    return row


def _built(row: dict[str, Any]) -> Cut:
    kind = MultiCut if row.get("type") == "MultiCut" else MonoCut
    return kind.from_dict({key: value for key, value in row.items() if key != "type"})


def digest(cuts: Iterable[Cut]) -> str:
    """Return the digest (32 hexadecimal digits) of transcripts, speakers and audio, independent of paths and order.

    Estimated SNRs are not included. Two runs used the same test data if and only if its digests are equal. Audio is
    included by the `audio_digest` that importers write; `asr-lab data check` compares it with the files.
    """
    return _total(_identity(cut) for cut in cuts)


def _total(lines: Iterable[str]) -> str:
    sha = hashlib.sha256()
    for line in sorted(lines):
        sha.update(line.encode() + b"\n")
    return sha.hexdigest()[:DIGEST_LENGTH]


def _identity(cut: Cut) -> str:
    segment = supervision(cut) if cut.supervisions else None
    own = {name: getattr(segment, name, None) for name in (*_OWN, "custom")}
    of_cut = {name: getattr(cut, name) for name in ("id", "start", "duration", "channel")}
    return _line(of_cut, own, cut.recording.sources[0].source)


def _line(cut: Mapping[str, Any], segment: Mapping[str, Any], source: str) -> str:
    """Return what identifies an utterance, as JSON; `source` is its audio file."""
    custom = dict(segment.get("custom") or {})
    if "audio_digest" not in custom:
        custom["audio_digest"] = file_digest(Path(source))
    custom.pop(GUESSED, None)  # how a field is known, not what it is
    if custom.pop("snr_by", None):  # estimated, hence determined by the audio
        custom.pop("snr_db", None)
    identity = {
        "id": cut["id"],
        "start": round(cut["start"], 4),
        "duration": round(cut["duration"], 4),
        "channel": cut["channel"],
        **{name: segment.get(name) for name in _OWN},
        "custom": custom,
    }
    return json.dumps(identity, sort_keys=True, ensure_ascii=False)
