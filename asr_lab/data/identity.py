"""What identifies an utterance and a manifest, without lhotse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asr_lab.errors import AsrLabError

SUFFIX = ".jsonl.gz"
FOLDER = ".tables"
"""Where the tables of manifests are, beside them."""
OWN = ("speaker", "gender", "language", "text")
"""Fields of a supervision itself; all others are in its `custom`."""
GUESSED = "guessed"
"""Custom field: the guessed fields, separated by commas (`data.guesses`)."""
OVER_S = 0.02
"""Tolerance for supervisions that end after their cut, by rounding."""
DIGEST_LENGTH = 32  # hexadecimal digits; MLflow refuses digests of more than 36 characters


def file_digest(path: Path) -> str:
    """Return the SHA-256 (32 hexadecimal digits) of a file; raises `AsrLabError` if it is missing."""
    if not path.is_file():
        raise AsrLabError("no such file", where=str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]


def bytes_digest(content: bytes) -> str:
    """Return the SHA-256 (32 hexadecimal digits) of the contents of a file."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def digest_of(lines: Iterable[str]) -> str:
    """Return the digest of the lines that identify utterances, in any order."""
    sha = hashlib.sha256()
    for line in sorted(lines):
        sha.update(line.encode() + b"\n")
    return sha.hexdigest()[:DIGEST_LENGTH]


def identity(cut: Mapping[str, Any], segment: Mapping[str, Any], source: str) -> str:
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
        **{name: segment.get(name) for name in OWN},
        "custom": custom,
    }
    return json.dumps(identity, sort_keys=True, ensure_ascii=False)
