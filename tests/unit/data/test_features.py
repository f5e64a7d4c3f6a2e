import numpy as np
import torch
from torchaudio.compliance import kaldi

from asr_lab.data.features import filter_bank


def test_filter_banks_are_those_of_torchaudio():
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    signals = {
        "loud": 0.5 * noise,
        "quiet": 1e-4 * noise,
        "silence": np.zeros(16_000, np.float32),
        "one frame": 0.1 * noise[:320],
        "not a whole frame at the end": 0.1 * noise[:479],
    }
    for name, samples in signals.items():
        expected = kaldi.fbank(
            torch.from_numpy(samples)[None],
            num_mel_bins=80,
            frame_length=20,
            frame_shift=10,
            window_type="hamming",
            dither=0.0,
            sample_frequency=16_000,
        )
        got = filter_bank(samples)
        assert got.shape == expected.shape, name
        assert (got - expected).abs().max() <= 2e-6, name
