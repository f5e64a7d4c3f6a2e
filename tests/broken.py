"""Libraries that are installed and do not load."""

from pathlib import Path


def broken_library(folder: Path, name: str, version: str, code: str) -> Path:
    """A distribution whose module runs `code` when it is imported."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n")
    return folder
