"""The four models of pronunciation: padding, anchoring, losses, folders, and where their encoders come from."""

import json
import math

import numpy as np
import pytest
import torch
from encoders import base_folder

from asr_lab.config.schema import PronunciationExperiment, PronunciationLoss
from asr_lab.config.schema import PronunciationModel as Settings
from asr_lab.data.pronunciation import Pronunciation
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.metrics.pronunciation import Fusion
from asr_lab.models import load_model
from asr_lab.models.pronunciation import front_end
from asr_lab.models.pronunciation.alignment import OUTSIDE, align_spans, frame_offsets
from asr_lab.models.pronunciation.batches import CLASS_OF, label_tensors
from asr_lab.models.pronunciation.config import DIAGNOSES, UNITS
from asr_lab.models.pronunciation.decisions import Decisions
from asr_lab.models.pronunciation.loss import WeightedSum, error_loss
from asr_lab.recipes.pronunciation.plan import _start as start
from asr_lab.recipes.pronunciation.validation import PronunciationSums, best_f1, example_lines
from asr_lab.training.trainer import add_lr_group

KINDS = ("simple", "transformer", "cross", "hierarchical")
SMALL = {"head_size": 16, "head_layers": 1, "head_heads": 2, "cross_size": 8, "dropout": 0.0}
TINY = {**SMALL, "hidden_size": 32, "num_layers": 2, "num_heads": 2}


def made(kind: str = "cross", **more):
    """An untrained model of this kind whose recognition is sure of itself: alignments do not hang on rounding."""
    settings = {name: more.pop(name) for name in ("loss", "train") if name in more}
    config = PronunciationExperiment(model=Settings(type=kind, **{**TINY, **more}), **settings)
    torch.manual_seed(1)
    assessor, _, _ = start(config, FolderStore())
    with torch.no_grad():
        assessor.model.head.phoneme_logits.weight.mul_(30)
    return assessor


