"""How well a recogniser transcribes a long recording, beside the utterances that it is made of, each alone.

Utterances of a manifest are joined in random order with pauses of digital silence, or with noise under all of it, to a
recording whose words are known, with the times that they have alone. Ways of cutting it are scored: word error rate,
errors of the first, the last and the other words of the utterances, deletions, deletions beside a cut, and how far the
times of words differ from those they have alone.

    OMP_NUM_THREADS=1 python tests/bench/bench_long_files.py models:/deepspeech2/1 corpora/demo/test.jsonl.gz
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import figures
import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from asr_lab.data import manifest, noise
from asr_lab.data.audio import Signal
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.segmentation import Cutting, pieces
from asr_lab.decoding.words import Word
from asr_lab.models import load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.serving.long_recordings import Transcriber
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.units import SAMPLE_RATE, num_samples

PAUSES = {"long": (0.25, 0.9), "short": (0.02, 0.06)}  # s
_AT_A_CUT_S = 0.3
_LAST = 20  # words, whose times are those at the end


@dataclass(frozen=True)
class Recording:
    """A long recording, and what the recogniser makes of each utterance alone."""

    samples: Signal
    reference: list[str]
    middles_s: list[float]
    """Of each word of the reference, were all of an utterance of one duration: which are near a cut."""
    alone: list[Word]
    places: list[str]
    """Of each word of the reference in its utterance: `first`, `last`, or `inner`."""

    @property
    def blocks(self) -> list[Signal]:
        """Ten seconds each, as they are read from a file."""
        return [self.samples[at : at + 10 * SAMPLE_RATE] for at in range(0, len(self.samples), 10 * SAMPLE_RATE)]


class Alone:
    """A recogniser, one signal at a time."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer

    @torch.inference_mode()
    def encode(self, signals: Sequence[Signal]) -> list[Tensor]:
        recognizer, outputs = self.recognizer, []
        for one in signals:
            logits, lengths = recognizer.logits(recognizer.collator().pad([recognizer.extract(one)]))
            outputs.append(logits[0, : int(lengths[0])])
        return outputs

    def decode(self, logits_UV: Tensor) -> tuple[str, list[Word]]:
        (text,) = self.recognizer.decode(logits_UV[None], torch.tensor([len(logits_UV)]))
        return text, self.recognizer.words(logits_UV, text) if text else []

    def words(self, samples: Signal) -> list[Word]:
        (logits_UV,) = self.encode([samples])
        return self.decode(logits_UV)[1]


def make(model: Alone, utterances: Sequence[tuple[str, Signal]], wanted: argparse.Namespace, pauses: str) -> Recording:
    """Join utterances to a recording of at least `wanted.seconds`."""
    draw = np.random.default_rng(wanted.seed)
    order = itertools.chain.from_iterable(draw.permutation(len(utterances)) for _ in itertools.count())
    own = [model.words(samples) for _, samples in utterances]
    parts, reference, middles_s, alone = list[Signal](), list[str](), list[float](), list[Word]()
    places = list[str]()
    at = 0
    while at < wanted.seconds * SAMPLE_RATE:
        place = int(next(order))
        text, samples = utterances[place]
        parts += [np.zeros(num_samples(float(draw.uniform(*PAUSES[pauses]))), dtype=np.float32), samples]
        began_s = (at + len(parts[-2])) / SAMPLE_RATE
        words = text.split()
        reference += words
        places += ["first", *["inner"] * (len(words) - 2), "last"][: len(words)]
        middles_s += [began_s + len(samples) / SAMPLE_RATE * (n + 0.5) / len(words) for n in range(len(words))]
        alone += [replace(one, start_s=one.start_s + began_s, end_s=one.end_s + began_s) for one in own[place]]
        at += len(parts[-2]) + len(samples)
    joined = np.concatenate(parts)
    if wanted.fill != "zeros":
        level = np.abs(joined).max() * 10 ** (float(wanted.fill) / 20)
        joined = joined + np.float32(level) * noise.generate("pink", len(joined), draw)
    return Recording(joined.astype(np.float32), reference, middles_s, alone, places)


