"""The configurations of the current folder, which a message can name."""

from __future__ import annotations

from pathlib import Path

import yaml

_MOST_BYTES = 100_000
_PATTERNS = ("*.yaml", "*.yml", "experiments/*/*.yaml")
_USUAL = Path("experiments/deepspeech2/base.yaml")


def nearby_configs(*recipes: str) -> list[str]:
    """Return the configurations of these recipes (of any, without) in the folder and below `experiments`.

    Those of the folder come first, then the usual one.
    """
    paths = [path for pattern in _PATTERNS for path in sorted(Path().glob(pattern), key=lambda path: path != _USUAL)]
    return [str(path) for path in paths if (recipe := _recipe(path)) and (recipe in recipes or not recipes)]


def _recipe(path: Path) -> str:
    """Return the recipe that a file names, "" if it names none or is no configuration."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # reads every value as text
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return ""
    return str(content.get("recipe", "")) if isinstance(content, dict) else ""
