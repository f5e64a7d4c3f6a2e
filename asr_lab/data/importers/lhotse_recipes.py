"""Corpora that Lhotse knows: its recipe `prepare_NAME` finds them on the disk, and they become manifests of ours."""

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

from asr_lab.data import manifest
from asr_lab.data.curriculum import check_disjoint
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import AsrLabError, listing, nearest

_LANGUAGES = {"english": "en", "korean": "ko", "mandarin": "zh", "chinese": "zh", "japanese": "ja"}
_RENAMED = {"speaker_age": "age"}
_GENDERS = {"m": "male", "f": "female", "male": "male", "female": "female"}


def recipes() -> dict[str, Callable[..., Any]]:
    """Every corpus Lhotse can prepare, by name."""
    import lhotse.recipes

    prefix = "prepare_"
    names = [name for name in dir(lhotse.recipes) if name.startswith(prefix)]
    return {name.removeprefix(prefix): getattr(lhotse.recipes, name) for name in names}


def import_lhotse(
    source: Path, out: Path, *, name: str, option: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> ImportResult:
    """Utterances by the parts that Lhotse's recipe `name` gives, `all` where it gives none; a supervision each.

    Each `option` goes to the recipe (JSON values, or texts); one that must write does so in `out/lhotse`. Raises
    `AsrLabError` for a name or an option that Lhotse does not know, and where its recipe fails, with its message.
    """
    recipe = _recipe(name)
    chosen = _options(name, recipe, option or {})
    first, *others = inspect.signature(recipe).parameters.values()
    if any(one.name == "output_dir" and one.default is inspect.Parameter.empty for one in others):
        chosen.setdefault("output_dir", out / "lhotse")
    try:
        with audio_backend("LibsndfileBackend"):  # what reads the audio here; Lhotse's own choice may need programs
            prepared = recipe(**{first.name: source}, **chosen)
    except Exception as error:  # whatever a recipe stumbles over, a file or a key that is not there
        raise AsrLabError(
            f"Lhotse's recipe for {name} failed: {type(error).__name__}: {error}",
            where=str(source),
            hint="the folder must have the layout that Lhotse's recipe expects: "
            + (inspect.getdoc(inspect.getmodule(recipe)) or "").partition("\n\n")[0][:200],
        ) from error
    report = ImportReport()
    read = {part: list(_cuts(manifests)) for part, manifests in _parts(prepared)}
    parts = {part: with_text for part, cuts in read.items() if (with_text := [cut for cut in cuts if _text(cut)])}
    total, done = sum(map(len, parts.values())), 0
    if not total:
        raise AsrLabError(f"Lhotse found no utterance of {name}", where=str(source))
    splits: dict[str, list[Cut]] = {}
    for part, cuts in parts.items():
        splits[part] = []
        for cut in cuts:
            splits[part].append(_utterance(cut, name))
            done += 1
            progress(done, total)
    for cut in (cut for cuts in read.values() for cut in cuts if not _text(cut)):
        report.add(manifest.supervision(cut).id, "no word as Lhotse reads it")
    report.notes += _notes(splits)
    return ImportResult(splits=splits, report=report)


def _notes(splits: Mapping[str, Sequence[Cut]]) -> list[str]:
    """Utterances whose speaker is not named, and speakers that two parts share."""
    unnamed = sum(manifest.field(cut, "speaker_is_folder") is True for cuts in splits.values() for cut in cuts)
    notes = [f"{unnamed} utterances name no speaker: the folder of a file stands for one"] if unnamed else []
    try:
        check_disjoint(splits)
    except AsrLabError as error:  # no fault: a corpus may be split so, and its folders are not always speakers
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


def _parts(made: Any, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Part -> what Lhotse made of it: `recordings` and `supervisions`, or `cuts`; parts may lie in parts."""
    if isinstance(made, Sequence) and len(made) == 2:
        made = {"recordings": made[0], "supervisions": made[1]}
    if not isinstance(made, Mapping):
        raise AsrLabError(f"Lhotse's recipe gave a {type(made).__name__}", allowed="recordings and supervisions")
    if {"supervisions", "cuts"} & set(made):
        yield prefix or "all", made
        return
    for name, inner in made.items():
        if isinstance(inner, Mapping):
            yield from _parts(inner, f"{prefix}-{name}" if prefix else str(name))


def _cuts(made: Mapping[str, Any]) -> Iterator[Cut]:
    cuts = made.get("cuts") or CutSet.from_manifests(recordings=made["recordings"], supervisions=made["supervisions"])
    yield from cuts.trim_to_supervisions(keep_overlapping=False)


def _text(cut: Cut) -> str:
    return manifest.text(cut).strip()


def _utterance(cut: Cut, corpus: str) -> Cut:
    """The cut with one supervision of our contract: language as a code, age and audio digest in `custom`."""
    segment = manifest.supervision(cut)
    cut.id = segment.id
    for source in cut.recording.sources:
        source.source = str(Path(str(source.source)).resolve())
    custom = {_RENAMED.get(key, key): value for key, value in (segment.custom or {}).items() if value is not None}
    digest = _digest(Path(str(cut.recording.sources[0].source)))
    segment.text = _text(cut)
    segment.custom = {"corpus": corpus, "audio_digest": digest, **custom}
    segment.language = _LANGUAGES.get((segment.language or "").lower(), segment.language)
    segment.gender = _GENDERS.get((segment.gender or "").lower(), segment.gender)
    if not segment.speaker:
        segment.speaker = Path(str(cut.recording.sources[0].source)).parent.name
        segment.custom["speaker_is_folder"] = True
    return cut


@lru_cache(maxsize=64)
def _digest(path: Path) -> str:
    return manifest.file_digest(path)
