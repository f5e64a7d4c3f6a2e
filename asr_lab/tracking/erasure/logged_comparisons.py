"""What `asr-lab compare --log` left among the artifacts of runs: table, curves and page of all that were compared."""

from __future__ import annotations

import re
from pathlib import Path

from asr_lab.tracking import artifacts

FOLDER = "compare"
_DATA = re.compile(r'<ul>(.*?)</ul>|<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)


def read_comparison(uri: str, staging: Path) -> str:
    """What table and page of a comparison say, wherever the artifacts lie; "" when there is none."""
    folder = artifacts.local_folder(uri)
    if folder is None:
        repo = artifacts.repository(uri)
        for item in repo.list_artifacts(FOLDER):
            if not item.is_dir and item.path.endswith((".csv", ".html")):
                repo.download_artifacts(item.path, str(staging))
        folder = staging
    found = []
    for path in sorted((folder / FOLDER).glob("*")):
        if path.suffix in (".csv", ".html"):
            text = path.read_text(encoding="utf-8", errors="replace")
            found.append(text if path.suffix == ".csv" else _visible_text(text))
    return "\n".join(found)


def _visible_text(page: str) -> str:
    """The sentences and data of a comparison's page without its programme; all of another page."""
    return "\n".join("".join(part) for part in _DATA.findall(page)) or page
