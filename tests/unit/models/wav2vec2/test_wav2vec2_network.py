"""The wav2vec2 family: padding, lengths, masks, the loss, and what runs without gradient."""

from __future__ import annotations

import pytest
import torch
from encoders import FAMILY, batch, network, speech, tuned
from transformers import TrainerCallback

from asr_lab.config.schema import Wav2Vec2Augment, Wav2Vec2Train
from asr_lab.data.augment import FrameMasker
from asr_lab.models.wav2vec2.frame_counts import num_frames, receptive_field
from asr_lab.training.trainer import AsrTrainer

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def test_lengths_are_those_of_transformers():
    assert receptive_field(KERNELS, STRIDES) == 400
    assert num_frames(399, KERNELS, STRIDES) < 1 <= num_frames(400, KERNELS, STRIDES)
    samples = torch.tensor([400, 401, 719, 720, 16000, 320001])
    theirs = network()._get_feat_extract_output_lengths(samples)
    assert num_frames(samples, KERNELS, STRIDES).tolist() == theirs.tolist()
    assert [num_frames(int(one), KERNELS, STRIDES) for one in samples] == theirs.tolist()


@pytest.mark.parametrize(("kind", "norm"), FAMILY)
def test_padding_changes_nothing_with_either_norm(kind, norm):
    """Group norms (wav2vec2-base) see padding in transformers; here each utterance is as if it were alone there."""
    model = speech(kind, norm).eval()
    together = batch(3000, 8123)
    with torch.inference_mode():
        output = model(**together)
        alone = model.plain(together["input_values"][:1, :3000]).logits  # as plain transformers hears it
    assert output.logit_lengths.tolist() == [9, 25]
    torch.testing.assert_close(output.logits[0, :9], alone[0], atol=2e-6, rtol=0)


def test_transformers_itself_changes_with_padding_on_group_norms():
    """The reason for `UnpaddedGroupNorm`: without it this test's subject could go."""
    model, together = network(norm="group").eval(), batch(3000, 8123)
    with torch.inference_mode():
        padded = model(together["input_values"], together["attention_mask"]).logits[0, :9]
        alone = model(together["input_values"][:1, :3000]).logits[0]
    assert (padded - alone).abs().max() > 1e-3


@pytest.mark.parametrize(("kind", "norm"), FAMILY)
def test_masked_frames_and_channels_are_hidden_from_the_encoder(kind, norm):
    model = speech(kind, norm).eval()
    seen = []
    model.encoder.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    time, channels = torch.zeros(1, 9, dtype=torch.bool), torch.zeros(1, 32, dtype=torch.bool)
    time[0, 2:5], channels[0, 30:] = True, True
    model(**batch(3000))
    model(**batch(3000, time_mask=time, channel_mask=channels))
    plain, masked = seen
    expected = torch.where(time[:, :, None], model.encoder.masked_spec_embed, plain)
    expected[:, :, 30:] = 0
    torch.testing.assert_close(masked, expected)
    model.train()
    model(**batch(3000))  # the model's own masking is off: without masks nothing is masked, in training either
    assert model.config.apply_spec_augment is False


def test_widths_of_masks_are_the_specified_ones_and_scale_with_strength():
    def widths(**settings) -> tuple[list[int], list[int]]:
        masker = FrameMasker(Wav2Vec2Augment(time_masks=1, feature_masks=1, **settings), seed=0)
        drawn = [masker.masks(500, 1000, f"u{i}", 0) for i in range(400)]
        return [int(time.sum()) for time, _ in drawn], [int(channels.sum()) for _, channels in drawn]

    for strength, longest, widest in ((1.0, 15, 190), (0.5, 8, 95), (0.0, 0, 0)):
        time, channels = widths(strength=strength)
        assert max(time) == longest
        assert min(time) == 0
        assert widest * 0.95 <= max(channels) <= widest
        assert sum(time) / len(time) == pytest.approx(longest / 2, abs=0.7)  # uniform