def score(recording: Recording, hypothesis: Sequence[Word], cuts_s: Sequence[float]) -> dict[str, float]:
    """Return the figures of a hypothesis; cuts are in seconds of the recording."""
    edits = Levenshtein.editops(recording.reference, [word.text for word in hypothesis])
    count = Counter(edit.tag for edit in edits)
    wrong = Counter(recording.places[edit.src_pos] for edit in edits if edit.tag != "insert")
    cuts = np.asarray([*cuts_s, -1e9])
    lost = sum(
        edit.tag == "delete" and float(np.abs(cuts - recording.middles_s[edit.src_pos]).min()) < _AT_A_CUT_S
        for edit in edits
    )
    blocks = Levenshtein.opcodes([one.text for one in recording.alone], [word.text for word in hypothesis])
    pairs = [
        (recording.alone[block.src_start + n], hypothesis[block.dest_start + n])
        for block in blocks
        if block.tag == "equal"
        for n in range(block.src_end - block.src_start)
    ]
    off_ms = [1000 * max(abs(one.start_s - two.start_s), abs(one.end_s - two.end_s)) for one, two in pairs] or [0.0]
    return {
        "wer": count.total() / len(recording.reference),
        "substitutions": count["replace"],
        "deletions": count["delete"],
        "insertions": count["insert"],
        "words": len(recording.reference),
        **{f"{place}_wrong": wrong[place] / number for place, number in Counter(recording.places).items()},
        "deletions_at_cuts": lost,
        "off_median_ms": float(np.median(off_ms)),
        "off_99_ms": float(np.percentile(off_ms, 99)),
        "off_at_the_end_ms": float(np.median(off_ms[-_LAST:])),
    }


def show(name: str, scored: Mapping[str, float]) -> None:
    print(
        f"{name:58} WER {scored['wer']:6.1%}  sub {scored['substitutions']:4} del {scored['deletions']:3}"
        f" ins {scored['insertions']:3} of {scored['words']}  del at cuts {scored['deletions_at_cuts']:2}"
        f"  first {scored['first_wrong']:5.1%} inner {scored['inner_wrong']:5.1%} last {scored['last_wrong']:5.1%}"
        f"  off: median {scored['off_median_ms']:3.0f} ms, 99 % {scored['off_99_ms']:4.0f} ms,"
        f" at the end {scored['off_at_the_end_ms']:3.0f} ms",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="URI or folder")
    parser.add_argument("--label", default="", help="before the names of the values")
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--fill", default="zeros", help="zeros, or noise under all of it, in dB of the peak")
    parser.add_argument("--pauses", default="long,short")
    parser.add_argument("--seed", type=int, default=0)
    for name, default in (("method", "vad,energy"), ("pause", ""), ("pad", ""), ("longest", ""), ("context", "")):
        parser.add_argument(f"--{name}", default=default, help="several with commas between them")
    figures.add_values_option(parser)
    wanted = parser.parse_args()
    model = Alone(load_model(MlflowStore().resolve(wanted.model), MlflowStore().resolve))
    normalizer = model.recognizer.normalizer
    utterances = [(normalizer(manifest.text(cut)), read_cut(cut)) for cut in manifest.read(wanted.data)]
    names = {"pause": "pause_s", "pad": "pad_s", "longest": "longest_s", "context": "context_s"}
    values = [[(names[one], float(value)) for value in getattr(wanted, one).split(",") if value] for one in names]
    made: dict[str, figures.Value] = {}
    for pauses in wanted.pauses.split(","):
        recording = make(model, utterances, wanted, pauses)

        def add(name: str, label: str, words: Sequence[Word], cuts_s: Sequence[float] = ()) -> None:
            scored = score(recording, words, cuts_s)  # noqa: B023 - called in this round
            show(name, scored)
            made.update({f"{pauses}_{label}/{figure}": value for figure, value in scored.items()})  # noqa: B023

        add(f"pauses {PAUSES[pauses]}: each utterance alone", "alone", recording.alone)
        for method, *others in itertools.product(wanted.method.split(","), *(one or [()] for one in values)):
            if method == "whole":
                add("in one piece", "whole", model.words(recording.samples))
                continue
            changed = dict(one for one in others if one)
            cutting = Cutting(method=method, **changed)
            _, words, _ = Transcriber(model.recognizer, model.encode, model.decode).transcribe(
                recording.blocks, cutting
            )
            cuts = [at / SAMPLE_RATE for one in pieces(recording.blocks, cutting) for at in (one.start, one.end)]
            label = " ".join([method, *(f"{key}={value:g}" for key, value in changed.items())])
            add(f"{label}, {len(cuts) // 2} pieces", label.replace(" ", "_"), words, cuts)
    figures.write(made, wanted.values, wanted.label)


if __name__ == "__main__":
    main()
