"""Models of the wav2vec2 family on disk: adapters and their head, plain models, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from encoders import VOCABULARY, base_folder, batch, network, recognizer, speech, tuned
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCTC, AutoProcessor, Wav2Vec2Config, Wav2Vec2ForCTC

from asr_lab.errors import AsrLabError
from asr_lab.models import load_model
from asr_lab.models.wav2vec2 import bases
from asr_lab.models.wav2vec2.network import SpeechCTC

METHODS = ("lora", "dora", "rslora", "loha", "lokr", "ia3")


def adapted(folder, method: str = "lora", kind: str = "wav2vec2", norm: str = "layer", **lora) -> SpeechCTC:
    """A base in `folder/base` with adapters and a head that have learned for two updates."""
    base = base_folder(folder / "base", kind, norm)
    source = bases.Source.of(str(base))
    made = source.network(bases.for_ctc(source.config(), len(VOCABULARY), {}))
    bases.draw_head(made)
    rank = {} if method == "ia3" else {"r": 4}  # which learns scales alone
    model = tuned(SpeechCTC(made), str(base), tune="lora", freeze_layers=2, lora={"method": method, **rank, **lora})
    learn(model)
    return model


def learn(model: SpeechCTC, updates: int = 2) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam((one for one in model.parameters() if one.requires_grad), lr=0.02)
    model.train()
    for _ in range(updates):
        optimizer.zero_grad()
        model(**batch(3000, 8123)).loss.backward()
        optimizer.step()


@torch.inference_mode()
def logits(model) -> torch.Tensor:
    return model.eval()(**{key: value for key, value in batch(3000, 8123).items() if key != "labels"}).logits


@pytest.mark.parametrize("method", METHODS)
def test_adapters_come_back_with_their_head_bit_for_bit(tmp_path, method):
    model = adapted(tmp_path, method)
    base = load_model_of_base(tmp_path)
    recognizer(model).save(tmp_path / "kept")
    assert "model.safetensors" not in {file.name for file in (tmp_path / "kept").iterdir()}
    again = load_model(tmp_path / "kept")
    assert torch.equal(logits(again.model), logits(model))
    assert (logits(model) - base).abs().max() > 1e-2  # they do something
    again.merge()
    torch.testing.assert_close(logits(again.model), logits(model), atol=2e-5, rtol=0)
    again.save(tmp_path / "merged")
    (tmp_path / "base").rename(tmp_path / "away")
    torch.testing.assert_close(logits(load_model(tmp_path / "merged").model), logits(model), atol=2e-5, rtol=0)


def load_model_of_base(folder) -> torch.Tensor:
    source = bases.Source.of(str(folder / "base"))
    return logits(SpeechCTC(source.network(bases.for_ctc(source.config(), len(VOCABULARY), {}))))


@pytest.mark.parametrize(
    ("kind", "norm", "targets"),
    [
        ("wav2vec2", "group", ("q_proj", "k_proj", "v_proj")),
        ("hubert", "layer", ("q_proj", "v_proj", "out_proj")),
        ("wavlm", "layer", ("intermediate_dense", "output_dense")),
    ],
)
def test_every_adapter_of_every_kind_learns(tmp_path, kind, norm, targets):
    model = adapted(tmp_path, kind=kind, norm=norm, targets=targets)
    learning = [name for name, one in model.named_parameters() if one.requires_grad]
    assert len([name for name in learning if "lora_A" in name]) == 2 * len(targets)
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in model.parameters() if one.requires_grad)
    recognizer(model).save(tmp_path / "kept")
    assert torch.equal(logits(load_model(tmp_path / "kept").model), logits(model))


def test_plain_transformers_and_peft_read_the_folder(tmp_path):
    model = adapted(tmp_path)
    kept = tmp_path / "kept"
    recognizer(model).save(kept)
    config = AutoConfig.from_pretrained(kept)
    base = AutoModelForCTC.from_pretrained(tmp_path / "base", config=config, ignore_mismatched_sizes=True)
    plain = PeftModel.from_pretrained(base, kept).eval()
    processor = AutoProcessor.from_pretrained(kept)
    sound = np.random.default_rng(0).normal(size=4000).astype(np.float32)
    inputs = processor(sound, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        theirs = plain(**inputs).logits
    ours = load_model(kept)
    text = next(ours.transcribe([sound]))
    assert processor.batch_decode(theirs.argmax(-1))[0] == text
    values = ours.extract(sound)[None]
    with torch.inference_mode():
        own = ours.model(values, torch.ones_like(values, dtype=torch.bool)).logits
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)  # convolutions here are matrix products


WITHOUT_ASR_LAB = """
import sys
sys.modules["asr_lab"] = None  # as where it is not installed
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCTC, AutoProcessor
base, kept, merged = sys.argv[1:]
config = AutoConfig.from_pretrained(kept)
whole = AutoModelForCTC.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
inputs = AutoProcessor.from_pretrained(merged)(torch.linspace(-1, 1, 4000).sin().numpy(), sampling_rate=16000,
                                               return_tensors="pt")
