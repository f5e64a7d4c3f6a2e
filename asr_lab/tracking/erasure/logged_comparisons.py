"""Comparisons that `asr-lab compare --log` logged to runs: table, curves and page."""

from __future__ import annotations

import re
from pathlib import Path

from asr_lab.tracking import artifacts

FOLDER = "compare"
_DATA = re.compile(r'<ul>(.*?)</ul>|<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)


def read_comparison(uri: str, staging: Path) -> str:
    """Return the text of a logged comparison's table and page; "" if there is none."""
    folder = artifacts.local_folder(uri)
    if folder is None:
        repo = artifacts.repository(uri)
        for item in repo.list_artifacts(FOLDER):
            if not item.is_dir and item.path.endswith((".csv", ".html")):
                repo.download_artifacts(item.path, str(staging))
        folder = staging
    texts = []
    for path in sorted((folder / FOLDER).glob("*")):
        if path.suffix in (".csv", ".html"):
            text = path.read_text(encoding="utf-8", errors="replace")
            texts.append(text if path.suffix == ".csv" else _visible_text(text))
    return "\n".join(texts)


def _visible_text(page: str) -> str:
    """Return the sentences and data of a comparison's page without scripts; any other page unchanged."""
    return "\n".join("".join(part) for part in _DATA.findall(page)) or page
