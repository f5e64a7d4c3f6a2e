"""SpecAugment, speed and noise: repeatable, at the ratio and on the share that were asked for."""

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_corpus, tone_word

from asr_lab.config.schema import Augment
from asr_lab.data import manifest, noise
from asr_lab.data.augment import Augmenter


def test_augmentation_depends_on_seed_epoch_and_utterance_alone():
    features = torch.randn(100, 80)
    settings = Augment(speed_factors=(0.9, 1.0, 1.1), time_masks=2, freq_masks=2)

    def masked(seed, id, epoch):
        return Augmenter(settings, seed).features(features, id, epoch)

    assert torch.equal(masked(0, "a", 1), masked(0, "a", 1))
    others = [masked(1, "a", 1), masked(0, "b", 1), masked(0, "a", 2)]
    assert not any(torch.equal(masked(0, "a", 1), other) for other in others)
    sound = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    lengths = {len(Augmenter(settings, 0).samples(sound, "a", epoch)) for epoch in range(30)}
    assert len(lengths) == 3
    assert (masked(0, "a", 1) == 0).sum() < 0.6 * features.numel()


@pytest.mark.parametrize("kind", ["pink", "white", "recordings"])
def test_noise_has_the_ratio_that_was_asked_for(kind, tmp_path):
    draw, recordings = np.random.default_rng(0), []
    if kind == "recordings":
        path = make_corpus(tmp_path / "noise", {"n1": "a", "n2": "gg"}, speaker="street")
        for file in (tmp_path / "noise" / "audio").iterdir():
            soundfile.write(file, draw.normal(0, 0.1, 8000).astype(np.float32), 16000)
        recordings = list(manifest.read(path))
        kind = str(path)
    settings = Augment(noise_snr_db=(7, 7), noise=kind, noise_share=1.0)
    speech = tone_word("cab", draw) * 0.3
    noisy = Augmenter(settings, 1, recordings).samples(speech, "u1", 2)
    background = noisy - speech
    ratio = 10 * np.log10((speech.astype(float) ** 2).mean() / (background.astype(float) ** 2).mean())
    assert ratio == pytest.approx(7, abs=0.5)
    assert np.array_equal(
        noisy, Augmenter(settings, 1, recordings).samples(speech, "u1", 2)
    )  # a resumed run repeats it
    assert not np.array_equal(noisy, Augmenter(settings, 1, recordings).samples(speech, "u1", 3))


def test_a_share_of_the_utterances_gets_noise():
    speech = tone_word("cab", np.random.default_rng(0)) * 0.3
    augmenter = Augmenter(Augment(noise_snr_db=(5, 20), noise_share=0.3), seed=0)
    changed = sum(not np.array_equal(augmenter.samples(speech, f"u{i}", 0), speech) for i in range(300))
    assert 60 <= changed <= 120


def test_silent_noise_changes_nothing():
    speech = tone_word("cab", np.random.default_rng(0))
    assert np.array_equal(noise.mix(speech, np.zeros_like(speech), 5.0), speech)
