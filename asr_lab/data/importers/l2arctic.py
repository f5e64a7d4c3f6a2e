"""L2-ARCTIC (Zhao et al., Interspeech 2018): 24 speakers of six first languages read English.

150 utterances of each are annotated by hand. A speaker's folder has `wav/`, `transcript/` and `annotation/*.TextGrid`
with the tiers `words` and `phones`. An interval of `phones` is the canonical phoneme, or `CPL,PPL,type`: canonical,
perceived, and s (substituted), d (deleted; PPL is `sil`) or a (added; CPL is `sil`). PPL `err` is a sound nobody could
name, `*` behind it an accent. Phones are the 39 of ARPAbet, pauses are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lhotse.cut import Cut
from praatio import textgrid
from praatio.utilities.errors import PraatioException

from asr_lab.data import manifest
from asr_lab.data.arpabet import is_silence, phoneme_of
from asr_lab.data.importers.import_report import Telling
from asr_lab.data.pronunciation import DELETED, UNKNOWN, Pronunciation
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
"""Speaker -> first language and gender, as the corpus' README has them."""
_TEST = ("NJS", "TLV", "TNI", "TXHC", "YKWK", "ZHAA")
_VAL = ("MBMPS", "THV", "SVBI", "NCC", "YDCK", "YBAA")

Progress = Callable[[int, int], None]


def part_of(speaker: str) -> str:
    """The part of a speaker in the split that published results use (cageyoko/CTC-Attention-Mispronunciation)."""
    return "test" if speaker in _TEST else "val" if speaker in _VAL else "train"


def import_l2arctic(source: Path, progress: Progress | None = None) -> tuple[dict[str, list[Cut]], list[str]]:
    """(`train`, `val`, `test` -> annotated utterances, what is to be told) of the folders of speakers under `source`.

    What cannot be read is left out and told. Raises `AsrLabError` when nothing is left.
    """
    grids = sorted(source.rglob("annotation/*.TextGrid"))
    told = Telling()
    parts: dict[str, list[Cut]] = {"train": [], "val": [], "test": []}
    for done, grid in enumerate(grids, start=1):
        speaker = grid.parents[1].name
        if speaker not in SPEAKERS:
            told.leave_out("its folder is no speaker of L2-ARCTIC", f"{speaker}/{grid.name}")
        elif (cut := _utterance(grid, speaker, told)) is not None:
            parts[part_of(speaker)].append(cut)
        if progress:
            progress(done, len(grids))
    if not any(parts.values()):
        raise AsrLabError(
            "\n    ".join(["no annotated utterance of L2-ARCTIC", *told.lines()]),
            where=str(source),
            allowed="a folder of speakers: YKWK/wav/*.wav, YKWK/transcript/*.txt, YKWK/annotation/*.TextGrid",
        )
    there = {manifest.supervision(cut).speaker for cuts in parts.values() for cut in cuts}
    missing = sorted(set(SPEAKERS) - there)
    notes = [f"{len(missing)} of {len(SPEAKERS)} speakers are not there: {listing(missing, 24)}"] if missing else []
    return {name: cuts for name, cuts in parts.items() if cuts}, told.lines() + notes


def _utterance(grid: Path, speaker: str, told: Telling) -> Cut | None:
    name = f"{speaker}/{grid.stem}"
    tiers = _tiers(grid, name, told)
    if tiers is None:
        return None
    said = _annotated(tiers.get("phones", []), tiers.get("words", []), name, told)
    audio, transcript = (grid.parents[1] / folder for folder in (f"wav/{grid.stem}.wav", f"transcript/{grid.stem}.txt"))
    if said is None:
        return None
    for path in (audio, transcript):
        if not path.is_file():
            told.leave_out(f"it is not in {path.parent.name}/", name)
            return None
    l1, gender = SPEAKERS[speaker]
    try:
        return manifest.utterance(
            id=f"{speaker}-{grid.stem}",
            audio=audio,
            text=transcript.read_text(encoding="utf-8", errors="replace").strip(),
            speaker=speaker,
            gender=gender,
            language="en",
            corpus="l2-arctic",
            l1=l1,
            **said.to_custom(),
        )
    except AsrLabError as error:
        told.leave_out(f"its audio cannot be read ({error.what})", name)
        return None


def _tiers(grid: Path, name: str, told: Telling) -> dict[str, list[Any]] | None:
    """The intervals of each tier by its name in lower case; None where they cannot be read or no phones are there."""
    try:
        read = textgrid.openTextgrid(str(grid), includeEmptyIntervals=False, reportingMode="silence")
    except (PraatioException, ValueError, LookupError, OSError) as error:
        told.leave_out("its TextGrid cannot be read", f"{name} ({type(error).__name__})")
        return None
    tiers = {tier.lower().strip(): list(read.getTier(tier).entries) for tier in read.tierNames}
    if "phones" not in tiers:
        told.leave_out(f"its TextGrid has no tier `phones` but {listing(read.tierNames) or 'none'}", name)
        return None
    return tiers


def _annotated(phones: list[Any], words: list[Any], name: str, told: Telling) -> Pronunciation | None:
    """The pronunciation that the intervals say; None where a canonical phoneme is unknown, or there is none."""
    canonical: list[str] = []
    perceived: list[str] = []
    accented: list[int] = []
    times: list[tuple[float, float] | None] = []
    insertions: list[tuple[str, ...]] = [()]
    for interval in phones:
        wanted, heard, accent = _label(interval.label, told)
        if wanted is None:
            told.leave_out("a canonical phoneme is unknown", f"{name} ({interval.label!r})")
            return None
        if not wanted:
            insertions[-1] += (heard,) if heard else ()
            continue
        canonical.append(wanted)
        perceived.append(heard or DELETED)
        accented.append(accent)
        times.append((round(interval.start, 4), round(interval.end, 4)) if heard else None)
        insertions.append(())
    if not canonical:
        told.leave_out("its tier `phones` holds no phoneme", name)
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


def _label(label: str, told: Telling) -> tuple[str | None, str, int]:
    """(canonical phoneme, "" for silence and None for unknown; what was heard, "" for nothing; 1 if with an accent).

    The phonemes tell whether it was substituted, deleted or added; the type is not needed.
    """
    wanted, *rest = (part.strip() for part in label.split(","))
    heard = rest[0] if len(rest) == 2 else wanted if not rest else "?"
    canonical = "" if is_silence(wanted) else phoneme_of(wanted)
    if canonical is None:
        told.labels[label] += 1
        return None, "", 0
    if is_silence(heard):
        return canonical, "", 0
    perceived = UNKNOWN if heard.lower().startswith("err") else phoneme_of(heard)
    if perceived is None:
        told.labels[label] += 1
    return canonical, perceived or UNKNOWN, int("*" in heard)


def _word_indices(phones: list[Any], words: list[Any]) -> tuple[int, ...]:
    """The word each canonical phoneme lies in by its middle; () where a phoneme lies in none."""
    spoken = [word for word in words if not is_silence(word.label)]
    found: list[int] = []
    for phone in phones:
        if is_silence(phone.label.split(",")[0]):
            continue
        middle = (phone.start + phone.end) / 2
        inside = [index for index, word in enumerate(spoken) if word.start <= middle <= word.end]
        if not inside:
            return ()
        found.append(inside[0])
    return tuple(found)
