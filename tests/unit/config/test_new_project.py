"""`asr-lab init`: configurations that load as they stand, nothing replaced, and what the package must ship."""

from __future__ import annotations

import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import corpora
import pytest
from conftest import ROOT, ok, refused

from asr_lab.config.load import load
from asr_lab.config.new_project import STARTERS, make_project
from asr_lab.data import manifest
from asr_lab.data.pronunciation import check_pronunciations
from asr_lab.data.text_files import read_table
from asr_lab.errors import AsrLabError


@pytest.mark.parametrize("family", STARTERS)
def test_the_configurations_of_a_family_load_as_they_stand(family, tmp_path, monkeypatch):
    project = make_project(tmp_path / "mine", family)
    monkeypatch.chdir(tmp_path / "mine")
    configs = [name for name in project.written if name.endswith(".yaml")]
    assert load(Path(configs[-1]), {}).recipe == family
    for name in configs:
        config = load(Path(name), {})
        assert name == f"{config.recipe}.yaml"
        assert config.recipe in ("adapter", "sweep") or config.run.register_as.startswith("mine")


@pytest.mark.parametrize("family", STARTERS)
def test_the_commands_that_follow_name_files_that_are_there(family, tmp_path):
    project = make_project(tmp_path, family)
    named = {word for command in project.commands for word in command.split() if word.endswith((".yaml", ".jsonl"))}
    assert named <= set(project.written)
    assert project.commands[0].split()[3] == STARTERS[family].table


def test_the_sample_table_is_read_as_it_stands(store):
    ok("init", "나의 프로젝트")
    folder = store / "나의 프로젝트"
    for row in read_table(folder / "table.csv"):
        corpora.sound(folder / row.values["audio"])
    ok("data", "import", folder / "table.csv", folder / "corpora" / "mine")
    assert len(manifest.read(folder / "corpora" / "mine" / "all.jsonl.gz")) == 2
    assert load(folder / "deepspeech2.yaml", {}).run.register_as == "나의-프로젝트"


def test_the_sample_of_learners_has_consistent_labels(store):
    ok("init", "l2", "--family", "pronunciation")
    lines = (store / "l2" / "learners.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        corpora.sound(store / "l2" / json.loads(line)["audio"])
    ok("data", "import", "l2/learners.jsonl", "l2/corpora/learners")
    cuts = manifest.read("l2/corpora/learners/all.jsonl.gz")
    check_pronunciations(cuts)
    assert len(cuts) == len(lines)


def test_nothing_is_replaced(store):
    (store / "mine").mkdir()
    (store / "mine" / "table.csv").write_text("mine")
    (store / "mine" / "deepspeech2.yaml").symlink_to("nowhere.yaml")
    said = ok("init", "mine", "--family", "adapter")
    assert (store / "mine" / "table.csv").read_text() == "mine"
    assert (store / "mine" / "deepspeech2.yaml").is_symlink()
    assert not (store / "mine" / "nowhere.yaml").exists()
    assert "mine: adapter.yaml, README.md\n" in said
    assert "deepspeech2.yaml, table.csv were there before" in said


def test_what_is_no_family_or_no_folder_is_refused(store):
    with pytest.raises(AsrLabError) as error:
        make_project(Path("my project"), "currculum")
    assert error.value.next_command == "asr-lab init 'my project' --family curriculum"
    assert "pronunciation" in error.value.allowed
    assert not Path("my project").exists()
    Path("file").write_text("")
    assert "another folder" in refused("init", "file")
    assert "another folder" in refused("init", "file/below")


def test_files_that_are_not_python_are_shipped():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["asr_lab"]
    package = ROOT / "asr_lab"
    files = [path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()]
    data = [name for name in files if not name.endswith((".py", ".pyc"))]
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)] == []
