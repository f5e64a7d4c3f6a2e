"""The convolutions as matrix products: the numbers, gradients and names of transformers' own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from encoders import FAMILY, batch, network
from torch.func import functional_call

from asr_lab.models.wav2vec2.convolutions import FramesFirst, as_given, by_spectra, frames_first
from asr_lab.models.wav2vec2.network import SpeechCTC


@pytest.mark.parametrize(("kind", "norm"), FAMILY)
def test_frames_and_gradients_are_those_of_transformers(kind, norm):
    theirs, ours = (network(kind, norm, conv_bias=norm == "layer").base_model.feature_extractor for _ in range(2))
    frames_first(ours.conv_layers)
    for samples in (400, 3001, 3204):  # one frame; frames left over at each layer
        sound = torch.randn(2, samples, dtype=torch.float64)
        frames = [extractor.double().train()(sound) for extractor in (theirs, ours)]
        torch.testing.assert_close(*frames)
        for one in frames:
            one.square().sum().backward()
    expected = dict(theirs.named_parameters())
    assert list(dict(ours.named_parameters())) == list(expected)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad)


@pytest.mark.parametrize("frames", [3, 4, 9])
@pytest.mark.parametrize("kernel", [2, 3])
def test_gradients_are_those_of_differences(kernel, frames):
    torch.manual_seed(0)
    shapes = ((2, 3, frames), (4, 3, kernel), (4,))
    x, weight, bias = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    layers = [SimpleNamespace(conv=torch.nn.Conv1d(3, 4, kernel, stride=2), activation=torch.nn.Identity())]
    frames_first(layers)

    def convolve(x, weight, bias):
        return functional_call(layers[0], {"conv.weight": weight, "conv.bias": bias}, x)

    torch.testing.assert_close(convolve(x, weight, bias), torch.nn.functional.conv1d(x, weight, bias, stride=2))
    assert torch.autograd.gradcheck(convolve, (x, weight, bias))


def test_half_precision_has_about_the_same_gradients():
    extractor = network().base_model.feature_extractor.train()
    frames_first(extractor.conv_layers)
    sound, gradients = torch.randn(2, 3001), []
    for enabled in (False, True):
        extractor.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = extractor(sound).float().square().mean()
        loss.backward()
        gradients.append(torch.cat([one.grad.flatten() for one in extractor.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99


def test_a_model_keeps_the_names_of_its_weights_and_all_layers_it_knows_are_products():
    plain = network()
    names = list(plain.state_dict())
    model = SpeechCTC(plain)
    assert list(model.plain.state_dict()) == names
    assert all(isinstance(layer, FramesFirst) for layer in model.encoder.feature_extractor.conv_layers)


def test_convolutions_of_other_kernels_stay_as_they_are():
    model = SpeechCTC(network(conv_kernel=(10, 4, 3, 3, 3, 2, 2), conv_stride=(5, 2, 3, 2, 2, 2, 2)))
    changed = [isinstance(layer, FramesFirst) for layer in model.encoder.feature_extractor.conv_layers]
    assert changed == [True, False, False, True, True, True, True]
    assert torch.isfinite(model(**batch(4000)).logits).all()


@pytest.mark.parametrize("frames", [1, 50, 129])
def test_positions_by_spectra_are_those_of_the_convolution(frames):
    torch.manual_seed(0)
    theirs = network(num_conv_pos_embeddings=128, num_conv_pos_embedding_groups=4).base_model.encoder.pos_conv_embed
    hidden = torch.randn(2, frames, theirs.conv.in_channels, dtype=torch.float64, requires_grad=True)
    weights = [hidden, *theirs.double().parameters()]
    expected = theirs(hidden)
    of_expected = torch.autograd.grad(expected.square().sum(), weights)
    by_spectra(theirs.conv)
    assert "_conv_forward" in vars(theirs.conv)
    torch.testing.assert_close(theirs(hidden), expected)
    torch.testing.assert_close(torch.autograd.grad(theirs(hidden).square().sum(), weights), of_expected)
    as_given(theirs)
    assert torch.equal(theirs(hidden), expected)


def test_positions_of_wide_groups_stay_a_convolution():
    conv = torch.nn.Conv1d(96, 96, 128, padding=64, groups=2)
    by_spectra(conv)
    assert "_conv_forward" not in vars(conv)