def test_masks_repeat_for_the_same_epoch_and_spare_short_clips():
    masker = FrameMasker(Wav2Vec2Augment(), seed=3)
    one, again, other = (masker.masks(100, 32, "u", epoch) for epoch in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for num_frames_ in (1, 2, 5, 9):
        for epoch in range(50):
            assert not masker.masks(num_frames_, 32, "u", epoch)[0].all()


class _Gradients(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def gradients(tmp_path, batch_size: int, accumulate: int, strength: float = 0.0) -> dict[str, torch.Tensor]:
    """The gradient of one update from four utterances of unlike length."""
    whole = batch(3000, 8123, 5000, 4000)
    loader = torch.utils.data.DataLoader(
        [{key: rows[place] for key, rows in whole.items()} for place in range(4)], batch_size=batch_size
    )
    loader.batch_sampler.batch_sampler = loader.batch_sampler
    model, kept = speech(hidden_dropout=0, attention_dropout=0, activation_dropout=0, feat_proj_dropout=0,
                         final_dropout=0), _Gradients()  # fmt: skip
    settings = Wav2Vec2Train(epochs=1, batch_size=batch_size, accumulate=accumulate, grad_clip=1e9)
    AsrTrainer(model, loader, None, settings, folder=tmp_path, seed=0, callbacks=[kept], checkpoints=False).train()
    return kept.found


@pytest.mark.slow
def test_accumulated_batches_make_the_gradient_of_the_large_one(tmp_path):
    large, small = gradients(tmp_path, 4, 1), gradients(tmp_path, 1, 4)
    assert large.keys() == small.keys()
    for name, expected in large.items():
        torch.testing.assert_close(small[name], expected, atol=2e-6, rtol=1e-4, msg=name)


def test_more_labels_than_frames_count_nothing_instead_of_infinity():
    crowded = batch(800, 8123)
    crowded["labels"] = torch.tensor([[3, 3, 3, 3], [3, 4, -100, -100]])
    loss = speech()(**crowded).loss
    assert torch.isfinite(loss)
    loss.backward()


SETTINGS = {
    "head": {"tune": "head"},
    "upper": {"tune": "upper", "freeze_layers": 2},
    "lora": {"tune": "lora", "freeze_layers": 2},
}


def kept_for_backward(model, run) -> int:
    """Tensors that autograd keeps of what `run` computes."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(1) or tensor, lambda tensor: tensor):
        run()
    return len(kept)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("tune", SETTINGS)
def test_what_is_frozen_keeps_no_graph_and_gives_the_same_logits(kind, tune):
    masks = {"time_mask": torch.ones(2, 25, dtype=torch.bool).tril(3), "channel_mask": torch.zeros(2, 32) > 1}
    heard = batch(3000, 8123, **masks)
    free, model = speech(kind), tuned(speech(kind), **SETTINGS[tune])
    layers = model.encoder.encoder.layers
    below = []
    layers[2].register_forward_pre_hook(lambda _, inputs: below.append(inputs[0]))
    for one in (free, model):
        one.train()
        for module in one.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
    torch.testing.assert_close(model(**heard).logits, free(**heard).logits)
    assert not below[0].requires_grad  # nothing below asks for a gradient: neither sound, nor features, nor masks
    assert below[0].grad_fn is None
    bottom = kept_for_backward(model, lambda: layers[1](torch.zeros(1, 5, 32)))
    top = kept_for_backward(model, lambda: layers[2](torch.zeros(1, 5, 32)))
    assert bottom == 0
    assert (top > 0) == (tune != "head")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(**heard).loss.backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert any("lm_head" in name for name in moved)
    frozen = (
        "feature_extractor",
        "feature_projection",
        "pos_conv_embed",
        "layers.0.",
        "layers.1.",
        "masked_spec_embed",
    )
    assert not [name for name in moved if any(part in name for part in frozen)]


def test_full_tuning_leaves_the_feature_extractor_unless_asked():
    model = tuned(speech(), tune="full")
    assert not any(one.requires_grad for one in model.encoder.feature_extractor.parameters())
    assert all(one.requires_grad for one in model.encoder.encoder.parameters())
    assert all(one.requires_grad for one in tuned(speech(), tune="full", freeze_features=False).parameters())


def test_gradient_checkpointing_changes_no_gradient():
    found = []
    for checkpointing in (False, True):
        model = tuned(speech(), tune="lora", freeze_layers=1, lora={"dropout": 0})
        if checkpointing:
            model.plain.activation_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(1)
        model.train()(**batch(3000, 8123)).loss.backward()
        found.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)


def test_checkpoints_hold_what_learns_alone():
    model = tuned(speech(), tune="lora", freeze_layers=2)
    state = model.state_dict()
    assert set(state) == {name for name, one in model.named_parameters() if one.requires_grad}
    found = model.load_state_dict(state, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == ([], [])
    assert model.load_state_dict({}, strict=False).missing_keys  # what learns is missed


@pytest.mark.parametrize(("kind", "norm"), FAMILY)
def test_half_precision_as_on_a_gpu(kind, norm):
    """bfloat16 by autocast, here on CPU: masks, norms and the loss (in float32) go through, and near the same."""
    model = tuned(speech(kind, norm), tune="upper", freeze_layers=2).eval()
    masks = {"time_mask": torch.ones(2, 25, dtype=torch.bool).tril(3), "channel_mask": torch.zeros(2, 32) > 1}
    whole = model(**batch(3000, 8123, **masks)).loss
    with torch.autocast("cpu", torch.bfloat16):
        half = model(**batch(3000, 8123, **masks)).loss
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.05, atol=0)
    half.backward()
    learning = [one.grad for one in model.parameters() if one.requires_grad]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in learning)
