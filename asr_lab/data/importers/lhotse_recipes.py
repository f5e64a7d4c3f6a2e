"""Import corpora with Lhotse's recipes (`prepare_NAME`)."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.audio.backend import audio_backend
from lhotse.cut import Cut

from asr_lab.data import guesses, manifest
from asr_lab.data.audio import probe
from asr_lab.data.curriculum import check_disjoint
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.corpus_view import CorpusView, corpus_view
from asr_lab.data.importers.import_report import SKIP, ImportReport
from asr_lab.data.importers.lhotse_losses import Watch, add_losses, audio_files, rows_without_audio, watched
from asr_lab.data.importers.speaker_fields import age_of, gender_of, is_unknown
from asr_lab.data.importers.speaker_options import AS_NAMED, Speakers
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.units import counted

_LANGUAGES = {"english": "en", "korean": "ko", "mandarin": "zh", "chinese": "zh", "japanese": "ja"}
_DEFAULTS: dict[str, dict[str, Any]] = {"ksponspeech": {"normalize_text": "none"}}
"""Arguments of recipes whose own defaults lose the spoken form: Lhotse drops KsponSpeech's pronunciation."""
_RENAMED = {"speaker_age": "age"}
_SEVERAL = re.compile(r"Sequence|Iterable|[Ll]ist|[Tt]uple")  # in the annotation of an argument


def recipes() -> dict[str, Callable[..., Any]]:
    """Return Lhotse's recipes by name."""
    import lhotse.recipes

    prefix = "prepare_"
    names = [name for name in dir(lhotse.recipes) if name.startswith(prefix)]
    return {name.removeprefix(prefix): getattr(lhotse.recipes, name) for name in names}


