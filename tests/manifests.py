"""Lines of made-up manifests, without audio."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TEXTS = ["가나 다.", 'she said "no"', "back\\slash", "tab\tbell\x07", "é ’ 🎈", " spaced  out "]


def row(number: int, **custom: Any) -> dict[str, Any]:
    """An utterance of `all.jsonl.gz`, the same for the same number."""
    draw = random.Random(number)
    id, duration = f"u{number:04d}", draw.choice([1, 2.0, 3.0160625, 0.00012, 4.12345678, 7.3])
    segment: dict[str, Any] = {
        "id": id,
        "recording_id": "r",
        "start": 0.0,
        "duration": duration,
        "channel": 0,
        "text": draw.choice(TEXTS),
        "language": draw.choice(["ko", None]),
        "speaker": f"s{number % 7}",
        "custom": {"audio_digest": f"{number:032x}", "age": draw.randrange(5, 50), **custom},
    }
    if number % 2:
        segment["gender"] = "f"
    audio = {
        "id": "r",
        "sources": [{"type": "file", "channels": [0], "source": f"audio/{number % 3}.wav"}],
        "sampling_rate": 16000,
        "num_samples": 16000 * 1000,
        "duration": 1000.0,
        "channel_ids": [0],
    }
    start = draw.choice([0, 0.0, 12.3456789, 30.5])
    return {"id": id, "start": start, "duration": duration, "channel": 0, "supervisions": [segment], "recording": audio}


def written(path: Path, rows: Iterable[dict[str, Any] | str], **format: Any) -> Path:
    """Write rows, or lines as they are, to a compressed manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, ensure_ascii=False, **format) if isinstance(one, dict) else one for one in rows]
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))
    return path
