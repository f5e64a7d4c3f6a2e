"""The lock: what the README's commands, conda.yaml and CI install; it fits the ranges and names no address."""

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK, HASHED = ROOT / ".ci/constraints.txt", ROOT / ".ci/hashed.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(file: Path) -> list[Requirement]:
    """Each line's requirement, without hashes."""
    lines = [line.strip().removesuffix("\\").strip() for line in file.read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("--hash=")]


@pytest.mark.parametrize("file", [LOCK, HASHED], ids=lambda file: file.name)
def test_the_lock_names_no_address(file):
    for need in locked(file):
        assert need.url is None
        assert re.fullmatch(r"==[^*,]+", str(need.specifier)), need
    assert "://" not in file.read_text()


def test_both_files_have_the_same_versions():
    assert list(map(str, locked(LOCK))) == list(map(str, locked(HASHED)))
    assert HASHED.read_text().count("--hash=sha256:") > len(locked(HASHED))


def test_the_lock_has_what_is_asked_for():
    extras = PROJECT["optional-dependencies"]
    asked = [Requirement(text) for text in [*PROJECT["dependencies"], *extras["demo"], *extras["test"]]]
    for need in asked:
        name = canonicalize_name(need.name)
        if name == "asr-lab":
            continue
        versions = [str(one.specifier).removeprefix("==") for one in locked(LOCK) if one.name == name]
        assert versions, f"{name} is not locked: run .ci/lock"
        assert all(need.specifier.contains(version) for version in versions), f"{need}, locked {versions}: run .ci/lock"


def test_conda_yaml_changes_with_the_lock():
    """MLflow builds an environment anew when this file changes, not when a file it names does."""
    wanted = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    [pip] = [one["pip"] for one in wanted if isinstance(one, dict)]
    assert pip[0] == f"-c .ci/constraints.txt  # {hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def test_every_command_of_the_readme_that_installs_takes_the_lock():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^python3\.11 -m venv .*$", text, re.MULTILINE)
    assert len(commands) == 2
    assert all(
        "pip install -q -c .ci/constraints.txt" in one.replace("install -c", "install -q -c") for one in commands
    )


def test_an_old_python_is_reported_before_anything_is_downloaded():
    code = "import sys; sys.version_info = (3, 10, 1); import asr_lab.build_backend"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "3.11 or newer" in done.stderr
    assert "Traceback" not in done.stderr
