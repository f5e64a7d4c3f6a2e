"""Train an n-gram language model on text files and manifests, as an ARPA file; registered on request."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from asr_lab.config.schema import LanguageModelExperiment
from asr_lab.data import columns, manifest, text_files
from asr_lab.data.identity import DIGEST_LENGTH
from asr_lab.data.table_utterances import Utterances
from asr_lab.data.text import TextNormalizer
from asr_lab.data.transcript_marks import DUAL
from asr_lab.decoding import arpa, ngram
from asr_lab.decoding.ngram import NgramModel, Units, split_text
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import Dataset, ModelStore, RegisteredModel, Tracker
from asr_lab.recipes.recipe import Recipe
from asr_lab.recipes.run_spec import describe
from asr_lab.reports.summary import Summary
from asr_lab.system.files import explain_unwritable
from asr_lab.system.terminal import Console
from asr_lab.units import counted

_TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class Sentences:
    """Normalised sentences of one or more sources; empty ones are left out."""

    texts: Sequence[str]
    empty: int = 0

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class TestFigures:
    """Figures of a model on the sentences of one source."""

    perplexity: float
    """Per unit of the model, the end of each sentence counted; unknown ones count as `<unk>`."""
    units: int
    unknown: int
    """Units that the model does not have."""
    sentences: int
    known: int
    """Sentences that are in the text of the model."""

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity:.1f}, {self.unknown} of {self.units} unknown, "
            f"{self.known} of {self.sentences} sentences in the text"
        )


@dataclass(frozen=True)
class LanguageModelPlan:
    """Normalised text, and the model that was trained on it."""

    config: LanguageModelExperiment
    sentences: Sentences
    model: NgramModel
    header: arpa.Header
    tests: Mapping[str, TestFigures]
    warnings: list[str] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, str]:
        """Return label -> property of the model."""
        counts = [sum(len(one) == n for one in self.model.probabilities) for n in range(1, self.header.order + 1)]
        return {
            "model": f"{self.header.order}-gram of {self.header.units}, {len(self.model.words)} of them; "
            f"n-grams {' / '.join(map(str, counts))}",
            "text": f"{self.header.sentences} sentences of {self.header.words} {self.header.units}, "
            f"{self.header.text}, digest {self.header.digest[:8]}",
            "unknown": f"log10 probability {self.model.log10(ngram.UNKNOWN):.2f}",
            **{Path(path).name: str(figures) for path, figures in self.tests.items()},
        }

    @property
    def summary(self) -> Summary:
        return Summary(title=self.config.lm.out, parts=[("", self.rows)], notes=self.warnings)


@dataclass(frozen=True)
class TrainedLanguageModel:
    """A registered language model."""

    run_id: str
    run_name: str
    plan: LanguageModelPlan
    uri: str

    @property
    def summary(self) -> Summary:
        rows = {**self.plan.rows, "run": self.run_name, "registered": self.uri}
        return Summary(title=self.plan.config.lm.out, parts=[("", rows)], notes=self.plan.warnings, model=self.uri)


def plan(config: LanguageModelExperiment, store: ModelStore) -> LanguageModelPlan:
    """Read the text and train the model; nothing is written."""
    settings, normalizer = config.lm, TextNormalizer.of(config.text)
    sentences = read(settings.texts, normalizer)
    split = [split_text(text, settings.units) for text in sentences.texts]
    model = ngram.train(split, settings.order)
    header = arpa.Header(
        order=model.order,
        units=settings.units,
        text=normalizer.name,
        digest=sentences.digest,
        sentences=len(split),
        words=sum(map(len, split)),
    )
    known = set(sentences.texts)
    tests = {path: _tested(model, read([path], normalizer), known, settings.units) for path in settings.tests}
    return LanguageModelPlan(config, sentences, model, header, tests, _warnings(sentences, tests))


def write(planned: LanguageModelPlan) -> Path:
    """Write the ARPA file, atomically."""
    path = Path(planned.config.lm.out)
    with explain_unwritable("the language model", path, hint=""):
        arpa.write(planned.model, path, planned.header, planned.sentences.texts)
    return path


def train(
    config: LanguageModelExperiment, tracker: Tracker, console: Console, *, store: ModelStore
) -> TrainedLanguageModel:
    """Train, write and record a model, and register it as `run.register_as`."""
    planned = plan(config, store)
    path, header, model = write(planned), planned.header, planned.model
    spec = describe(
        config,
        family="lm",
        kind="train",
        model_type="lm",
        name=config.run.name or path.stem,
        data={"train": header.digest},
        text=header.text,
        lm_text=header.digest,
    )
    with tracker.start(spec) as run:
        run.dataset(Dataset(path.stem, "train", header.digest, ", ".join(config.lm.texts), header.sentences, 0.0))
        run.metrics(
            {
                "model/params": len(model.probabilities),
                "model/size_mb": path.stat().st_size / 1e6,
                **{f"{_split(name)}/perplexity": figures.perplexity for name, figures in planned.tests.items()},
            }
        )
        name = config.run.register_as
        registered = RegisteredModel(
            name=name or path.stem, files={"lm": path}, tags={"asr_lab.lm_text": header.digest}
        )
        uri = run.model(registered, register=bool(name))
        return TrainedLanguageModel(run.run_id, run.name, planned, uri)


def read(paths: Sequence[str], normalizer: TextNormalizer) -> Sentences:
    """Read text files (one sentence per line) and manifests; raises `AsrLabError` for a missing file or no sentence."""
    texts: list[str] = []
    empty = 0
    for path in paths:
        for text in _texts(path):
            if normalizer.transcription == "plain" and DUAL.search(text):
                raise AsrLabError(
                    f"a text holds two readings, (one)/(other), and the plain transcription keeps both: {text[:60]!r}",
                    where=path,
                    allowed="--model MODEL for the normaliser of a recogniser with one, or text.transcription=spelling",
                )
            normalized = normalizer(text)
            texts += [normalized] if normalized else []
            empty += not normalized
    if not texts:
        raise AsrLabError("the text has no sentences", where=", ".join(paths), allowed="one sentence per line")
    return Sentences(texts, empty)


def _texts(path: str) -> Iterator[str]:
    if path.endswith(manifest.SUFFIX):
        yield from (text for batch in columns.texts(Utterances.read(path)) for text in batch)
        return
    if not Path(path).is_file():
        raise AsrLabError("no such text", where=path, allowed=f"a text file, or a manifest (*{manifest.SUFFIX})")
    content = text_files.read_text(Path(path))
    if "\0" in content:
        raise AsrLabError("not a text file", where=path, allowed="UTF-8, one sentence per line")
    lines = list(text_files.lines(content))
    if table := "a table" if Path(path).suffix.lower() in _TABLES else _table(lines):
        raise AsrLabError(
            f"{table}, not a text with one sentence per line",
            where=path,
            allowed=f"a text file, or a manifest (*{manifest.SUFFIX})",
            next_command=f"asr-lab data import {shlex.quote(path)} OUT",
        )
    yield from lines


def _table(lines: Sequence[str]) -> str:
    """Return the format of a file whose fields would be taken for words; "" for a text."""
    written = [line.strip() for line in lines if line.strip()]
    if not written:
        return ""
    if _is_json(written[0]):
        return "JSON"
    if written[0].startswith((arpa.HEADER, "\\data\\")):
        return "a language model"
    return "a table (each line has tabs)" if all("\t" in line for line in written) else ""


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except ValueError:
        return line in ("{", "[", "[{")


def _tested(model: NgramModel, sentences: Sentences, known: set[str], units: Units) -> TestFigures:
    split = [split_text(text, units) for text in sentences.texts]
    predicted = sum(map(len, split)) + len(split)
    total = sum(map(model.sentence, split))
    return TestFigures(
        perplexity=10 ** (-total / predicted),
        units=predicted - len(split),
        unknown=sum(unit not in model.words for one in split for unit in one),
        sentences=len(split),
        known=sum(text in known for text in sentences.texts),
    )


def _warnings(sentences: Sentences, tests: Mapping[str, TestFigures]) -> list[str]:
    lines = [f"{counted(sentences.empty, 'line')} without words left out"] if sentences.empty else []
    for path, figures in tests.items():
        if figures.known:
            lines.append(
                f"{figures.known} of {figures.sentences} sentences of {shlex.quote(path)} are in the text: "
                "error rates on them will be lower than on new sentences"
            )
    return lines


def _split(path: str) -> str:
    """Return the name of a source in metrics: `test` of `corpora/demo/test.jsonl.gz`."""
    name = Path(path).name.removesuffix(manifest.SUFFIX)
    return name if name in ("val", "test") else "test"


RECIPE = Recipe(plan, train)
"""Train an n-gram language model."""
