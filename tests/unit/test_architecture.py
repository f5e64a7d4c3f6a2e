"""Imports point down: the rooms of asr_lab and the arrows between them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import asr_lab

PACKAGE = Path(asr_lab.__file__).parent

# a room may import from its own level and from those below
LEVELS = (
    ("cli", "__main__", "mlflow_run"),
    ("sweeps", "serving", "tracking", "engines"),
    ("recipes",),
    ("training",),
    ("interfaces", "reports"),
    ("models",),
    ("decoding", "metrics"),
    ("data",),
    ("config",),
    ("build_backend",),
    ("system",),
    ("families",),
    ("errors", "units", ""),
)
LEVEL = {room: height for height, rooms in enumerate(reversed(LEVELS)) for room in rooms}
ONLY_IN = {
    "mlflow": {"tracking", "serving"},
    "optuna": {"sweeps"},
    "click": {"cli"},
    "submitit": {"engines"},
    "ray": {"engines"},
}


def imports_of(file: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file):
    room = room_of(file)
    for name in imports_of(file):
        parts = name.split(".")
        if parts[0] == "asr_lab" and len(parts) > 1:
            target = parts[1] if parts[1] in LEVEL else ""
            assert LEVEL[target] <= LEVEL[room], f"{room} imports {name}, which lies above it"
        elif parts[0] in ONLY_IN and room != "mlflow_run":
            assert room in ONLY_IN[parts[0]], f"{room} imports {name}"


SAME_PART = {
    "plan.py",
    "train.py",
    "evaluate.py",
    "scoring.py",
    "network.py",
    "recognizer.py",
    "batches.py",
    "config.py",
}
"""What each recipe, or each kind of model, has one of."""


def test_a_name_means_one_file_in_a_room():
    names: dict[tuple[str, str], list[str]] = {}
    for file in FILES:
        path = file.relative_to(PACKAGE)
        if len(path.parts) > 1 and path.name not in SAME_PART | {"__init__.py"}:
            names.setdefault((path.parts[0], path.name), []).append(str(path))
    assert not [paths for paths in names.values() if len(paths) > 1]


def test_rooms_form_no_cycle():
    arrows: dict[str, set[str]] = {}
    for file in FILES:
        for name in imports_of(file):
            parts = name.split(".")
            if parts[0] == "asr_lab" and len(parts) > 1 and parts[1] in LEVEL:
                arrows.setdefault(room_of(file), set()).add(parts[1])
    for room, targets in arrows.items():
        for target in targets - {room}:
            assert room not in arrows.get(target, set()), f"{room} and {target} import each other"


def test_showing_runs_and_splitting_manifests_import_no_torch():
    modules = (
        "asr_lab.cli.data.split",
        "asr_lab.data.audio_findings",
        "asr_lab.data.curriculum",
        "asr_lab.data.relocation",
        "asr_lab.data.split_statistics",
        "asr_lab.reports.splits",
        "asr_lab.cli.runs.compare",
        "asr_lab.cli.runs.list_show",
        "asr_lab.tracking.queries.runs",
        "asr_lab.tracking.queries.overview",
        "asr_lab.tracking.queries.run_details",
        "asr_lab.tracking.spool.sync",
    )
    heavy = "{'torch', 'transformers', 'lhotse'} & set(sys.modules)"
    code = "\n".join(["import sys", *(f"import {one}; assert not {heavy}" for one in modules)])
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_starts_without_rich():
    code = "import sys, asr_lab.__main__, asr_lab.cli, asr_lab.cli.stopped; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


PRINTS = {"system/terminal.py", "cli/options.py", "cli/tables.py", "cli/guide.py"}
"""Where text is made fit for a terminal, and where what is made so is printed; all else prints by these."""
OTHER_PROCESS = {
    "mlflow_run.py",
    "cli/stopped.py",
    "data/synthesis/worker.py",
    "system/libraries.py",
    "system/threads.py",
}
"""Files that print in processes of their own, or what has no names in it."""


def test_text_is_printed_in_one_way_and_only_templates_are_markup():
    for file in FILES:
        path = file.relative_to(PACKAGE).as_posix()
        if path in PRINTS:
            continue
        assert not [name for name in imports_of(file) if name.startswith(("rich.console", "rich.markup"))], path
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        for call in calls:
            name, first = ast.unparse(call.func), ast.unparse(call.args[0]) if call.args else ""
            assert name not in ("click.echo", "click.secho", "click.style", "Text.from_markup"), path
            assert name != "print" or path in OTHER_PROCESS or first.startswith("visible("), path
            assert name not in ("click.confirm", "click.prompt") or first.startswith("one_line("), path
            if call.args and name.endswith((".say", ".status", ".add_task")):
                formatted = [part for part in ast.walk(call.args[0]) if isinstance(part, ast.JoinedStr)]
                assert not formatted, f"{path}: a name in a template is markup; give it as a value"
            markup = [ast.unparse(word.value) for word in call.keywords if word.arg == "markup"]
            assert markup in ([], ["False"]), path
            assert path == "reports/table.py" or not name.endswith(".to_csv"), f"{path}: csv_text writes CSV"
