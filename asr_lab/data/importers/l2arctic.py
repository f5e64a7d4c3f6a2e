"""L2-ARCTIC (Zhao et al., Interspeech 2018): 24 speakers of six first languages read English.

150 utterances per speaker are annotated by hand. A speaker's folder has `wav/`, `transcript/` and
`annotation/*.TextGrid` with the tiers `words` and `phones`. An interval of `phones` is the canonical phoneme, or
`CPL,PPL,type`: canonical, perceived, and s (substituted), d (deleted; PPL is `sil`) or a (added; CPL is `sil`). PPL
`err` is an unidentified sound, a trailing `*` an accent. Phones are the 39 of ARPAbet; pauses are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lhotse.cut import Cut
from praatio import textgrid
from praatio.utilities.errors import PraatioException

from asr_lab.data import manifest
from asr_lab.data.arpabet import is_silence, phoneme_of
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.pronunciation import DELETED, UNKNOWN, Pronunciation
from asr_lab.data.text_files import read_text
from asr_lab.errors import AsrLabError, listing

SPEAKERS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("ABA", "YBAA"), ("arabic", "male")),
    **dict.fromkeys(("SKA", "ZHAA"), ("arabic", "female")),
    **dict.fromkeys(("BWC", "TXHC"), ("mandarin", "male")),
    **dict.fromkeys(("LXC", "NCC"), ("mandarin", "female")),
    **dict.fromkeys(("ASI", "RRBI"), ("hindi", "male")),
    **dict.fromkeys(("SVBI", "TNI"), ("hindi", "female")),
    **dict.fromkeys(("HKK", "YKWK"), ("korean", "male")),
    **dict.fromkeys(("HJK", "YDCK"), ("korean", "female")),
    **dict.fromkeys(("EBVS", "ERMS"), ("spanish", "male")),
    **dict.fromkeys(("MBMPS", "NJS"), ("spanish", "female")),
    **dict.fromkeys(("HQTV", "TLV"), ("vietnamese", "male")),
    **dict.fromkeys(("PNV", "THV"), ("vietnamese", "female")),
}
"""Speaker -> first language and gender, from the README of the corpus."""
_TEST = ("NJS", "TLV", "TNI", "TXHC", "YKWK", "ZHAA")
_VAL = ("MBMPS", "THV", "SVBI", "NCC", "YDCK", "YBAA")


def part_of(speaker: str) -> str:
    """Return the split of a speaker in published results (cageyoko/CTC-Attention-Mispronunciation)."""
    return "test" if speaker in _TEST else "val" if speaker in _VAL else "train"


def import_l2arctic(
    source: Path, out: Path, *, skip_faulty: bool = False, progress: Progress = no_progress
) -> ImportResult:
    """Import the annotated utterances of the speakers' folders under `source` as `train`, `val`, `test`.

    Raises one `AsrLabError` that names every fault, with `skip_faulty` only if nothing is left.
    """
    grids = sorted(source.rglob("annotation/*.TextGrid"))
    report = ImportReport()
    splits: dict[str, list[Cut]] = {"train": [], "val": [], "test": []}
    for done, grid in enumerate(grids, start=1):
        speaker = grid.parents[1].name
        if speaker not in SPEAKERS:
            report.add(f"{speaker}/{grid.name}", "its folder is no speaker of L2-ARCTIC", file=grid)
        elif (cut := _utterance(grid, speaker, report)) is not None:
            splits[part_of(speaker)].append(cut)
        progress(done, len(grids))
    if not any(splits.values()):
        folders = "a folder of speakers: YKWK/wav/*.wav, YKWK/transcript/*.txt, YKWK/annotation/*.TextGrid"
        report.refuse(source, "no annotated utterance of L2-ARCTIC", allowed=folders)
    report.settle(source, skip_faulty=skip_faulty, is_left=True)
    present = {manifest.supervision(cut).speaker for cuts in splits.values() for cut in cuts}
    if missing := sorted(set(SPEAKERS) - present):
        report.notes.append(f"{len(missing)} of {len(SPEAKERS)} speakers are not there: {listing(missing, 24)}")
    return ImportResult(splits={name: cuts for name, cuts in splits.items() if cuts}, report=report)


def _utterance(grid: Path, speaker: str, report: ImportReport) -> Cut | None:
    name = f"{speaker}/{grid.stem}"
    tiers = _tiers(grid, name, report)
    if tiers is None:
        return None
    annotation = _annotated(grid, tiers.get("phones", []), tiers.get("words", []), name, report)
    audio, transcript = (grid.parents[1] / folder for folder in (f"wav/{grid.stem}.wav", f"transcript/{grid.stem}.txt"))
    if annotation is None:
        return None
    for path in (audio, transcript):
        if not path.is_file():
            report.add(name, f"it is not in {path.parent.name}/", file=path)
            return None
    l1, gender = SPEAKERS[speaker]
    try:
        text = read_text(transcript).strip()
    except AsrLabError as error:
        report.add_error(name, error, file=transcript)
        return None
    try:
        return manifest.utterance(
            id=f"{speaker}-{grid.stem}",
            audio=audio,
            text=text,
            speaker=speaker,
            gender=gender,
            language="en",
            corpus="l2-arctic",
            l1=l1,
            **annotation.to_custom(),
        )
    except AsrLabError as error:
        report.add(name, "its audio cannot be read", error.what, file=audio)
        return None


def _tiers(grid: Path, name: str, report: ImportReport) -> dict[str, list[Any]] | None:
    """Return the intervals of each tier by lower-case name; None if unreadable or without `phones`."""
    try:
        read = textgrid.openTextgrid(str(grid), includeEmptyIntervals=False, reportingMode="silence")
    except (PraatioException, ValueError, LookupError, OSError) as error:
        report.add(name, "its TextGrid cannot be read", type(error).__name__, file=grid)
        return None
    tiers = {tier.lower().strip(): list(read.getTier(tier).entries) for tier in read.tierNames}
    if "phones" not in tiers:
        report.add(name, f"its TextGrid has no tier `phones` but {listing(read.tierNames) or 'none'}", file=grid)
        return None
    return tiers


def _annotated(
    grid: Path, phones: list[Any], words: list[Any], name: str, report: ImportReport
) -> Pronunciation | None:
    """Return the pronunciation of the intervals; None if a canonical phoneme is unknown, or there is none."""
    canonical: list[str] = []
    perceived: list[str] = []
    accented: list[int] = []
    times: list[tuple[float, float] | None] = []
    insertions: list[tuple[str, ...]] = [()]
    for interval in phones:
        expected, spoken, accent = _label(interval.label, report)
        if expected is None:
            report.add(name, "a canonical phoneme is unknown", repr(interval.label), file=grid)
            return None
        if not expected:
            insertions[-1] += (spoken,) if spoken else ()
            continue
        canonical.append(expected)
        perceived.append(spoken or DELETED)
        accented.append(accent)
        times.append((round(interval.start, 4), round(interval.end, 4)) if spoken else None)
        insertions.append(())
    if not canonical:
        report.add(name, "its tier `phones` holds no phoneme", file=grid)
        return None
    return Pronunciation(
        canonical=tuple(canonical),
        perceived=tuple(perceived),
        errors=tuple(int(a != b) for a, b in zip(canonical, perceived, strict=True)),
        insertions=tuple(insertions),
        accented=tuple(accented),
        words=_word_indices(phones, words),
        phone_times=tuple(times),
    )


def _label(label: str, report: ImportReport) -> tuple[str | None, str, int]:
    """Return (canonical phoneme, "" for silence, None if unknown; perceived one, "" if deleted; 1 if accented).

    The phonemes determine the type of the error, so the type is not read.
    """
    expected, *rest = (part.strip() for part in label.split(","))
    spoken = rest[0] if len(rest) == 2 else expected if not rest else "?"
    canonical = "" if is_silence(expected) else phoneme_of(expected)
    if canonical is None:
        report.unknown_labels[label] += 1
        return None, "", 0
    if is_silence(spoken):
        return canonical, "", 0
    perceived = UNKNOWN if spoken.lower().startswith("err") else phoneme_of(spoken)
    if perceived is None:
        report.unknown_labels[label] += 1
    return canonical, perceived or UNKNOWN, int("*" in spoken)


def _word_indices(phones: list[Any], words: list[Any]) -> tuple[int, ...]:
    """Return the word at the middle of each canonical phoneme; () if a phoneme is in none."""
    spoken = [word for word in words if not is_silence(word.label)]
    indices: list[int] = []
    for phone in phones:
        if is_silence(phone.label.split(",")[0]):
            continue
        middle = (phone.start + phone.end) / 2
        inside = [index for index, word in enumerate(spoken) if word.start <= middle <= word.end]
        if not inside:
            return ()
        indices.append(inside[0])
    return tuple(indices)
