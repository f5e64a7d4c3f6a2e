"""The libraries asr_lab needs: which were tested together, whether those installed load, and what mends them.

torch and torchaudio are coupled in binary form, and their own requirements do not say so: torchaudio 2.11.1 asks for
`torch>=2.11`, and beside torch 2.11.0 it does not load (undefined symbol). No resolver sees that, so it is found by
loading them: where a command needs them anyway (`require`, `explain`), or in a process of its own (`load_errors`).
Nothing is imported here otherwise, so all of this works where torch cannot be imported at all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from asr_lab.errors import AsrLabError

PAIR = ("torch", "torchaudio")
TESTED = (("2.14.1", "2.11.1"), ("2.15.0", "2.11.1"), ("2.11.0", "2.11.0"))
"""Versions of `PAIR` that passed the tests together, the lock's first. `.ci/newest` tries others."""

COUPLED_TOO = ("torchvision", "torchcodec")
"""Built against one torch as well. Nothing here needs them, but transformers imports what is there."""

_OURS = "asr_lab"
_OUR_FOLDER = Path(__file__).parents[1]
_MISSING = "not installed"
_PYTORCH_WHEELS = "https://download.pytorch.org/whl/"  # what a version's label (+cpu, +cu130) comes from
_SECONDS = 180  # a cold disk reads 5 GB
_LOAD = """
import importlib, json, sys
for name in sys.argv[1:]:
    print(json.dumps(name), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        while error.__cause__:
            error = error.__cause__
        print(json.dumps([name, f"{type(error).__name__}: {error}"]), flush=True)
"""


class BrokenLibraryError(AsrLabError):
    """A library that is missing or does not load: a line with what is installed, what fits, and what mends it."""

    def __str__(self) -> str:
        fits = f"; {self.allowed}" if self.allowed else ""
        reason = f" ({self.hint})" if self.hint else ""
        return f"{self.what}{reason}{fits}: {self.next_command}"