def import_lhotse(
    source: Path,
    out: Path,
    *,
    name: str,
    option: Mapping[str, str] | None = None,
    speakers: Speakers = AS_NAMED,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the parts that Lhotse's recipe `name` returns, or `all`; one utterance per supervision.

    What the recipe drops is a fault. If it fails, `skip_faulty` runs it again without the audio that cannot be read.

    `option` are arguments of the recipe (JSON values, or texts). Recordings that the recipe writes are moved to
    `out/audio`; nothing is written to `source`. Raises `AsrLabError` for an unknown recipe or option, and if the recipe
    fails, with its message.
    """
    chosen = _DEFAULTS.get(name, {}) | _options(name, _recipe(name), option or {})
    report = ImportReport()
    with audio_backend("LibsndfileBackend"), watched(source) as watch:  # the default may need external programs
        read = _read(name, source, out, chosen, report, watch, skip_faulty)
    parts = {part: spoken for part, cuts in read.items() if (spoken := [cut for cut in cuts if _has_words(cut)])}
    total, done = sum(map(len, parts.values())), 0
    if not total:
        raise AsrLabError(f"Lhotse found no utterance of {name}", where=str(source))
    splits: dict[str, list[Cut]] = {}
    for part, cuts in parts.items():
        splits[part] = []
        for cut in cuts:
            try:
                splits[part].append(_utterance(cut, name, report, speakers))
            except AsrLabError as error:
                report.add_error(manifest.supervision(cut).id, error)
            done += 1
            progress(done, total)
    if wordless := [manifest.supervision(cut).id for cuts in read.values() for cut in cuts if not _has_words(cut)]:
        report.left_out["no word as Lhotse reads it"] += len(wordless)
        report.notes.append(
            f"{counted(len(wordless), 'utterance', 'have')} no word as Lhotse reads it: {listing(wordless, 6)}"
        )
    add_losses(report, watch, source, (cut for cuts in read.values() for cut in cuts))
    splits = {part: cuts for part, cuts in splits.items() if cuts}
    if not splits:
        report.refuse(source)
    report.settle(source, skip_faulty=skip_faulty, is_left=True)
    report.notes += _notes(splits)
    return ImportResult(splits=splits, report=report)


class _RecipeError(Exception):
    """What a recipe raised."""


def _read(
    name: str, source: Path, out: Path, chosen: Mapping[str, Any], report: ImportReport, watch: Watch, skip_faulty: bool
) -> dict[str, list[Cut]]:
    """Return the cuts of each part; if the recipe fails, `skip_faulty` runs it without the rows and files at fault."""
    recipe = _recipe(name)
    try:
        return _prepared(recipe, corpus_view(source, out), source, chosen, report, watch)
    except _RecipeError as error:
        faulty = _unreadable(source, report)
        rows = rows_without_audio(watch, source, faulty)
        refusal = AsrLabError(
            f"Lhotse's recipe for {name} failed: {error}",
            where=str(source),
            hint="the folder must have the layout that Lhotse's recipe expects: "
            + (inspect.getdoc(inspect.getmodule(recipe)) or "").partition("\n\n")[0][:200],
        )
        if (faulty or rows) and not skip_faulty:
            names = [*sorted(path.name for path in faulty), *(name for own in rows.values() for name in own.values())]
            refusal.hint = f"audio that is not there, or cannot be read: {listing(dict.fromkeys(names), 6)}; {SKIP}"
        if not skip_faulty or not (faulty or rows):
            raise refusal from error
    watch.warnings.clear()
    try:
        return _prepared(recipe, corpus_view(source, out, faulty, rows), source, chosen, report, watch)
    except _RecipeError as error:
        raise refusal from error


def _prepared(
    recipe: Callable[..., Any],
    corpus: AbstractContextManager[CorpusView],
    source: Path,
    chosen: Mapping[str, Any],
    report: ImportReport,
    watch: Watch,
) -> dict[str, list[Cut]]:
    """Run a recipe on a view of the corpus; if it needs an output folder, it gets one of the view."""
    _, *others = inspect.signature(recipe).parameters.values()
    needs_output = any(one.name == "output_dir" and one.default is inspect.Parameter.empty for one in others)
    with corpus as view:
        watch.roots.append(view.root)
        output = {"output_dir": view.folder / "lhotse"} if needs_output else {}
        try:
            prepared = recipe(view.root, **output | dict(chosen))
            read = {part: list(_cuts(manifests, report)) for part, manifests in _parts(prepared)}
        except AsrLabError:
            raise
        except Exception as error:  # recipes raise anything for missing files or keys
            text = str(error).replace(str(view.root), str(source))
            raise _RecipeError(f"{type(error).__name__}: {text}") from error
        for recording in {id(cut.recording): cut.recording for cuts in read.values() for cut in cuts}.values():
            for one in recording.sources:
                one.source = str(view.kept(Path(str(one.source))))
    return read


def _unreadable(source: Path, report: ImportReport) -> set[Path]:
    """Return the audio files that cannot be read, as faults of the report."""
    faulty = set()
    for path in sorted(audio_files(source)):
        try:
            probe(path)
        except AsrLabError as error:
            report.add_error(path.stem, error)
            faulty.add(path)
    return faulty


def _notes(splits: Mapping[str, Sequence[Cut]]) -> list[str]:
    """Return notes on utterances without a speaker, and on speakers in two parts."""
    unnamed = sum(bool(manifest.field(cut, guesses.GUESSED)) for cuts in splits.values() for cut in cuts)
    notes = [f"{counted(unnamed, 'utterance', 'name')} no speaker: their folder is used"] if unnamed else []
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
    """Return options as the recipe takes them: JSON values, lists (`train,test`) where it takes several, or texts."""
    declared = inspect.signature(recipe).parameters
    parameters = list(declared)[1:]
    unknown = [key for key in options if key not in parameters]
    if unknown:
        raise AsrLabError(f"the recipe for {name} has no option {listing(unknown)}", allowed=listing(parameters))
    chosen: dict[str, Any] = {}
    for key, text in options.items():
        try:
            chosen[key] = json.loads(text)
        except ValueError:
            takes_several = _SEVERAL.search(str(declared[key].annotation)) is not None
            chosen[key] = text.split(",") if takes_several and "," in text else text
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


def _cuts(prepared: Mapping[str, Any], report: ImportReport) -> Iterator[Cut]:
    """Yield a cut per supervision; supervisions that get none become faults."""
    cuts = prepared.get("cuts") or CutSet.from_manifests(
        recordings=prepared["recordings"], supervisions=prepared["supervisions"]
    )
    lost = {} if prepared.get("cuts") else {segment.id: segment for segment in prepared["supervisions"]}
    for cut in cuts.trim_to_supervisions(keep_overlapping=False):
        lost.pop(manifest.supervision(cut).id, None)
        yield cut
    for id, segment in lost.items():
        report.add(id, "Lhotse has no recording for it", segment.recording_id)


def _has_words(cut: Cut) -> bool:
    return bool(TextNormalizer()(manifest.text(cut)))


def _utterance(cut: Cut, corpus: str, report: ImportReport, speakers: Speakers) -> Cut:
    """Convert a cut to the utterance contract: language as a code, age and audio digest in `custom`.

    Raises `AsrLabError` if its audio cannot be read.
    """
    segment = manifest.supervision(cut)
    cut.id = segment.id
    custom = {_RENAMED.get(key, key): value for key, value in (segment.custom or {}).items() if value is not None}
    digest = _digest(Path(str(cut.recording.sources[0].source)))
    segment.text = manifest.text(cut).strip()
    segment.custom = {"corpus": corpus, "audio_digest": digest, **_with_age(custom, report)}
    segment.language = _LANGUAGES.get((segment.language or "").lower(), segment.language)
    segment.gender = _gender(segment.gender, report)
    if speakers.are_given:
        segment.speaker, _ = speakers.speaker("", str(cut.recording.sources[0].source), cut.id)
    if not segment.speaker:
        segment.speaker = Path(str(cut.recording.sources[0].source)).parent.name
        guesses.mark(segment, "speaker")
    return cut


def _with_age(custom: Mapping[str, Any], report: ImportReport) -> dict[str, Any]:
    """Return the fields with an age given as text as years or a group."""
    text = custom.get("age")
    if not isinstance(text, str) or not text:
        return dict(custom)
    fields = age_of(text)
    if "age_range" in fields:
        report.unknown_values["age"][text] += 1
    return {key: value for key, value in custom.items() if key != "age"} | fields


def _gender(text: str | None, report: ImportReport) -> str | None:
    if not text or is_unknown(text):
        return text and None
    if not (gender := gender_of(text)):
        report.unknown_values["gender"][text] += 1
    return gender or text


@lru_cache(maxsize=64)
def _digest(path: Path) -> str:
    probe(path)
    return manifest.file_digest(path)
