"""How many words a recogniser still writes that the text of its language model does not have.

Words of four letters or more are drawn, and all sentences of TRAIN with one of them are left out of the text. Counted
is how many of these words of TEST are recognised, with the error rate of all of TEST and the words written that are
none, by `decode.unknown_score`, and with the left-out words given as hot words. The trivial way is a language model
alone, which cannot write them.

    OMP_NUM_THREADS=1 python tests/bench/bench_unknown_words.py models:/deepspeech2@champion \
        corpora/demo/train.jsonl.gz corpora/demo/test.jsonl.gz [--words 16] [--draws 2] [--values FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import figures
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from asr_lab.config.schema import Decode
from asr_lab.data import manifest
from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import rate_interval
from asr_lab.models import load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decode_choice import decoder_of
from asr_lab.tracking.models.model_store import MlflowStore

_LETTERS = 4
SCORES = {"alone": -1000.0, "at_-12": -12.0, "default": -6.0, "at_-2": -2.0}
"""Way -> `decode.unknown_score`."""

Outputs = list[tuple[list[str], Tensor, Tensor]]
"""Ids, log probabilities (B, U, V) and lengths (B,) of batches."""


def texts_of(path: Path, recognizer: Recognizer) -> dict[str, str]:
    return {cut.id: recognizer.normalizer(manifest.text(cut)) for cut in manifest.read(path)}


@torch.inference_mode()
def outputs_of(path: Path, recognizer: Recognizer) -> Outputs:
    batches = recognizer.iterate_logits(manifest.read(path), 16)
    return [(list(ids), logits.float().log_softmax(dim=-1).cpu(), lengths) for ids, logits, lengths in batches]


def language_model(texts: Collection[str], left_out: Collection[str], folder: Path) -> Path:
    """Make a 3-gram of the texts without the words, by `asr-lab lm`."""
    text, made = folder / "text.txt", folder / "text.arpa"
    text.write_text("\n".join(sorted(one for one in set(texts) if not {*one.split()} & {*left_out})) + "\n")
    words = [sys.executable, "-m", "asr_lab", "lm", str(text), "--out", str(made), "--overwrite"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return made


def decoded(
    decode: Callable[[Tensor, Tensor], Sequence[str]], outputs: Outputs, recognizer: Recognizer
) -> dict[str, str]:
    return {
        id: recognizer.normalizer(text)
        for ids, log_probs_BUV, lengths_B in outputs
        for id, text in zip(ids, decode(log_probs_BUV, lengths_B), strict=True)
    }


def scored(
    tables: Sequence[pd.DataFrame], drawn: Sequence[Collection[str]], known: Collection[str]
) -> dict[str, figures.Value]:
    """Return the share of left-out words that were recognised, WER, and counts; `known` are all words there are."""
    rows = [
        [kind == "equal" for kind, word, _ in error_rates.alignment(*pair) if word in left_out]
        for table, left_out in zip(tables, drawn, strict=True)
        for pair in zip(table["reference"], table["hypothesis"], strict=True)
    ]
    pooled = pd.concat(tables)
    written = " ".join(pooled["hypothesis"]).split()
    rates = {
        "found": rate_interval([sum(row) for row in rows], [len(row) for row in rows]),
        "wer": rate_interval(error_rates.word_errors(pooled), pooled["words"]),
    }
    return {
        **{name: {"value": one.value, "low": one.low, "high": one.high} for name, one in rates.items()},
        "words": sum(map(len, rows)),
        "non_words": sum(word not in known for word in written),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="URI or folder")
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--words", type=int, default=16)
    parser.add_argument("--draws", type=int, default=2, help="each of other words; their utterances are pooled")
    figures.add_values_option(parser)
    given = parser.parse_args()
    recognizer = load_model(MlflowStore().resolve(given.model), MlflowStore().resolve)
    train, test = (texts_of(path, recognizer) for path in (given.train, given.test))
    outputs = outputs_of(given.test, recognizer)
    known = {word for text in (*train.values(), *test.values()) for word in text.split()}
    long = sorted(word for word in known if len(word) >= _LETTERS)
    drawn = np.random.default_rng(0).permutation(long)[: given.words * given.draws].reshape(given.draws, -1).tolist()
    tables: dict[str, list[pd.DataFrame]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for words in drawn:
            lm = language_model(train.values(), words, Path(folder))
            spoken = Decode(lm=str(lm))
            ways = {
                name: decoder_of(_with(spoken, unknown_score=score), lm, recognizer) for name, score in SCORES.items()
            }
            ways["hot"] = decoder_of(_with(spoken, hot_words=words), lm, recognizer)
            ways["hot_alone"] = decoder_of(Decode(hot_words=words), None, recognizer)
            decoders = {"greedy": recognizer.decode_greedily} | {name: one.decode for name, one in ways.items()}
            for name, decode in decoders.items():
                tables.setdefault(name, []).append(error_rates.score(test, decoded(decode, outputs, recognizer)))
    made: dict[str, figures.Value] = {"drawn": given.words, "draws": given.draws}
    for name, ones in tables.items():
        of = scored(ones, drawn, known)
        print(f"{name:10} {of}")
        made |= {f"{name}/{figure}": value for figure, value in of.items()}
    figures.write(made, given.values)


def _with(settings: Decode, **changed: object) -> Decode:
    return settings.model_copy(update=changed)


if __name__ == "__main__":
    main()
