"""The ways to read a source: importer, what it is taken for, options, and the command that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asr_lab.data.importers.contract import Importer, Reading
from asr_lab.data.importers.hints import quoted
from asr_lab.data.importers.source_view import Source


@dataclass(frozen=True, kw_only=True)
class Recognized:
    """The importer of a source, and why."""

    kind: str
    importer: Importer
    source: Path
    reading: Reading
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What the source was taken for, and by what: `data/train is a data folder of Kaldi's: wav.scp, text`."""
        return f"{self.source} is {self.reading.what}: {', '.join(self.reading.evidence)}"

    def with_options(self, given: Mapping[str, Any]) -> Recognized:
        """Return it with options that a user gives, which take precedence; columns of both are named."""
        merged = {
            name: {**self.settings.get(name, {}), **value} if isinstance(value, Mapping) else value
            for name, value in given.items()
        }
        return replace(self, settings={**self.settings, **merged})

    def command(self, out: Path) -> str:
        """Return the command that names the importer and its options."""
        words = ["asr-lab data import", self.kind]
        options = {one.name: one for one in self.importer.options}
        words += [str(self.settings[name]) for name, option in options.items() if option.positional]
        words += [quoted(str(self.source)), quoted(str(out))]
        for name, value in self.settings.items():
            if (option := options[name]).positional:
                continue
            words += [option.alias or option.flag, *([] if value is True else [quoted(_text(value))])]
        return " ".join(words)


def _text(value: Any) -> str:
    """Return the value of an option as it is typed."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={one}" for key, one in value.items())
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def readings(source: Source, importers: Mapping[str, Importer]) -> list[Recognized]:
    """Return the ways to read a source; those of general layouts only if it has none of its own."""
    matches = [
        Recognized(
            kind=kind,
            importer=importer,
            source=source.file(reading.file) if reading.file else source.path,
            reading=reading,
            settings=reading.settings,
        )
        for kind, importer in importers.items()
        for reading in importer.readings(source)
    ]
    own = [one for one in matches if not one.reading.is_general]
    return own or matches
