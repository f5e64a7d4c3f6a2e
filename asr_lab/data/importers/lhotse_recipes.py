"""Import corpora with Lhotse's recipes (`prepare_NAME`)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.audio.backend import audio_backend
from lhotse.cut import Cut

from asr_lab.data import guesses, manifest
from asr_lab.data.curriculum import check_disjoint
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.corpus_view import CorpusView, corpus_view
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, listing, nearest

_LANGUAGES = {"english": "en", "korean": "ko", "mandarin": "zh", "chinese": "zh", "japanese": "ja"}
_DEFAULTS: dict[str, dict[str, Any]] = {"ksponspeech": {"normalize_text": "none"}}
"""Arguments of recipes whose own defaults lose what was said: Lhotse drops KsponSpeech's pronunciation."""
_RENAMED = {"speaker_age": "age"}
_GENDERS = {"m": "male", "f": "female", "male": "male", "female": "female"}


def recipes() -> dict[str, Callable[..., Any]]:
    """Return Lhotse's recipes by name."""
    import lhotse.recipes

    prefix = "prepare_"
    names = [name for name in dir(lhotse.recipes) if name.startswith(prefix)]
    return {name.removeprefix(prefix): getattr(lhotse.recipes, name) for name in names}


def import_lhotse(
    source: Path, out: Path, *, name: str, option: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> ImportResult:
    """Import the parts that Lhotse's recipe `name` returns, or `all`; one utterance per supervision.

    `option` are arguments of the recipe (JSON values, or texts). Recordings that the recipe writes are moved to
    `out/audio`; nothing is written to `source`. Raises `AsrLabError` for an unknown recipe or option, and if the recipe
    fails, with its message.
    """
    recipe = _recipe(name)
    chosen = _DEFAULTS.get(name, {}) | _options(name, recipe, option or {})
    report = ImportReport()
    with corpus_view(source, out) as view:
        read = {part: list(_cuts(manifests)) for part, manifests in _parts(_prepared(recipe, view, source, chosen))}
        parts = {part: spoken for part, cuts in read.items() if (spoken := [cut for cut in cuts if _has_words(cut)])}
        total, done = sum(map(len, parts.values())), 0
        if not total:
            raise AsrLabError(f"Lhotse found no utterance of {name}", where=str(source))
        splits: dict[str, list[Cut]] = {}
        for part, cuts in parts.items():
            splits[part] = []
            for cut in cuts:
                splits[part].append(_utterance(cut, name, view))
                done += 1
                progress(done, total)
    for cut in (cut for cuts in read.values() for cut in cuts if not _has_words(cut)):
        report.add(manifest.supervision(cut).id, "no word as Lhotse reads it")
    report.notes += _notes(splits)
    return ImportResult(splits=splits, report=report)


def _prepared(recipe: Callable[..., Any], view: CorpusView, source: Path, chosen: Mapping[str, Any]) -> Any:
    """Run a recipe on a view of the corpus; if it needs an output folder, it gets one of the view."""
    first, *others = inspect.signature(recipe).parameters.values()
    needs_output = any(one.name == "output_dir" and one.default is inspect.Parameter.empty for one in others)
    output = {"output_dir": view.folder / "lhotse"} if needs_output else {}
    try:
        with audio_backend("LibsndfileBackend"):  # Lhotse's default may need external programs
            return recipe(**{first.name: view.root}, **output | dict(chosen))
    except Exception as error:  # recipes raise anything for missing files or keys
        told = str(error).replace(str(view.root), str(source))
        raise AsrLabError(
            f"Lhotse's recipe for {recipe.__name__.removeprefix('prepare_')} failed: {type(error).__name__}: {told}",
            where=str(source),
            hint="the folder must have the layout that Lhotse's recipe expects: "
            + (inspect.getdoc(inspect.getmodule(recipe)) or "").partition("\n\n")[0][:200],
        ) from error


def _notes(splits: Mapping[str, Sequence[Cut]]) -> list[str]:
    """Return notes on utterances without a speaker, and on speakers in two parts."""
    unnamed = sum(bool(manifest.field(cut, guesses.GUESSED)) for cuts in splits.values() for cut in cuts)
    notes = [f"{unnamed} utterances name no speaker: their folder is used"] if unnamed else []
    try:
        check_disjoint(splits)
    except AsrLabError as error:  # not a fault: the corpus may be split this way, and folders need not be speakers
        notes.append(f"warning: {error.what}; {error.allowed}")
    return notes


def _recipe(name: str) -> Callable[..., Any]:
    known = recipes()
    if name not in known:
        close = nearest(name, known)
        raise AsrLabError(
            f"Lhotse has no recipe for {name!r}",
            allowed=listing(known, 100),
            hint=f"did you mean {close!r}?" if close else "",
        )
    return known[name]


def _options(name: str, recipe: Callable[..., Any], options: Mapping[str, str]) -> dict[str, Any]:
    parameters = list(inspect.signature(recipe).parameters)[1:]
    unknown = [key for key in options if key not in parameters]
    if unknown:
        raise AsrLabError(f"the recipe for {name} has no option {listing(unknown)}", allowed=listing(parameters))
    chosen: dict[str, Any] = {}
    for key, text in options.items():
        try:
            chosen[key] = json.loads(text)
        except ValueError:
            chosen[key] = text
    return chosen


def _parts(prepared: Any, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (part, its `recordings` and `supervisions`, or `cuts`); parts may be nested."""
    if isinstance(prepared, Sequence) and len(prepared) == 2:
        prepared = {"recordings": prepared[0], "supervisions": prepared[1]}
    if not isinstance(prepared, Mapping):
        raise AsrLabError(f"Lhotse's recipe gave a {type(prepared).__name__}", allowed="recordings and supervisions")
    if {"supervisions", "cuts"} & set(prepared):
        yield prefix or "all", prepared
        return
    for name, inner in prepared.items():
        if isinstance(inner, Mapping):
            yield from _parts(inner, f"{prefix}-{name}" if prefix else str(name))


def _cuts(prepared: Mapping[str, Any]) -> Iterator[Cut]:
    cuts = prepared.get("cuts") or CutSet.from_manifests(
        recordings=prepared["recordings"], supervisions=prepared["supervisions"]
    )
    yield from cuts.trim_to_supervisions(keep_overlapping=False)


def _has_words(cut: Cut) -> bool:
    return bool(TextNormalizer()(manifest.text(cut)))


def _utterance(cut: Cut, corpus: str, view: CorpusView) -> Cut:
    """Convert a cut to the utterance contract: language as a code, age and audio digest in `custom`."""
    segment = manifest.supervision(cut)
    cut.id = segment.id
    for source in cut.recording.sources:
        source.source = str(view.kept(Path(str(source.source))))
    custom = {_RENAMED.get(key, key): value for key, value in (segment.custom or {}).items() if value is not None}
    digest = _digest(Path(str(cut.recording.sources[0].source)))
    segment.text = manifest.text(cut).strip()
    segment.custom = {"corpus": corpus, "audio_digest": digest, **custom}
    segment.language = _LANGUAGES.get((segment.language or "").lower(), segment.language)
    segment.gender = _GENDERS.get((segment.gender or "").lower(), segment.gender)
    if not segment.speaker:
        segment.speaker = Path(str(cut.recording.sources[0].source)).parent.name
        guesses.mark(segment, "speaker")
    return cut


@lru_cache(maxsize=64)
def _digest(path: Path) -> str:
    return manifest.file_digest(path)
