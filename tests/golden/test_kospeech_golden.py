"""KoSpeech's own numbers, reproduced."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asr_lab.data.features import filter_bank
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.kospeech import convert_state_dict

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "H3_gru_h32_l2_v40.pt"


@pytest.mark.skipif(not GOLDEN.is_file(), reason="the golden file is not on this machine")
def test_log_probabilities_equal_kospeech_within_1e_5():
    golden = torch.load(GOLDEN, weights_only=True)
    model = DeepSpeech2ForCTC(DeepSpeech2Config(vocab_size=40, hidden_size=32, num_layers=2))
    model.load_state_dict(convert_state_dict(golden["state_dict"]))
    model.eval()
    with torch.inference_mode():
        output = model(golden["inputs"], golden["input_lengths"])
    assert output.logit_lengths.tolist() == golden["output_lengths"].tolist()
    ours = output.logits.log_softmax(dim=-1)
    for row, length in enumerate(output.logit_lengths.tolist()):
        torch.testing.assert_close(ours[row, :length], golden["log_probs"][row, :length], atol=1e-5, rtol=0)


def test_filter_bank_equals_kospeech_on_a_sine():
    time = np.arange(16000) / 16000
    features = filter_bank((0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))
    assert features.shape == (99, 80)
    np.testing.assert_allclose(features[0, :4], [-7.8353, -7.7350, -8.2669, -7.6139], atol=1e-4)
    assert features.mean(dim=0).argmax() == 14
    assert abs(features.mean() + 8.391560) < 0.01  # the upper bins hold rounding noise, so not closer
