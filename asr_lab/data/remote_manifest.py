"""Manifests behind a URL of fsspec (`s3://bucket/corpus/train.jsonl.gz`), copied to this machine to be read.

The audio stays where it is: the copy has its URLs. A copy is known by the version of the file, and made anew when that
changes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

from asr_lab.data.audio_places import opened_url, url_of
from asr_lab.errors import AsrLabError, reason
from asr_lab.system.files import atomic_file

_COMPRESSION = 3  # of gzip


def local_manifest(path: Path | str) -> Path:
    """Return a manifest as a file of this machine: the path itself, or the copy of what is at a URL.

    Raises `AsrLabError` if there is none at the URL.
    """
    url = url_of(path)
    if not url:
        return Path(path)
    try:
        system, place = opened_url(url)
        version = str(system.ukey(place))
        folder = _cache() / hashlib.sha256(f"{url} {version}".encode()).hexdigest()[:32]
        copy = folder / url.rpartition("/")[2]
        if not copy.is_file():
            content = gzip.decompress(system.cat_file(place))
            _write(content, url.rpartition("/")[0], copy)
    except AsrLabError:
        raise
    except FileNotFoundError:
        raise AsrLabError("no such manifest", where=url, next_command="asr-lab data shard --help") from None
    except Exception as error:  # of any service
        raise AsrLabError(f"the manifest cannot be read: {reason(error)}", where=url) from error
    return copy


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "asr-lab", "manifests")


def _write(content: bytes, root: str, copy: Path) -> None:
    with atomic_file(copy) as written, gzip.open(written, "wb", _COMPRESSION) as file:
        for line in content.splitlines():
            row = json.loads(line)
            for source in row["recording"]["sources"]:
                source["source"] = source["source"] if url_of(source["source"]) else f"{root}/{source['source']}"
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
