"""The code of a run beyond its commit: a patch of what was not committed, and the installed packages."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from asr_lab.system.visible_text import one_line

PATCH, PACKAGES = "code/changes.patch", "code/packages.txt"
_MOST = 1_000_000  # bytes of a patch
_MOST_OF_FILE = 200_000
_BATCH = 50  # files compared by one call of git
_PATIENCE_S = 20.0
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
    r"|\bBearer\s+[\w.~+/-]{16,}|\bBasic\s+(?=\S*\d)[\w+/]{16,}"
    r"|(?:password|passwd|secret|token|api_?key|access_?key)[\"'\])]*\s*[:=]\s*"
    r"(?:[\"'][^\s\"'{$<]{8,}[\"']"
    r"|(?=\S*\d)(?=\S*[a-z])[^\s()\[\]{}\"'$<,;._]{10,},?[ \t]*(?:#.*)?\r?$)",  # without quotes, as in YAML
    re.IGNORECASE | re.MULTILINE,
)
_NOT_TEXT = re.compile(
    r"^(Binary files .* differ|GIT binary patch|\+Subproject commit \w+-dirty)$|[\ud800-\udfff]", re.MULTILINE
)
_DIFF = "diff --git "
_PART = re.compile(r"^(?=diff --git |\* Unmerged path )", re.MULTILINE)
_AS_EVER = [
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--submodule=short",
    "--src-prefix=a/",
    "--dst-prefix=b/",
]
_LEFT_OUT = "left out: "
_SECRET_NAME = re.compile(r"PASSW|TOKEN|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE)


def checkout(file: Path = Path(__file__)) -> Path | None:
    """Return the root of the git checkout that a file, by default this one, is tracked in; None if there is none.

    A repository that an installation merely lies in, as in its `.venv`, does not track it.
    """
    tracked = git(file.parent, "ls-files", "--error-unmatch", "--", file.name)
    root = git(file.parent, "rev-parse", "--show-toplevel").removesuffix("\n") if tracked else ""
    return Path(root) if root else None


def patch(file: Path = Path(__file__)) -> str:
    """Return what `git apply` makes of the commit what lies in the checkout of this code; "" if nothing differs.

    Untracked source files are in it. Binary, large, data and secret files are not, nor what is not UTF-8; lines before
    the first diff name them. It takes seconds at most: what git has not compared by then is left out.
    """
    deadline = time.monotonic() + _PATIENCE_S
    root = checkout(file)
    if root is None:
        return ""
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"  # of its own: the user's is not touched

        def run(*words: str) -> str:
            return git(root, *words, index=index, timeout_s=deadline - time.monotonic())

        own = Path(run("rev-parse", "--absolute-git-dir").removesuffix("\n")) / "index"
        if own.is_file():
            shutil.copy2(own, index)  # with its time: git reads files again that are no older than their index
        untracked = _names(run("ls-files", "--others", "--exclude-standard", "-z"))
        new = [name for name in untracked if _is_small_source(root, name)]
        for start in range(0, len(new), 500):
            run("add", "--intent-to-add", "--", *new[start : start + 500])
        names = {*untracked, *_names(run("diff", "HEAD", "--name-only", "-z", "--no-renames"))}
        diffs = _diffs(run, sorted(filter(_is_source, names)))
    notes = [f"{_LEFT_OUT}{one_line(name)}" for name in sorted(names - diffs.keys())[:200]]
    return "\n".join([*notes, "".join(diffs.values())]) if names else ""


def _diffs(run: Callable[..., str], names: list[str]) -> dict[str, str]:
    """Return name -> diff of the files that may be in a patch, until it is full."""
    kept: dict[str, str] = {}
    size = 0
    for start in range(0, len(names), _BATCH):
        diffs: dict[str, str] = {}
        for part in _PART.split(run("diff", "HEAD", *_AS_EVER, "--", *names[start : start + _BATCH])):
            if part.startswith(_DIFF):  # a file that became a link has two
                diffs[_name(part)] = diffs.get(_name(part), "") + part
        for name, text in diffs.items():
            if len(text) > _MOST_OF_FILE or _NOT_TEXT.search(text) or has_secret(text):
                continue
            size += len(text)
            if size > _MOST:
                return kept
            kept[name] = text
    return kept


def _name(diff: str) -> str:
    """Return the file of `diff --git a/x b/x`, of which git quotes unusual names as C does."""
    both = diff.partition("\n")[0].removeprefix(_DIFF)
    name = both[len(both) // 2 + 1 :]
    if name.startswith('"'):
        name = ast.literal_eval(f"b{name}").decode("utf-8", "surrogateescape")
    return name.removeprefix("b/")


def _is_source(name: str) -> bool:
    return Path(name).suffix in _SOURCES and not _SECRET_FILE.search(name)


def _is_small_source(root: Path, name: str) -> bool:
    file = root / name
    return _is_source(name) and file.is_file() and not file.is_symlink() and file.stat().st_size <= _MOST_OF_FILE


def left_out(text: str) -> list[str]:
    """Return the files that differ and are not in a patch."""
    head = text.partition(_DIFF)[0]
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
    """Return the installed packages, as `pip install -r` reads them; those that no index has are comments.

    These are asr_lab itself, and what was installed from a folder, file or repository.
    """
    lines = {}
    for one in distributions():
        if name := one.metadata["Name"]:
            local = name.replace("-", "_") == "asr_lab" or one.read_text("direct_url.json")
            lines[name] = f"{'# ' if local else ''}{name}=={one.version.partition('+')[0]}\n"
    return "".join(lines[name] for name in sorted(lines, key=str.lower))


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


def git(folder: Path, *words: str, index: Path | None = None, timeout_s: float = 10.0) -> str:
    """Return what git prints, with bytes that are not UTF-8 as surrogates; "" if it fails. File names are no patterns.

    It locks nothing, and compares no files of more than 4 MB whose sizes differ. `index` replaces the checkout's own.
    """
    try:
        done = subprocess.run(
            ["git", "-c", "core.quotepath=on", "-c", "core.bigFileThreshold=4m", "--literal-pathspecs", *words],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"} | ({"GIT_INDEX_FILE": str(index)} if index else {}),
            capture_output=True,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""
