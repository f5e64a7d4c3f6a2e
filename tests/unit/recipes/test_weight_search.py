"""The search for the weights of a language model, in one process."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from manifests import row, written
from rich.progress import Progress

from asr_lab.config.schema import Decode, EvaluateExperiment
from asr_lab.data import manifest
from asr_lab.recipes import weight_search
from asr_lab.recipes.decoding import Decoding
from asr_lab.system.terminal import Console


@pytest.mark.parametrize("of_units", [False, True])
@pytest.mark.parametrize("given", [{}, {"lm_weight": 0.7, "word_score": 0.3}], ids=["usual", "own"])
def test_the_bar_knows_how_many_weights_are_tried(tmp_path, monkeypatch, of_units, given):
    bars = []

    class Seen(Progress):
        def __init__(self, **options):
            super().__init__(**options)
            bars.append(self)

    decoder = SimpleNamespace(of_units=of_units, decode=lambda logits, lengths: ["a"])
    decoder.with_word_score = lambda score: decoder
    monkeypatch.setattr(weight_search, "Progress", Seen)
    monkeypatch.setattr(weight_search, "decoder_of", lambda *_: decoder)
    cuts = manifest.read(written(tmp_path / "all.jsonl.gz", [row(0)]))
    outputs = [([cut.id for cut in cuts], torch.zeros(1, 2, 3), torch.tensor([2]))]
    recognizer = SimpleNamespace(normalizer=str, iterate_logits=lambda *_: outputs)
    asked = {"model": "models:/x/1", "data": "a", "tune": True}
    config = EvaluateExperiment.model_validate({"evaluate": asked, "decode": {"lm": "x.arpa"}})
    decoding = Decoding(Decode(lm="x.arpa", **given), decoder, SimpleNamespace(path=Path("x.arpa")))
    _, tuned = weight_search.tuned(config, decoding, recognizer, cuts, Console(file=io.StringIO()))
    (task,) = bars[0].tasks
    assert task.total == task.completed == len(tuned.weights)
