"""The code of a run beyond its commit: a patch of what was not committed, and the installed packages."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

PATCH, PACKAGES = "code/changes.patch", "code/packages.txt"
_MOST = 1_000_000  # bytes of a patch
_MOST_OF_FILE = 200_000
_SOURCES = {".py", ".pyi", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".sh", ".md", ".html", ".js", ".css", ".sql", ".c"}
_SOURCES |= {".cpp", ".cu", ".h", ".rs", ".go", ".j2", ""}
_SECRET_FILE = re.compile(
    r"(^|/)(\.env[^/]*|\.netrc|\.pgpass|id_[a-z0-9]+|[^/]*\.(pem|key|p12|pfx|keystore)|[^/]*(secret|credential|passwo?r?d)"
    r"[^/]*)$",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}"
    r"|\bhf_[A-Za-z0-9]{30,}|\bsk-[\w-]{20,}|\bxox[abps]-[\w-]{10,}|\bey[\w-]{20,}\.ey[\w-]{20,}\.[\w-]{10,}"
    r"|://[^\s/:@]*:[^\s/@{$<*]+@"
    r"|(?:password|passwd|secret|token|api_?key|access_?key)[\"']?\s*[:=]\s*[\"'][^\s\"'{$<]{8,}[\"']",
    re.IGNORECASE,
)
_BINARY = re.compile(r"^(Binary files .* differ|GIT binary patch)$", re.MULTILINE)
_AS_EVER = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
_LEFT_OUT = "left out: "
_SECRET_NAME = re.compile(r"PASSW|TOKEN|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE)


def patch(folder: Path | None = None) -> str:
    """Return what `git apply` makes of the commit what lies in the checkout of this code; "" if nothing differs.

    Untracked source files are in it. Binary, large, data and secret files are not; lines before the first diff name
    them.
    """
    root = _git(folder or Path(__file__).parent, "rev-parse", "--show-toplevel").strip()
    if not root:
        return ""
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"  # of its own: the user's is not touched
        own = Path(_git(Path(root), "rev-parse", "--absolute-git-dir").strip()) / "index"
        if own.is_file():
            shutil.copyfile(own, index)
        environment = {"GIT_INDEX_FILE": str(index)}
        untracked = _names(_git(Path(root), "ls-files", "--others", "--exclude-standard", "-z"))
        new = [name for name in untracked if _is_small_source(Path(root), name)]
        for start in range(0, len(new), 500):
            _git(Path(root), "add", "--intent-to-add", "--", *new[start : start + 500], environment=environment)
        names = _names(_git(Path(root), "diff", "HEAD", "--name-only", "-z", "--no-renames", environment=environment))
        return _joined(Path(root), sorted(names), sorted(set(untracked) - set(new)), environment)


def _joined(root: Path, names: list[str], without: list[str], environment: Mapping[str, str]) -> str:
    parts: list[str] = []
    for name in names:
        text = _git(root, "diff", "HEAD", *_AS_EVER, "--", name, environment=environment) if _is_source(name) else ""
        large = len(text) > _MOST_OF_FILE or sum(map(len, parts)) + len(text) > _MOST
        if not text or large or _BINARY.search(text) or has_secret(text):
            without.append(name)
        else:
            parts.append(text)
    notes = [f"{_LEFT_OUT}{name}" for name in without[:200]]
    return "\n".join([*notes, "".join(parts)]) if parts or notes else ""


def _is_source(name: str) -> bool:
    return Path(name).suffix in _SOURCES and not _SECRET_FILE.search(name)


def _is_small_source(root: Path, name: str) -> bool:
    file = root / name
    return _is_source(name) and file.is_file() and not file.is_symlink() and file.stat().st_size <= _MOST_OF_FILE


def left_out(text: str) -> list[str]:
    """Return the files that differ and are not in a patch."""
    head = text.partition("diff --git ")[0]
    return [line.removeprefix(_LEFT_OUT) for line in head.splitlines() if line.startswith(_LEFT_OUT)]


def digest(text: str) -> str:
    """Return eight digits that identify a patch."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def own_patch() -> str:
    """Return `patch` at the first call in this process."""
    return patch()


@cache
def packages() -> str:
    """Return the installed packages, as `pip install -r` reads them."""
    found = {one.metadata["Name"]: one.version for one in distributions() if one.metadata["Name"]}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))


def has_secret(text: str) -> bool:
    """Return whether a text has what looks like a secret, or a secret of the environment."""
    return _SECRETS.search(text) is not None or any(secret in text for secret in _of_environment())


def masked(line: str) -> str:
    """Return a line without what looks like a secret, and without secrets of the environment."""
    for secret in _of_environment():
        line = line.replace(secret, "***")
    return _SECRETS.sub("***", line)


def _of_environment() -> Iterable[str]:
    return [value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 8]


def _names(text: str) -> list[str]:
    return [name for name in text.split("\0") if name]


def _git(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", "-c", "core.quotepath=off", *words],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(environment or {})},
            capture_output=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""
