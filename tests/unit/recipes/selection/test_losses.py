"""The loss of each utterance under a model, by which `asr-lab data check --model` finds wrong transcripts."""

import math

import pytest
import torch
from lhotse import CutSet
from torch.nn.functional import ctc_loss

from asr_lab.data import manifest
from asr_lab.data.audio_measures import Measurements
from asr_lab.data.table_utterances import Utterances
from asr_lab.recipes.selection.losses import losses, measure_losses


def test_losses_of_a_batch_are_those_of_each_utterance_alone(recognizer, corpus):
    cuts = manifest.read(corpus)
    by_id = losses(recognizer, cuts)
    assert by_id.keys() == {cut.id for cut in cuts}
    for cut in cuts:
        ((_, logits, lengths),) = recognizer.iterate_logits(CutSet.from_cuts([cut]))
        labels = torch.tensor([recognizer.encode_text(manifest.text(cut))])
        log_probs = logits.detach().log_softmax(-1).transpose(0, 1)
        alone = ctc_loss(log_probs, labels, lengths, torch.tensor([labels.shape[1]]), recognizer.blank, "sum")
        assert by_id[cut.id] == pytest.approx(alone.item() / labels.shape[1], rel=1e-4)


def test_what_cannot_be_read_has_no_loss_and_a_text_too_long_an_infinite_one(recognizer, corpus):
    cuts = list(manifest.read(corpus))
    manifest.supervision(cuts[1]).text = "abcdefg" * 200
    manifest.write(cuts, corpus)
    rows = Utterances.read(corpus)
    with open(cuts[0].recording.sources[0].source, "wb"):  # noqa: PTH123
        pass
    audio, seen = Measurements(rows), []
    audio.run(workers=1)
    table = measure_losses(recognizer, audio, lambda done, total: seen.append((done, total))).dataset.to_table()
    by_row = dict(zip(table["row"].to_pylist(), table["loss"].to_pylist(), strict=True))
    assert by_row[0] is None
    assert math.isinf(by_row[1])
    assert all(math.isfinite(by_row[row]) for row in range(2, len(cuts)))
    assert seen == [(len(cuts), len(cuts))]
