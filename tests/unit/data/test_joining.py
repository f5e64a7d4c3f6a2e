"""Utterances joined with pauses: what follows what, what is in the pauses, and the labels."""

import itertools

import numpy as np
import pytest
import torch
from conftest import make_corpus
from lhotse import CutSet
from pydantic import ValidationError

from asr_lab.config.schema import Augment, DeepSpeech2Experiment, Wav2Vec2Augment, Wav2Vec2Experiment
from asr_lab.data import manifest
from asr_lab.data.augment import Augmenter, FrameMasker
from asr_lab.data.batches import Collator, EpochBatches, loader
from asr_lab.data.features import extract, filter_bank, normalize_speech
from asr_lab.data.joining import Joiner, quietest, unjoined_warnings
from asr_lab.models.wav2vec2.batches import SoundCollator
from asr_lab.units import SAMPLE_RATE


@pytest.fixture
def cuts(tmp_path):
    return list(
        manifest.read(make_corpus(tmp_path, {f"u{n}": word for n, word in enumerate(["ab", "cad", "e", "fab"])}))
    )


def joiner(**more):
    return Joiner(Augment(**{"join_share": 1.0, "join_s": 4.0} | more), seed=3)


def test_chains_hold_each_utterance_once_and_stay_below_the_longest(cuts):
    own = joiner()
    chains = own.chains(cuts, 1)
    assert [[one.id for one in chain] for chain in chains] == [
        [one.id for one in chain] for chain in joiner().chains(cuts, 1)
    ]
    assert sorted(one.id for chain in chains for one in chain) == [cut.id for cut in cuts]
    assert all(sum(one.duration for one in chain) <= 4.0 for chain in chains)
    drawn = [own.chains(cuts, epoch) for epoch in range(10)]
    assert len({tuple(map(len, chains)) for chains in drawn}) > 1
    assert {chain[0].id for chains in drawn for chain in chains} == {cut.id for cut in cuts}


@pytest.mark.parametrize("settings", [{"join_share": 0.0}, {"join_s": 0.1}])
def test_utterances_stay_alone_without_joining_or_room_for_two(cuts, settings):
    assert joiner(**settings).chains(cuts, 1) == [[cut] for cut in cuts]


def test_utterances_too_long_to_be_joined_are_reported(cuts):
    longest_s = max(cut.duration for cut in cuts)
    assert not unjoined_warnings(Augment(join_share=0.5, join_s=3 * longest_s), cuts)
    assert not unjoined_warnings(Augment(join_s=0.1), cuts)
    (line,) = unjoined_warnings(Augment(join_share=0.5, join_s=0.1), cuts)
    assert "100%" in line


@pytest.mark.parametrize("experiment", [DeepSpeech2Experiment, Wav2Vec2Experiment])
def test_joining_needs_batches_of_two(experiment):
    experiment(augment={"join_share": 0.5}, train={"batch_size": 2})
    with pytest.raises(ValidationError, match="batch_size"):
        experiment(augment={"join_share": 0.5}, train={"batch_size": 1})


def test_a_joined_signal_holds_every_utterance_unchanged_with_pauses_between():
    own = joiner(join_pause_s=(0.2, 0.5))
    draw = np.random.default_rng(0)
    signals = [draw.normal(0, 0.1, 8000).astype(np.float32) for _ in range(3)]
    kinds = set()
    for epoch in range(20):
        joined = own.join(signals, "u0", epoch)
        np.testing.assert_array_equal(joined, own.join(signals, "u0", epoch))
        places = [int(np.flatnonzero(joined == one[0])[0]) for one in signals]
        for place, one in zip(places, signals, strict=True):
            np.testing.assert_array_equal(joined[place : place + 8000], one)
        pauses = [b - a - 8000 for a, b in itertools.pairwise(places)]
        assert all(0.2 * SAMPLE_RATE <= one <= 0.5 * SAMPLE_RATE for one in pauses)
        kinds.add(bool(joined[places[0] + 8000 : places[1]].any()))
    assert kinds == {True, False}  # zeros, and something else


