"""Studies: figures in files, with what they depend on, and the pages that quote them.

A study is `NAME.yaml` in a folder: the commands that make its data and its runs, and what was recorded of these runs.
`RESULTS.md.jinja` beside it is the text, in which `{{ NAME.LABEL["test/wer"] }}` stands for a figure.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.metrics.catalog import Format, format_of
from asr_lab.reports.numbers import format_value
from asr_lab.system.files import write_text

TEMPLATE = "RESULTS.md.jinja"
QUOTES = "quotes.yaml"
"""Lines of other pages that quote figures: page -> lines with placeholders."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Record):
    """A value, with its 95 % interval if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


class Dataset(_Record):
    """A manifest that a run used: where, and the digest of its content."""

    path: str
    digest: str


class RecordedRun(_Record):
    """The figures of a run, and what they depend on."""

    name: str
    recipe: str
    signature: str
    """Of recipe, settings and data (`config.identity.signature`)."""
    settings: dict[str, Any]
    """Dotted configuration keys that differed from the defaults."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """The keys that did not, and their values."""
    data: dict[str, Dataset]
    """By split, or by whatever else the signature counts."""
    figures: dict[str, Figure]
    """By metric."""


class Study(_Record):
    """What a study needs, how it is made, and what was measured."""

    about: str
    """The study in a few words."""
    needs: dict[str, str] = Field(default_factory=dict)
    """Folders with data that no command makes: name -> what it is and where to get it."""
    data_commands: tuple[str, ...] = ()
    """Shell commands that make the data, in an empty folder beside `experiments`."""
    commands: tuple[str, ...] = Field(min_length=1)
    """Shell commands that make the runs and the values, in the same folder."""
    files: dict[str, str] = Field(default_factory=dict)
    """Configurations that the commands name: path -> digest of what they set."""
    cheap: bool = False
    """Whether all of it is made again in some ten minutes on two cores."""
    date: datetime.date
    commit: str = ""
    versions: str = ""
    hardware: str = ""
    runs: dict[str, RecordedRun] = Field(default_factory=dict)
    """By label."""
    values: dict[str, Figure] = Field(default_factory=dict)
    """Figures of benchmarks, which are of no run, by name; ratios and plain numbers."""


def read_study(path: Path) -> Study:
    """Read a study; raises `AsrLabError` that names every wrong key."""
    return _read_yaml(path, Study)


_Read = TypeVar("_Read")


def _read_yaml(path: Path, kind: type[_Read]) -> _Read:
    """Read what a YAML file holds; raises `AsrLabError` for another content, which names all that is wrong."""
    try:
        return TypeAdapter(kind).validate_python(yaml.safe_load(_read_text(path)))
    except (yaml.YAMLError, RecursionError) as error:
        raise AsrLabError(f"not valid YAML: {error}", where=str(path)) from error
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in error.errors()]
        allowed = listing(Study.model_fields) if kind is Study else "page: [lines with placeholders]"
        what = "a study" if kind is Study else "lines of pages"
        raise AsrLabError(f"not {what}: {listing(wrong)}", where=str(path), allowed=allowed) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AsrLabError(f"the file cannot be read: {error}", where=str(path)) from error


def read_studies(folder: Path) -> dict[str, Study]:
    """Return the studies of a folder by name; raises `AsrLabError` if there is none."""
    studies = {path.stem: read_study(path) for path in sorted(folder.glob("*.yaml")) if path.name != QUOTES}
    if not studies:
        raise AsrLabError(
            "no studies here",
            where=str(folder),
            allowed="a folder of NAME.yaml, as experiments/results of a checkout of asr_lab",
            next_command="asr-lab results record LABEL=RUN --study NAME --about TEXT",
        )
    return studies


def write_study(study: Study, path: Path) -> None:
    """Write a study as YAML, with its commands as they are typed."""
    content = study.model_dump(mode="json", exclude_defaults=True)
    for run in content.get("runs", {}).values():
        run["defaults"] = _InLines(run.get("defaults", {}))
    write_text(path, yaml.dump(content, Dumper=_Yaml, sort_keys=False, allow_unicode=True, width=120))


class _Yaml(yaml.SafeDumper):
    """Writes texts of several lines as such, and figures in one line each."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _mapping(dumper: yaml.SafeDumper, content: dict[str, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", content.items())
    node.flow_style = bool(content) and (content.keys() <= {"value", "low", "high"} or isinstance(content, _InLines))
    return node


class _InLines(dict[str, Any]):
    """A mapping that is written as lines full of pairs."""


_Yaml.add_representer(str, _text)
_Yaml.add_representer(dict, _mapping)
_Yaml.add_representer(_InLines, _mapping)