def installed(name: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return _MISSING


def is_tested_pair() -> bool:
    """Whether torch and torchaudio are installed in versions that were tested together."""
    return tuple(_release(installed(name)) for name in PAIR) in TESTED


def tested_pairs() -> str:
    """Format combinations: `torch 2.14.1 with torchaudio 2.11.1, ...`."""
    return ", ".join(f"torch {torch} with torchaudio {torchaudio}" for torch, torchaudio in TESTED)


def require() -> None:
    """Import torch and torchaudio; raises `BrokenLibraryError` when they do not load.

    Called before a run begins, so that none is begun in vain; what needs them has imported them by then.
    """
    for name in PAIR:
        try:
            import_module(name)
        except Exception as error:
            raise _broken(name, error) from error


def load_errors(modules: Iterable[str] = PAIR) -> dict[str, str]:
    """Import each module in a new process; return module -> error, of those that fail.

    A process that crashes, or hangs for three minutes, is an error of the module that it was importing.
    """
    names = list(modules)
    errors: dict[str, str] = {}
    while names:
        last, new_errors, ending = _load(names)
        errors |= new_errors
        if not ending:
            break
        errors[last] = ending
        names = names[names.index(last) + 1 :]
    return errors


def _load(names: Sequence[str]) -> tuple[str, dict[str, str], str]:
    """(The module tried last, errors, how the process ended if it did not end by itself)."""
    command = [sys.executable, "-c", _LOAD, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        out, ending = done.stdout, f"the process ended with {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        out, ending = str(error.stdout or b"", "utf-8", "replace"), f"not loaded after {_SECONDS} s"
    lines = [json.loads(line) for line in out.splitlines() if line[:1] in ('"', "[")]
    tried = [line for line in lines if isinstance(line, str)] or list(names[:1])
    return tried[-1], dict(line for line in lines if isinstance(line, list)), ending


def check(modules: Iterable[str] = PAIR) -> None:
    """Raise `BrokenLibraryError` when one of the modules does not load in a process of its own."""
    for name, text in load_errors(modules).items():
        raise mend(name, text)


def explain(error: BaseException) -> BrokenLibraryError | None:
    """Return advice on an error that was raised while a library was imported; None for any other error."""
    for one in _chain(error):
        if (name := _library(one)) and not isinstance(one, MemoryError):
            return _broken(name, one)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it was raised from, the first cause first: transformers wraps what failed."""
    errors = [error]
    while (cause := errors[-1].__cause__) and cause not in errors:
        errors.append(cause)
    return reversed(errors)


def _library(error: BaseException) -> str:
    """The library in whose import an error was raised, or ""."""
    name = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        is_ours = Path(frame.f_code.co_filename).is_relative_to(_OUR_FOLDER)  # MLflow calls one `code_model_ID`
        if frame.f_code.co_name == "<module>" and _is_library(module) and not is_ours:
            name = module
    if isinstance(error, ImportError) and error.name and not name:
        missing = error.name.partition(".")[0]
        name = missing if _is_library(missing) else ""
    return name


def _is_library(module: str) -> bool:
    return bool(module) and module not in sys.stdlib_module_names and module not in ("__main__", "__mp_main__", _OURS)


def _broken(module: str, error: BaseException) -> BrokenLibraryError:
    missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == module
    first = next(_chain(error))  # torch says "could not load this library", its cause says why
    return mend(module, "" if missing else f"{type(first).__name__}: {first}")


def mend(module: str, text: str) -> BrokenLibraryError:
    """Return advice on a module whose import raised an error with this text ("": it is not installed)."""
    name, needs = _distribution(module), requirements()
    hint = text.strip().splitlines()[0][:200] if text.strip() else ""
    wrong = [need for need in needs.values() if not need.is_met]
    if name in PAIR:
        wrong = [need for need in wrong if need.name not in PAIR and need.by & set(PAIR)]  # such as CUDA's libraries
        if not wrong or not is_tested_pair():
            return _mend_pair(hint)
    has = installed(name)
    what = f"{name} is {_MISSING}" if has == _MISSING else f"{name} {has} does not load"
    if name not in needs and not _asked_for(name):
        if has == _MISSING:
            return BrokenLibraryError(what, next_command=f"{installer()} install {name}")
        what += ", and asr_lab does not need it"
        return BrokenLibraryError(what, hint=hint, next_command=f"{installer()} uninstall {name}")
    if wrong:
        return BrokenLibraryError(
            what,
            hint=hint,
            allowed="; ".join(str(need) for need in wrong),
            next_command=install_command(wrong),
        )
    if has == _MISSING:
        return BrokenLibraryError(what, next_command=f"{installer()} install '{name}{_asked_for(name)}'")
    return BrokenLibraryError(
        what,
        hint=hint,
        allowed="its version fits, so its files are broken",
        next_command=f"{installer()} install --force-reinstall --no-deps {name}=={has}",
    )


def _mend_pair(hint: str) -> BrokenLibraryError:
    """torch and torchaudio: the tested companion of the torch that is there, else the lock's pair."""
    has = {name: installed(name) for name in PAIR}
    fits = next((pair for pair in TESTED if pair[0] == _release(has["torch"])), TESTED[0])
    wanted, build = dict(zip(PAIR, fits, strict=True)), _build(has["torch"])
    label = f"+{build}" if build else ""
    change = [name for name in PAIR if has[name] != wanted[name] + label]
    missing = [name for name in PAIR if has[name] == _MISSING]
    versions = " and ".join(f"{name} {number}" for name, number in has.items())
    same = all(_release(has[name]) == wanted[name] for name in PAIR)  # pip would find nothing to do
    words = [installer(), "install", *(["--force-reinstall", "--no-deps"] if same else [])]
    words += [f"{name}=={wanted[name]}" for name in change or PAIR]
    words += ["--index-url", f"{_PYTORCH_WHEELS}{build}"] if build else []
    return BrokenLibraryError(
        f"{missing[0]} is {_MISSING}" if missing else f"{versions} do not load together",
        hint=hint,
        allowed=" with ".join(f"{name} {number}{label}" for name, number in wanted.items()) + " fits",
        next_command=" ".join(words),
    )


@dataclass(frozen=True)
class Need:
    """A requirement of asr_lab, or of the libraries that it needs (`by`)."""

    name: str
    wanted: SpecifierSet
    by: frozenset[str]
    has: str

    @property
    def is_met(self) -> bool:
        return self.has != _MISSING and self.wanted.contains(self.has, prereleases=True)

    def __str__(self) -> str:
        return f"{self.name} {self.has}, needed: {self.range or 'any'}"

    @property
    def range(self) -> str:
        """`>=2.0.2,<2.7`: of several bounds the one that holds all."""
        lower = [one for one in self.wanted if one.operator == ">="]
        upper = [one for one in self.wanted if one.operator == "<"]
        rest = [one for one in self.wanted if one not in (*lower, *upper)]
        bounds = [max(lower, key=_bound)] if lower else []
        bounds += [min(upper, key=_bound)] if upper else []
        return ",".join(map(str, [*bounds, *rest]))


def install_command(needs: Iterable[Need]) -> str:
    """Return the command that installs the versions that are needed."""
    return f"{installer()} install " + " ".join(f"'{need.name}{need.range}'" for need in needs)


def requirements() -> dict[str, Need]:
    """Everything that asr_lab needs here, directly or not, by name; of several ranges their intersection."""
    needs: dict[str, Need] = {}
    waiting = [(_OURS, "")]
    seen = set(waiting)
    while waiting:
        by, extra = waiting.pop()
        for need in _asks(by, extra):
            name = canonicalize_name(need.name)
            before = needs.get(name)
            wanted = need.specifier & before.wanted if before else need.specifier
            needs[name] = Need(name, wanted, frozenset({by}) | (before.by if before else set()), installed(name))
            if needs[name].is_met:  # else another version comes in its place, which may ask for other things
                new = {(name, one) for one in ("", *need.extras)} - seen
                seen |= new
                waiting += new
    return needs


def _bound(one: Specifier) -> Version:
    return Version(one.version)


def _asks(name: str, extra: str) -> list[Requirement]:
    """Return the requirements of an installed distribution, or of one of its extras, that apply here."""
    try:
        asked = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        return []
    return [need for need in asked if need.marker is None or need.marker.evaluate({"extra": extra})]


def _asked_for(name: str) -> str:
    """The range in which asr_lab or one of its extras asks for a package, or ""."""
    try:
        asked = [Requirement(text) for text in requires(_OURS) or []]
    except PackageNotFoundError:
        return ""
    return next((str(need.specifier) for need in asked if canonicalize_name(need.name) == name), "")


def _release(text: str) -> str:
    """`2.14.1` of `2.14.1+cpu`."""
    try:
        return Version(text).base_version
    except InvalidVersion:
        return text


def _build(text: str) -> str:
    """`cpu` of `2.14.1+cpu`: the build, and the folder of its wheels."""
    return text.partition("+")[2]


def _distribution(module: str) -> str:
    """The distribution that a module is from: `pyyaml` for `yaml`."""
    return canonicalize_name(next(iter(packages_distributions().get(module, [])), module))


def installer() -> str:
    """The installer of this environment: those of uv have no pip."""
    return "pip" if find_spec("pip") else "uv pip"