def test_labels_are_those_of_all_joined_utterances(cuts):
    augmenter = Augmenter(Augment(join_share=1.0, join_s=4.0, time_masks=0, freq_masks=0), 3)
    plain = Collator(extract, lambda text: [ord(one) for one in text])
    joining = Collator(extract, lambda text: [ord(one) for one in text], augmenter)
    batch, indices = joining([(cut, 1) for cut in cuts]), [(cut, 1) for cut in cuts]
    chains = augmenter.joiner.chains(cuts, 1)
    texts = [" ".join(manifest.text(one) for one in chain) for chain in chains]
    assert len(batch["labels"]) == len(texts) < len(cuts)
    for row, text in zip(batch["labels"].tolist(), texts, strict=True):
        assert "".join(chr(one) for one in row if one >= 0) == text
    assert batch["cut_ids"] == [chain[0].id for chain in chains]
    assert batch["feature_lengths"].sum() > plain(indices)["feature_lengths"].sum()  # the pauses


def test_threads_make_the_batches_that_the_training_would_make(cuts):
    augment = Augment(join_share=0.5, join_s=4.0, speed_factors=(0.9, 1.1), noise_snr_db=(5, 20), noise_share=0.7)
    sampler = EpochBatches(CutSet.from_cuts(cuts * 4), 3, seed=1)

    def batches(workers):
        collator = Collator(extract, lambda text: [ord(one) for one in text], Augmenter(augment, 3, cuts[:2]))
        for epoch in range(3):
            sampler.set_epoch(epoch)
            yield from loader(sampler, collator, workers)

    alone = list(batches(0))
    assert len({len(batch["cut_ids"]) for batch in alone}) > 1
    for one, other in zip(alone, batches(3), strict=True):
        assert one["cut_ids"] == other["cut_ids"]
        for name in ("input_features", "feature_lengths", "labels", "label_lengths"):
            assert torch.equal(one[name], other[name])


def test_time_masks_of_joined_utterances_are_as_many_and_as_narrow_as_of_each_alone():
    features = torch.ones(1000, 80)
    augmenter = Augmenter(Augment(time_masks=1, time_mask_share=0.1, freq_masks=0), 3)

    def masks(joined):
        """Return the number of masks that do not touch, and the widest."""
        starts, widths = [], []
        for epoch in range(40):
            masked = (augmenter.features(features, "u", epoch, joined)[:, 0] == 0).numpy().astype(int)
            edges = np.flatnonzero(np.diff(masked, prepend=0, append=0)).reshape(-1, 2)
            starts.append(len(edges))
            widths += (edges[:, 1] - edges[:, 0]).tolist()
        return np.mean(starts), max(widths)

    (one, widest), (ten, narrow) = masks(1), masks(10)
    assert one <= 1
    assert 5 < ten <= 10
    assert narrow <= 30 < widest  # some touch


def test_encoders_of_samples_learn_from_joined_utterances_too(cuts):
    augmenter = FrameMasker(Wav2Vec2Augment(join_share=1.0, join_s=4.0), 3)
    collator = SoundCollator(
        torch.from_numpy, lambda text: [ord(one) for one in text], augmenter,
        output_frames=lambda samples: samples // 320, num_channels=8,
    )  # fmt: skip
    batch, chains = collator([(cut, 1) for cut in cuts]), augmenter.joiner.chains(cuts, 1)
    assert any(len(chain) > 1 for chain in chains)
    for row, chain in zip(batch["labels"].tolist(), chains, strict=True):
        assert "".join(chr(one) for one in row if one >= 0) == " ".join(manifest.text(one) for one in chain)
    least = [sum(one.num_samples for one in chain) for chain in chains]
    lengths = batch["attention_mask"].sum(dim=-1).tolist()
    assert all(length >= own for length, own in zip(lengths, least, strict=True))
    assert batch["time_mask"].size(1) == max(lengths) // 320


def test_the_quietest_stretch():
    signal = np.ones(SAMPLE_RATE, dtype=np.float32)
    signal[4000:5000] = 0
    assert not quietest(signal).any()
    assert len(quietest(signal)) == SAMPLE_RATE // 20


def test_silence_does_not_change_how_speech_is_normalised():
    draw = np.random.default_rng(0)
    speech = (draw.normal(0, 0.1, SAMPLE_RATE) * (1 + np.sin(np.arange(SAMPLE_RATE) / 900))).astype(np.float32)
    padded = np.concatenate([speech, np.zeros(SAMPLE_RATE, dtype=np.float32)])
    alone, with_silence = normalize_speech(filter_bank(speech)), normalize_speech(filter_bank(padded))
    torch.testing.assert_close(with_silence[: len(alone)], alone, atol=0.05, rtol=0)  # a frame at the edge
    assert (with_silence[len(alone) + 2 :] == -3).all()
    assert (extract(padded)[: len(alone)] - extract(speech)).abs().max() > 1
    silence = torch.full((20, 80), -15.9)
    assert torch.isfinite(normalize_speech(silence)).all()