class Quoted:
    """A figure as a page prints it."""

    def __init__(self, figure: Figure, how: Format) -> None:
        self._figure, self._how = figure, how

    def __str__(self) -> str:
        """`12.7 %`."""
        return _spaced(self.printed)

    @property
    def value(self) -> float:
        """The number itself, for what is computed from it."""
        return self._figure.value

    @property
    def printed(self) -> str:
        """`12.7%`, as commands print it."""
        return format_value(self._figure.value, self._how)

    @property
    def low(self) -> str:
        """The lower bound as commands print it; "-" if there is none."""
        return format_value(self._figure.low, self._how)

    @property
    def high(self) -> str:
        """The upper bound."""
        return format_value(self._figure.high, self._how)

    @property
    def interval(self) -> str:
        """`12.7 % (9.9 to 15.4)`; the value alone if there is no interval."""
        if self._figure.low is None:
            return str(self)
        return f"{self} ({self.low.removesuffix('%')} to {self.high.removesuffix('%')})"

    def format(self, spec: str) -> str:
        """The value in a format of Python: `.2f` for ratios (`1.95`), `.1%` for shares (`15.7 %`), `.0f` for counts."""
        return _spaced(format(self._figure.value, spec))

    def format_interval(self, spec: str) -> str:
        """`1.95 (1.78 to 2.12)` by `.2f`, `12.7 % (9.9 to 15.4)` by `.1%`; the value alone if there is no interval."""
        figure = self._figure
        if figure.low is None or figure.high is None:
            return self.format(spec)
        low, high = (format(bound, spec).removesuffix("%") for bound in (figure.low, figure.high))
        return f"{self.format(spec)} ({low} to {high})"


def _spaced(text: str) -> str:
    return text.replace("%", " %")


class _Figures:
    """Figures of a run or a study by name, in a template."""

    def __init__(self, where: str, figures: Mapping[str, Figure]) -> None:
        self._where, self._figures = where, figures

    def __getitem__(self, name: str) -> Quoted:
        if name not in self._figures:
            near = nearest(name, self._figures)
            raise AsrLabError(
                f"{self._where} has no figure {name!r}" + (f"; did you mean {near!r}?" if near else ""),
                allowed=listing(sorted(self._figures)),
            )
        return Quoted(self._figures[name], format_of(name))


def quoting(studies: Mapping[str, Study]) -> dict[str, dict[str, Any]]:
    """Return what a template knows: study -> its labels (figures by metric), `values`, date, versions, hardware."""
    return {
        name: {
            **{label: _Figures(f"{name}.{label}", run.figures) for label, run in study.runs.items()},
            "values": _Figures(f"{name}.values", study.values),
            "commands": _commands([*study.data_commands, *study.commands]),
            **study.model_dump(include={"date", "versions", "hardware", "commit", "about"}),
        }
        for name, study in studies.items()
    }


def _commands(commands: Iterable[str]) -> str:
    return "```sh\n" + "\n".join(command.strip() for command in commands) + "\n```"


def render_text(text: str, studies: Mapping[str, Study], where: str) -> str:
    """Fill in a page's placeholders; raises `AsrLabError` for one that names no figure, or cannot be computed."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    try:
        recorded = [name for name, study in studies.items() if study.runs or study.values]
        return environment.from_string(text).render(quoting(studies) | {"studies": recorded})
    except TemplateSyntaxError as error:
        raise AsrLabError(f"a placeholder is not understood: {error}", where=f"{where}, line {error.lineno}") from error
    except UndefinedError as error:
        raise AsrLabError(f"a placeholder names no figure: {error}", where=where, allowed=listing(studies)) from error
    except AsrLabError as error:
        raise AsrLabError(error.what, where=where, allowed=error.allowed) from error
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise AsrLabError(f"a placeholder cannot be filled in: {error}", where=where) from error


def results_page(folder: Path, studies: Mapping[str, Study]) -> str:
    """Return the page of all results, made from `TEMPLATE` and the studies."""
    template = folder / TEMPLATE
    if not template.is_file():
        raise AsrLabError(f"there is no {TEMPLATE}", where=str(folder))
    return render_text(_read_text(template), studies, str(template))


def quotes(folder: Path, studies: Mapping[str, Study]) -> dict[str, list[str]]:
    """Return the lines that other pages quote figures in, as they should stand there: page -> lines."""
    path = folder / QUOTES
    if not path.is_file():
        return {}
    content = _read_yaml(path, dict[str, list[str]])
    return {page: [render_text(line, studies, str(path)) for line in lines] for page, lines in content.items()}
