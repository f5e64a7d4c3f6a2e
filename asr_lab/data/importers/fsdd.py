"""Free Spoken Digit Dataset (Zohar Jackson and others, CC BY-SA 4.0): `{digit}_{speaker}_{index}.wav`, 8 kHz.

Digits can be joined into strings within a speaker and a block of indices: each recording is in exactly one string of
the first copy, so recordings of held-out blocks never occur in training.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.audio import probe, read_file
from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.media import written_audio
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")
_ALLOWED = "{digit}_{speaker}_{index}.wav"
_GAP_S = 0.05  # silence between joined digits


def import_fsdd(
    source: Path,
    out: Path,
    *,
    join: tuple[int, int] | None = None,
    blocks: int = 10,
    copies: int = 1,
    seed: int = 0,
    skip_faulty: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import the recordings; with `join=(1, 5)`, strings of one to five digits written to `out/audio`.

    Every utterance has `block`: the index range of its recordings (`index * blocks // number of indices`). Further
    `copies` join the same recordings into other strings, for training; they have `copy` > 0.
    """
    if join is not None and join[0] < 1:
        raise AsrLabError(f"strings of {join[0]} digits cannot be made", allowed="--join 1-5, or 3")
    files, report = sorted(source.glob("*.wav")), ImportReport()
    if not files:
        raise AsrLabError("no WAV files", where=str(source), allowed=_ALLOWED)
    named = [(path, match) for path in files if (match := _checked(path, report))]
    report.settle(source, skip_faulty=skip_faulty, is_left=bool(named), allowed=_ALLOWED)
    by_speaker: dict[str, list[tuple[int, int, Path]]] = defaultdict(list)
    for path, match in named:
        by_speaker[match["speaker"]].append((int(match["index"]), int(match["digit"]), path))
    cuts: list[Cut] = []
    for speaker, rows in sorted(by_speaker.items()):
        indices = sorted({index for index, _, _ in rows})
        block_of = {index: position * blocks // len(indices) for position, index in enumerate(indices)}
        if join is None:
            cuts += [_single(speaker, digit, index, path, block_of[index]) for index, digit, path in rows]
        else:
            for copy in range(copies):
                cuts += _strings(speaker, rows, block_of, join, copy, random.Random(f"{seed} {speaker} {copy}"))
        progress(len(cuts), 0)
    return ImportResult(splits={"all": cuts}, report=report)


def _checked(path: Path, report: ImportReport) -> re.Match[str] | None:
    """Return the match of a file's name, None if the name or the audio has a fault."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        report.add(path.name, "not a name of the Free Spoken Digit Dataset", file=path)
        return None
    try:
        probe(path)
    except AsrLabError as error:
        report.add_error(path.name, error)
        return None
    return match


def _single(speaker: str, digit: int, index: int, path: Path, block: int) -> Cut:
    return manifest.utterance(
        id=f"fsdd-{speaker}-{digit}-{index:02d}",
        audio=path,
        text=WORDS[digit],
        speaker=speaker,
        gender="male",
        language="en",
        corpus="fsdd",
        block=block,
    )


def _strings(
    speaker: str,
    rows: Sequence[tuple[int, int, Path]],
    block_of: dict[int, int],
    join: tuple[int, int],
    copy: int,
    draw: random.Random,
) -> Iterable[Cut]:
    """Yield strings of `join` digits within a block, using each recording once."""
    by_block: dict[int, list[tuple[int, int, Path]]] = defaultdict(list)
    for row in sorted(rows):
        by_block[block_of[row[0]]].append(row)
    for block, members in sorted(by_block.items()):
        draw.shuffle(members)
        position, number = 0, 0
        while position < len(members):
            chosen = members[position : position + draw.randint(*join)]
            id = f"fsdd-{speaker}-b{block}-c{copy}-{number:03d}"
            audio = written_audio().target(f"{speaker}/{id}.flac")
            _write_joined([path for _, _, path in chosen], audio)
            yield manifest.utterance(
                id=id,
                audio=audio,
                text=" ".join(WORDS[digit] for _, digit, _ in chosen),
                speaker=speaker,
                gender="male",
                language="en",
                corpus="fsdd",
                block=block,
                copy=copy,
                recordings=[path.stem for _, _, path in chosen],
            )
            position += len(chosen)
            number += 1


def _write_joined(paths: Sequence[Path], audio: Path) -> None:
    gap = np.zeros(round(_GAP_S * SAMPLE_RATE), dtype=np.float32)
    pieces = [piece for path in paths for piece in (read_file(path), gap)][:-1]
    audio.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(audio), np.concatenate(pieces), SAMPLE_RATE, subtype="PCM_16")