def batch(*lengths: int, phonemes: tuple[int, ...] = (5, 3)):
    """Noise of so many samples, with so many canonical phonemes each; the second one of all is wrong."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    values = torch.randn(len(lengths), max(lengths), generator=generator) * mask
    truths = []
    for count in phonemes:
        canonical = tuple(UNITS[3 + place] for place in range(count))
        perceived = (canonical[0], "<del>", *canonical[2:])
        errors = (0, 1, *[0] * (count - 2))
        words = tuple(place // 2 for place in range(count))
        scores = tuple(2.0 - error for error in errors)
        truths.append(
            Pronunciation(canonical=canonical, perceived=perceived, errors=errors, words=words, scores=scores)
        )
    told = label_tensors(truths)
    told.pop("label_lengths")
    return {"input_values": values, "attention_mask": mask, **told}


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_and_shapes_are_those_of_the_canonical_phonemes(kind):
    assessor = made(kind, scores=True)
    both = batch(8000, 5000)
    with torch.no_grad():
        output = assessor.model.eval()(**both)
        alone = {name: rows[1:] for name, rows in both.items()}
        short = {"input_values", "attention_mask"}
        alone = {name: rows[:, :5000] if name in short else rows[:, :3] for name, rows in alone.items()}
        own = assessor.model(**alone)
    frames = assessor.output_frames(5000)
    assert output.logits.shape == (2, assessor.output_frames(8000), len(UNITS))
    assert output.logit_lengths.tolist() == [assessor.output_frames(8000), frames]
    assert output.error_logits.shape == (2, 5)
    assert output.diagnosis_logits.shape == (2, 5, len(DIAGNOSES))
    assert output.spans[1, :3].tolist() == own.spans[0].tolist()
    torch.testing.assert_close(output.logits[1, :frames], own.logits[0], atol=2e-4, rtol=1e-4)
    for name in ("error_logits", "scores", "diagnosis_logits"):
        torch.testing.assert_close(getattr(output, name)[1, :3], getattr(own, name)[0], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns_and_both_tasks_reach_the_encoder(kind):
    assessor = made(kind, scores=True, loss=PronunciationLoss(weights="uncertainty"))
    optimizer = torch.optim.SGD(assessor.model.parameters(), lr=0.1)
    for _ in range(3):  # layers that start as nothing pass their gradient on from the second update
        optimizer.zero_grad()
        assessor.model.train()(**batch(8000, 5000)).loss.backward()
        optimizer.step()
    still = [name for name, one in assessor.model.named_parameters() if one.grad is None or not one.grad.any()]
    assert [name for name in still if not name.endswith("k_proj.bias")] == ["encoder.masked_spec_embed"]
    first = next(assessor.model.encoder.encoder.layers[0].parameters())
    assessor.model.zero_grad()
    torch.nn.functional.softplus(assessor.model(**batch(8000, 5000)).error_logits).sum().backward()
    assert first.grad.any()


@pytest.mark.parametrize("kind", ["transformer", "cross"])
def test_a_model_starts_as_the_recogniser_it_starts_from(tmp_path, kind):
    encoder = made("simple")
    encoder.save(tmp_path)
    experiment = PronunciationExperiment(model=Settings(type=kind, pretrained=str(tmp_path), **SMALL))
    grown, config, _ = start(experiment, FolderStore())
    told = batch(8000, 5000)
    with torch.no_grad():
        heard, own = encoder.model.eval()(**told), grown.model.eval()(**told).logits
    for row, length in enumerate(heard.logit_lengths.tolist()):
        torch.testing.assert_close(own[row, :length], heard.logits[row, :length], atol=1e-3, rtol=1e-4)
    assert (config.model.hidden_size, grown.kind) == (32, f"pronunciation-{kind}")


def test_an_error_logit_looks_at_its_window_alone():
    assessor = made("simple")
    model = assessor.model.eval()
    frames = torch.randn(1, 30, 16, requires_grad=True)
    spans = torch.tensor([[[3, 4], [10, 10], [20, 22]]])
    logits = torch.zeros(1, 30, len(UNITS))
    real = torch.ones(1, 30, dtype=torch.bool)
    state = model.head.phonemes(frames, real, logits, torch.tensor([[3, 4, 5]]), spans)
    state[0, 1].sum().backward()
    assert frames.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [8, 9, 10, 11, 12]
    places = frame_offsets(spans, 30, window=2)[0, 0].tolist()
    assert places[:8] == [OUTSIDE, -2, -1, 0, 0, 1, 2, OUTSIDE]


def test_spans_follow_a_path_that_is_known_and_crowded_audio_is_cut_evenly():
    sure = torch.full((1, 6, 4), -20.0)
    for frame, label in enumerate((0, 2, 2, 0, 2, 3)):
        sure[0, frame, label] = 0.0
    canonical = torch.tensor([[2, 2, 3, -100]])
    assert align_spans(sure, torch.tensor([6]), canonical, 0)[0, :3].tolist() == [[1, 2], [4, 4], [5, 5]]
    assert align_spans(sure, torch.tensor([2]), canonical, 0)[0, :3].tolist() == [[0, 0], [0, 0], [1, 1]]


def test_losses_are_those_of_their_formulas():
    logits = torch.tensor([[0.0, 2.0, 9.0], [1.0, 0.0, 0.0]])
    errors = torch.tensor([[0, 1, -100], [1, -100, -100]])
    right, wrong = math.log(2), math.log(1 + math.exp(-2.0))
    second = math.log(1 + math.exp(-1.0))
    plain = error_loss(logits, errors, PronunciationLoss())
    assert plain.item() == pytest.approx(((right + wrong) / 2 + second) / 2)
    weighted = error_loss(logits, errors, PronunciationLoss(balance="class", error_weight=3.0))
    assert weighted.item() == pytest.approx(((right + 3 * wrong) / 2 + 3 * second) / 2)
    focal = error_loss(logits, errors, PronunciationLoss(balance="focal", focal_gamma=2.0))
    faded = [loss * (1 - math.exp(-loss)) ** 2 for loss in (right, wrong, second)]
    assert focal.item() == pytest.approx(((faded[0] + faded[1]) / 2 + faded[2]) / 2)
    kendall = WeightedSum(PronunciationLoss(weights="uncertainty", errors=2.0))
    with torch.no_grad():
        kendall.log_variance[1] = math.log(4.0)
    total = kendall({"phonemes": torch.tensor(3.0), "errors": torch.tensor(1.0)})
    assert total.item() == pytest.approx(3.0 + 2.0 / 4 + 0.5 * math.log(4.0))


def test_the_best_f1_of_histograms_is_that_of_all_thresholds():
    draw = np.random.default_rng(0)
    scores, errors = draw.integers(0, 20, 300), draw.integers(0, 2, 300)
    right, wrong = (np.bincount(scores[errors == kind], minlength=20).astype(float) for kind in (0, 1))
    f1 = [2 * (errors[scores >= least]).sum() / ((scores >= least).sum() + errors.sum()) for least in range(20)]
    assert best_f1(right, wrong) == pytest.approx(max(f1))
    assert best_f1(right, np.zeros(20)) is None


def test_a_folder_comes_back_as_it_was_and_another_inventory_is_refused(tmp_path):
    assessor = made("hierarchical")
    fusion = Fusion(-2.0, {"error_score": 1.0, "gop": 0.5})
    assessor.decisions = Decisions(threshold=0.3, gop_thresholds={"AA": 2.0}, fusion=fusion)
    assessor.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    again = load_model(tmp_path)
    assert again.kind == "pronunciation-hierarchical"
    assert again.decisions == assessor.decisions
    told = batch(8000, 5000)
    with torch.no_grad():
        same = again.model(**told).error_logits, assessor.model.eval()(**told).error_logits
    torch.testing.assert_close(*same)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    swapped = vocabulary | {"AA": vocabulary["AE"], "AE": vocabulary["AA"]}
    for wrong in (swapped, {"X" if unit == "AA" else unit: place for unit, place in vocabulary.items()}):
        (tmp_path / "vocab.json").write_text(json.dumps(wrong))
        with pytest.raises(AsrLabError, match="inventory does not match the checkpoint"):
            load_model(tmp_path)


@pytest.mark.parametrize(("base", "norm"), [("wav2vec2", "group"), ("hubert", "layer"), ("wavlm", "layer")])
def test_any_encoder_of_the_family_keeps_its_own_front_end(tmp_path, base, norm):
    folder = base_folder(tmp_path / "base", base, norm)
    experiment = PronunciationExperiment(model=Settings(type="cross", pretrained=str(folder), **SMALL))
    assessor, config, uri = start(experiment, FolderStore())
    assert uri == str(folder)
    assert (config.model.hidden_size, config.model.num_layers) == (32, 4)
    assert not assessor.model.encoder.feature_extractor.conv_layers[0].conv.weight.requires_grad
    output = assessor.model(**batch(8000, 5000))
    output.loss.backward()
    assert output.logits.shape[1] == assessor.output_frames(8000) == 24
    with pytest.raises(AsrLabError, match="the pretrained encoder has other sizes"):
        start(PronunciationExperiment(model=Settings(pretrained=str(folder), hidden_size=64, **SMALL)), FolderStore())


def test_encoder_and_the_rest_have_rates_of_their_own_and_a_frozen_one_stays():
    assessor = made("simple")
    rest = [one for name, one in assessor.model.named_parameters() if not name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [{"params": list(assessor.model.parameters()), "weight_decay": 0.1}, {"params": [torch.zeros(1)]}], lr=1e-3
    )
    add_lr_group(optimizer, assessor.model.encoder, 1e-5)
    by_rate = [(group["lr"], len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    assert by_rate[0] == (1e-3, len(rest), 0.1)
    assert by_rate[2] == (1e-5, len(list(assessor.model.encoder.parameters())), 0.1)
    frozen = made("simple", train={"encoder_lr": 0.0})
    assert not any(one.requires_grad for one in frozen.model.encoder.parameters())
    assert frozen.model.error.weight.requires_grad


def test_the_log_mel_front_end_counts_frames_as_the_encoder_does():
    shape = front_end.tiny(Settings(**TINY))
    front = front_end.LogMel(shape)
    for samples in (1200, 5000, 8001):
        frames = front(torch.randn(1, samples)).shape[-1]
        assert frames == made("simple").output_frames(samples)
    assert len(CLASS_OF) == 41


def test_an_example_stands_one_above_the_other():
    row = {
        "id": "u1",
        "text": "key",
        "canonical": ["K", "IY"],
        "perceived": ["K", "<del>"],
        "recognised": ["K", "IH"],
        "errors": [0, 1],
        "error_score": [0.04, 0.87],
    }
    assert example_lines(row) == [
        "    u1  key",
        "      canonical  K IY",
        "      perceived  K <del>",
        "      recognised K IH",
        "      wrong      . !",
        "      predicted  . 8",
    ]


def test_tallies_of_ranks_add_up_to_that_of_the_whole():
    right, wrong = np.zeros(500), np.zeros(500)
    right[[10, 400]], wrong[[300, 450]] = 1, 1
    parts = [
        PronunciationSums(2.0, 1, 1, 4, right.tolist(), np.zeros(500).tolist()),
        PronunciationSums(4.0, 2, 2, 6, np.zeros(500).tolist(), wrong.tolist()),
    ]
    whole = PronunciationSums.of(np.sum([part.numbers() for part in parts], axis=0).tolist())
    assert whole.metrics() == {"eval_loss": 2.0, "eval_per": 0.3, "eval_error_f1": pytest.approx(0.8)}
    assert "eval_error_f1" not in parts[0].metrics()