with torch.inference_mode():
    for model in (PeftModel.from_pretrained(whole, kept), AutoModelForCTC.from_pretrained(merged)):
        print(model.eval()(**inputs).logits.double().abs().sum().item())
"""


@pytest.mark.slow
def test_adapters_and_merged_model_are_read_where_asr_lab_is_not(tmp_path):
    own = recognizer(adapted(tmp_path))
    own.save(tmp_path / "kept")
    values = own.extract(torch.linspace(-1, 1, 4000).sin().numpy())[None]
    with torch.inference_mode():
        expected = own.model(values, torch.ones_like(values, dtype=torch.bool)).logits.double().abs().sum().item()
    own.merge()
    own.save(tmp_path / "merged")
    folders = [str(tmp_path / name) for name in ("base", "kept", "merged")]
    done = subprocess.run([sys.executable, "-c", WITHOUT_ASR_LAB, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [float(line) for line in done.stdout.split()] == pytest.approx([expected, expected], rel=1e-4)


def test_a_plain_model_is_read_by_plain_transformers(tmp_path):
    model = tuned(speech(), tune="full")
    learn(model)
    recognizer(model).save(tmp_path)
    plain = Wav2Vec2ForCTC.from_pretrained(tmp_path).eval()
    heard = batch(4000)
    with torch.inference_mode():
        torch.testing.assert_close(plain(heard["input_values"]).logits, logits_of(model, heard))
    assert AutoProcessor.from_pretrained(tmp_path).tokenizer.pad_token_id == 0
    assert torch.equal(logits(load_model(tmp_path).model), logits(model))


@torch.inference_mode()
def logits_of(model, heard) -> torch.Tensor:
    return model.eval()(heard["input_values"], heard["attention_mask"]).logits


@pytest.mark.parametrize(("rank", "freeze", "expected"), [(16, 8, 1_572_864), (32, 8, 3_145_728), (16, 0, 2_359_296)])
def test_lora_on_xls_r_has_the_size_of_the_specification(rank, freeze, expected):
    config = Wav2Vec2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                            feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)  # fmt: skip
    with torch.device("meta"):
        model = SpeechCTC(Wav2Vec2ForCTC(bases.for_ctc(config, 70, {})))
        tuned(model, tune="lora", freeze_layers=freeze, lora={"r": rank})
    learning = {name: one.numel() for name, one in model.named_parameters() if one.requires_grad}
    head = 70 * 1024 + 70
    assert sum(learning.values()) - head == expected
    (settings,) = model.network.peft_config.values()
    assert (settings.r, settings.lora_alpha, settings.lora_dropout, settings.bias) == (rank, 32, 0.1, "none")
    assert sum("lora_A" in name for name in learning) == 3 * (24 - freeze)


def test_a_base_of_transformers_gets_a_new_head_and_our_settings(tmp_path):
    source = bases.Source.of(str(base_folder(tmp_path)))
    made = source.network(bases.for_ctc(source.config(), 11, {"lowercase": True}))
    config = made.config
    assert made.lm_head.out_features == 11
    assert (config.apply_spec_augment, config.layerdrop, config.ctc_zero_infinity) == (False, 0.0, True)
    expected = network().wav2vec2.encoder.layers[3].attention.q_proj.weight
    assert torch.equal(made.wav2vec2.encoder.layers[3].attention.q_proj.weight, expected)


# what is refused, in one message each


def test_a_target_that_names_no_layer():
    with pytest.raises(AsrLabError) as said:
        tuned(speech(), "/base", tune="lora", freeze_layers=2, lora={"targets": ["q_proj", "query"]})
    assert "no linear layer query" in said.value.what
    assert "q_proj" in said.value.allowed


def test_a_target_that_wavlm_reads_past_its_adapters():
    with pytest.raises(AsrLabError, match="have no effect in a wavlm") as said:
        tuned(speech("wavlm"), "/base", tune="lora", freeze_layers=2)
    assert "intermediate_dense" in said.value.allowed
    assert "q_proj" not in said.value.allowed


def test_freezing_every_layer():
    with pytest.raises(AsrLabError, match="freeze_layers=8 leaves none of the base's 4 layers"):
        tuned(speech(), "/base", tune="lora")


def test_clips_shorter_than_the_receptive_field():
    own = recognizer(speech())
    assert own.min_samples == 400
    with pytest.raises(AsrLabError, match=r"too short for this model: 24.9 ms") as said:
        list(own.transcribe([np.zeros(399, np.float32)]))
    assert said.value.allowed == "at least 25 ms"
    assert list(own.transcribe([np.zeros(400, np.float32), np.ones(2000, np.float32)]))


def test_a_vocabulary_that_does_not_match_the_head(tmp_path):
    recognizer(speech()).save(tmp_path)
    file = tmp_path / "vocab.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "q": 10}))
    with pytest.raises(AsrLabError, match=r"does not match the head: 11 units in vocab.json, 10 classes"):
        load_model(tmp_path)


def test_adapters_whose_base_has_moved(tmp_path):
    recognizer(adapted(tmp_path)).save(tmp_path / "kept")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(AsrLabError, match="base model of these adapters") as said:
        load_model(tmp_path / "kept")
    assert str(tmp_path / "kept") in said.value.where
    assert "merged" in said.value.hint


def test_adapters_whose_base_has_changed(tmp_path):
    recognizer(adapted(tmp_path)).save(tmp_path / "kept")
    base_folder(tmp_path / "base", initializer_range=0.5)
    with pytest.raises(AsrLabError, match="has changed since they were trained"):
        load_model(tmp_path / "kept")


def test_a_hub_id_without_a_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(AsrLabError, match="nobody/has-this") as said:
        bases.Source.of("nobody/has-this@v1").config()
    assert "model.pretrained=FOLDER" in said.value.allowed
    assert said.value.next_command.startswith("hf download nobody/has-this --local-dir")


def test_a_base_that_is_there_in_no_way(tmp_path):
    with pytest.raises(AsrLabError, match="there is no base"):
        bases.Source.of(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(AsrLabError, match="the base is a bert") as said:
        bases.Source.of(str(tmp_path)).config()
    assert "hubert" in said.value.allowed


def weights_of(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def keep_weights(folder, weights) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_base_without_the_embedding_of_masked_frames(tmp_path):
    base = base_folder(tmp_path / "base")
    weights = weights_of(base)
    del weights["masked_spec_embed"]  # as in facebook/wav2vec2-base-960h
    keep_weights(base, weights)
    source = bases.Source.of(str(base))
    made = source.network(bases.for_ctc(source.config(), len(VOCABULARY), {}))
    assert not made.wav2vec2.masked_spec_embed.any()
    model = tuned(SpeechCTC(made), str(base), tune="lora", freeze_layers=2, lora={"r": 4})
    recognizer(model).save(tmp_path / "kept")
    assert torch.equal(logits(load_model(tmp_path / "kept").model), logits(model))


def renamed(weights):
    return {f"network.{key}": value for key, value in weights.items()}


def shallow(weights):
    return {key: value for key, value in weights.items() if ".layers.1." not in key}


def narrow(weights):
    return {key: value[:8].clone() if "intermediate_dense" in key else value for key, value in weights.items()}


@pytest.mark.parametrize("change", [renamed, shallow, narrow])
def test_weights_that_do_not_fit_the_base_are_not_drawn(tmp_path, change):
    base = base_folder(tmp_path)
    keep_weights(base, change(weights_of(base)))
    source = bases.Source.of(str(base))
    with pytest.raises(AsrLabError, match=r"weights do not fit the base's config.json: \d+ are missing") as said:
        source.network(bases.for_ctc(source.config(), len(VOCABULARY), {}))
    assert said.value.where == str(base)


def test_a_kept_model_without_its_head(tmp_path):
    recognizer(speech()).save(tmp_path)
    keep_weights(tmp_path, {key: value for key, value in weights_of(tmp_path).items() if "lm_head" not in key})
    with pytest.raises(AsrLabError, match=r"lm_head.bias, lm_head.weight"):
        load_model(tmp_path)


def test_convolutions_behind_the_encoder_are_refused(tmp_path):
    with pytest.raises(AsrLabError, match="add_adapter"):
        bases.Source.of(str(base_folder(tmp_path, add_adapter=True, num_adapter_layers=1))).config()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000}', "8000 Hz"),
        ("{bad", "preprocessor_config.json cannot be read"),
    ],
)
def test_how_a_base_wants_its_sound_is_never_guessed(tmp_path, content, what):
    source = bases.Source.of(str(base_folder(tmp_path)))
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(AsrLabError, match=what):
        source.feature_extractor(source.config())
    (tmp_path / "preprocessor_config.json").unlink()
    assert source.feature_extractor(source.config()).do_normalize


@pytest.mark.parametrize("what", [{"tune": "lora", "freeze_layers": 2, "lora": {"r": 4}}, {"tune": "head"}])
def test_frozen_batch_norms_keep_their_statistics(tmp_path, what):
    base = base_folder(tmp_path / "base", "hubert", "layer", conv_pos_batch_norm=True)
    source = bases.Source.of(str(base))
    made = source.network(bases.for_ctc(source.config(), len(VOCABULARY), {}))
    model = tuned(SpeechCTC(made), str(base), **what)
    learn(model)
    recognizer(model).save(tmp_path / "kept")
    assert torch.equal(logits(load_model(tmp_path / "kept").model), logits(model))
    statistics = {name: value for name, value in made.hubert.state_dict().items() if "running" in name}
    assert len(statistics) == 2
    assert all(torch.equal(value, weights_of(base)[name]) for name, value in statistics.items())
