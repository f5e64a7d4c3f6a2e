"""A base's frames, kept: the same in memory and on disk, computed once, refused where there is no room."""

import io

import pytest
import torch

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import MLPAdapter
from asr_lab.system.terminal import Console
from asr_lab.training import row_cache
from asr_lab.training.encoder_output_cache import EncoderOutputCache
from asr_lab.training.encoder_outputs import EncoderOutputs, ShuffledBatches, encoder_output_loader
from asr_lab.training.row_cache import InMemory, OnDisk

QUIET = Console(file=io.StringIO())


def test_disk_and_memory_hold_the_same(recognizer, corpus, tmp_path):
    cuts, folder = manifest.read(corpus), tmp_path / "frames"
    folder.mkdir()
    kept = {
        where: EncoderOutputs.of(recognizer, cuts, QUIET, where=where, folder=folder) for where in ("memory", "disk")
    }
    assert isinstance(kept["memory"].rows, InMemory)
    assert isinstance(kept["disk"].rows, OnDisk)
    for cut in cuts:
        for one, other in zip(kept["memory"].rows.get(cut.id), kept["disk"].rows.get(cut.id), strict=True):
            assert torch.equal(one, other)
    adapter = MLPAdapter(16, (8,), len(recognizer.vocabulary), residual=True).eval()
    assert kept["disk"].hypotheses(recognizer, cuts, adapter) == kept["memory"].hypotheses(recognizer, cuts, None)
    assert list(folder.iterdir()) == []  # its files have no name: nothing is left, however the process ends


def test_frames_and_logits_are_those_of_the_base(recognizer, corpus):
    cuts = manifest.read(corpus)
    frames = EncoderOutputs.of(recognizer, cuts, QUIET, where="memory", batch_size=5)
    assert frames.hypotheses(recognizer, cuts, None) == recognizer.hypotheses(cuts)
    for ids, whole, lengths in recognizer.iterate_encoder_outputs(cuts, batch_size=5):
        for id, row, length in zip(ids, whole, lengths.tolist(), strict=True):
            own, logits = frames.rows.get(id)
            assert torch.equal(own, row[:length])
            torch.testing.assert_close(logits, recognizer.model.head(own), atol=1e-5, rtol=1e-4)


def test_many_frames_go_to_disk_by_themselves(corpus, tmp_path, monkeypatch):
    cuts = manifest.read(corpus)
    assert isinstance(row_cache.make_row_cache(cuts, (16, 10), "auto", tmp_path), InMemory)
    monkeypatch.setattr(row_cache, "free_memory", lambda: 1000)
    assert isinstance(row_cache.make_row_cache(cuts, (16, 10), "auto", tmp_path), OnDisk)
    assert row_cache.make_row_cache(cuts, (16, 10), "memory", tmp_path).by_id == {}


def test_a_full_disk_is_reported_before_anything_is_encoded(corpus, tmp_path):
    cuts = manifest.read(corpus)
    with pytest.raises(AsrLabError, match=r"need .* GB, .* GB are free"):
        row_cache.make_row_cache(cuts, (10**12, 1), "disk", tmp_path)


def test_each_utterance_is_encoded_once(recognizer, corpus):
    heard = []
    encode = recognizer.model.encode

    def counted(features, lengths):
        heard.append(len(features))
        return encode(features, lengths)

    recognizer.model.encode = counted
    cuts = manifest.read(corpus)
    frames = EncoderOutputs.of(recognizer, cuts, QUIET)
    for _ in range(3):
        list(encoder_output_loader(frames, {cut.id: [1] for cut in cuts}, 4, seed=0))
        frames.hypotheses(recognizer, cuts, None)
    assert sum(heard) == len(cuts)


def test_strengths_scale_what_a_residual_adapter_adds(recognizer, corpus):
    cuts = manifest.read(corpus)
    frames = EncoderOutputs.of(recognizer, cuts, QUIET)
    adapter = MLPAdapter(16, (8,), len(recognizer.vocabulary), residual=True).eval()
    torch.nn.init.normal_(adapter.layers[-2].weight, std=3.0)
    found = frames.hypotheses_by_scale(recognizer, cuts, adapter, (0.0, 0.5, 1.0))
    assert found[0.0] == frames.hypotheses(recognizer, cuts, None)
    assert found[1.0] == frames.hypotheses(recognizer, cuts, adapter)
    assert found[1.0] != found[0.0]
    adapter.scale_output(0.5)
    assert found[0.5] == frames.hypotheses(recognizer, cuts, adapter)


def test_a_cache_encodes_what_is_missing_and_returns_it_at_once(recognizer, corpus, tmp_path):
    cuts, few = manifest.read(corpus), manifest.read(corpus).subset(first=3)
    expected = recognizer.hypotheses(cuts)
    store = EncoderOutputCache(tmp_path, "base-and-data")
    for asked in (few, cuts):  # in two parts
        found = store.encode(recognizer, asked, QUIET)
        assert found.seconds > 0
        assert found.hypotheses(recognizer, asked, None) == {cut.id: expected[cut.id] for cut in asked}
    other = EncoderOutputCache(tmp_path, "base-and-data").encode(recognizer, cuts, QUIET)
    assert other.seconds == 0, "another process maps what is there"
    assert other.hypotheses(recognizer, cuts, None) == expected


def test_adapter_batches_cover_everybody_each_epoch():
    batches = ShuffledBatches([f"u{i}" for i in range(10)], 4, seed=0)
    first = [id for batch in batches for id in batch]
    batches.set_epoch(1)
    second = [id for batch in batches for id in batch]
    assert sorted(first) == sorted(second)
    assert first != second
    assert len(list(batches)) == len(batches) == 3
