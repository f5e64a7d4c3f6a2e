"""Ways to train: fine-tuning, schedules, noise, units, early stopping, every kind of RNN."""

import itertools

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_corpus, tone_word
from lhotse import CutSet

from asr_lab.config.load import load, parse_overrides
from asr_lab.config.schema import Augment, Train
from asr_lab.data import manifest, noise
from asr_lab.data.augment import Augmenter
from asr_lab.data.text import TextNormalizer, build_vocabulary, split_units
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore, MemoryTracker
from asr_lab.models.deepspeech2_recognizer import load_recognizer
from asr_lab.recipes.recognition import train as recipe
from asr_lab.recipes.recognition.plan import plan
from asr_lab.system.terminal import Console
from asr_lab.training.trainer import schedule

QUIET = Console(quiet=True)
SMALL = ["data.test=", "model.hidden_size=16", "model.conv_channels=4", "train.epochs=1", "train.batch_size=6"]


def experiment(corpus, *more: str):
    return load(None, parse_overrides([f"data.train={corpus}", f"data.val={corpus}", *SMALL, *more]), "deepspeech2")


@pytest.fixture
def trained(corpus, tmp_path):
    """The folder of a tiny model."""
    tracker = MemoryTracker(tmp_path / "base")
    recipe.train(experiment(corpus), tracker, QUIET)
    return tmp_path / "base" / "memory0" / "model"


def fine_tuning(corpus, folder, *more: str):
    settings = [f"data.train={corpus}", f"data.val={corpus}", "data.test=", f"model.pretrained={folder}", *more]
    return load(None, parse_overrides(settings), "deepspeech2")


def test_fine_tuning_starts_from_the_weights_and_takes_over_the_sizes(corpus, trained):
    planned = plan(fine_tuning(corpus, trained), FolderStore())
    before = load_recognizer(trained)
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(planned.recognizer.model.state_dict()[name], tensor)
    assert planned.config.model.hidden_size == 16
    assert planned.config.model.conv_channels == 4
    assert planned.base_uri == str(trained.resolve())
    assert planned.recognizer.vocabulary == before.vocabulary
    assert all(parameter.requires_grad for parameter in planned.recognizer.model.parameters())


def test_sizes_that_contradict_the_pretrained_model_are_one_message(corpus, trained):
    with pytest.raises(AsrLabError, match=r"model.hidden_size=32 \(it has hidden_size=16\)"):
        plan(fine_tuning(corpus, trained, "model.hidden_size=32"), FolderStore())
    with pytest.raises(AsrLabError, match=r"data.text.lowercase=False"):
        plan(fine_tuning(corpus, trained, "data.text.lowercase=false"), FolderStore())
    plan(fine_tuning(corpus, trained, "model.hidden_size=16"), FolderStore())  # what it has may be said


@pytest.mark.slow
def test_new_characters_are_reported_and_get_classes_where_asked(corpus, trained, tmp_path):
    other = make_corpus(tmp_path / "other", {f"o{i}": "cab jig" for i in range(8)})
    planned = plan(fine_tuning(other, trained), FolderStore())
    assert any("'j' x 8" in line and "'i' x 8" in line for line in planned.warnings)
    planned = plan(fine_tuning(other, trained, "model.extend_vocabulary=true"), FolderStore())
    old, new = load_recognizer(trained), planned.recognizer
    assert planned.warnings == planned.leakage.warnings()  # nothing of characters
    assert new.units == [*old.units, "i", "j"]
    assert torch.equal(new.model.head[1].weight[: len(old.units)], old.model.head[1].weight)
    tracker = MemoryTracker(tmp_path / "extended")
    recipe.train(fine_tuning(other, trained, "model.extend_vocabulary=true", "train.epochs=1"), tracker, QUIET)
    again = load_recognizer(tmp_path / "extended" / "memory0" / "model")
    assert again.vocabulary["j"] == len(old.units) + 1
    assert tracker.runs[0].all_tags["asr_lab.base"] == str(trained.resolve())


def test_extending_from_scratch_has_no_effect_and_is_refused(corpus):
    with pytest.raises(AsrLabError, match="no effect from scratch"):
        plan(experiment(corpus, "model.extend_vocabulary=true"), FolderStore())


def test_a_pretrained_model_that_is_none(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AsrLabError, match="not a model folder"):
        plan(fine_tuning(corpus, tmp_path / "empty"), FolderStore())
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(AsrLabError, match="unknown model type 'whisper'"):
        plan(fine_tuning(corpus, tmp_path / "empty"), FolderStore())
    with pytest.raises(AsrLabError, match="no such model"):
        plan(fine_tuning(corpus, tmp_path / "nowhere"), FolderStore())


@pytest.mark.parametrize("name", ["tri_stage", "linear", "cosine", "inverse_sqrt"])
def test_schedules_warm_up_then_fall(name):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    plan = schedule(optimizer, 100, Train(schedule=name, warmup_share=0.1, hold_share=0.2))
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan.step()
    assert rates[0] < 0.2
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[-1] < 0.4
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(rates[30:]))


def test_the_constant_schedule_is_the_peak_throughout():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    plan = schedule(optimizer, 10, Train(schedule="constant"))
    for _ in range(10):
        assert optimizer.param_groups[0]["lr"] == 0.3
        optimizer.step()
        plan.step()


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


@pytest.mark.slow
def test_recordings_of_noise_need_no_transcript_and_are_data_of_the_run(corpus, tmp_path):
    path = make_corpus(tmp_path / "noise", {"n1": "a", "n2": "gg"})
    cuts = [cut.drop_supervisions() for cut in manifest.read(path)]
    for cut in cuts:
        cut.recording.sources[0].source = f"audio/{cut.id}.wav"
    CutSet.from_cuts(cuts).to_file(path)

    def recorded(place: str):
        tracker = MemoryTracker(tmp_path / "runs")
        keys = [f"augment.noise={tmp_path / place / 'all.jsonl.gz'}", "augment.noise_snr_db=5,20"]
        recipe.train(experiment(corpus, *keys), tracker, QUIET)
        return tracker.runs[0]

    here = recorded("noise")
    assert "noise" in {dataset.split for dataset in here.datasets}
    (tmp_path / "noise").rename(tmp_path / "moved")
    assert recorded("moved").spec.signature == here.spec.signature
    (tmp_path / "moved" / "audio" / "n1.wav").unlink()
    with pytest.raises(AsrLabError, match="1 audio file is not there"):
        recorded("moved")


def test_a_share_of_the_utterances_gets_noise():
    speech = tone_word("cab", np.random.default_rng(0)) * 0.3
    augmenter = Augmenter(Augment(noise_snr_db=(5, 20), noise_share=0.3), seed=0)
    changed = sum(not np.array_equal(augmenter.samples(speech, f"u{i}", 0), speech) for i in range(300))
    assert 60 <= changed <= 120


def test_silent_noise_changes_nothing():
    speech = tone_word("cab", np.random.default_rng(0))
    assert np.array_equal(noise.mix(speech, np.zeros_like(speech), 5.0), speech)


_KINDS = [(kind, key) for kind in ("gru", "lstm", "rnn") for key in ("bidirectional=true", "bidirectional=false")]


@pytest.mark.parametrize(("rnn_type", "key"), [*_KINDS, ("gru", "streaming=true")])
@pytest.mark.slow
def test_every_kind_of_rnn_trains_and_is_kept(rnn_type, key, corpus, tmp_path):
    tracker = MemoryTracker(tmp_path / "runs")
    config = experiment(corpus, f"model.rnn_type={rnn_type}", f"model.{key}", "train.epochs=4", "train.lr=5e-3")
    recipe.train(config, tracker, QUIET)
    losses = [value for _, value in tracker.runs[0].all_metrics["train/loss"]]
    assert losses[-1] < 0.9 * losses[0]
    again = load_recognizer(tmp_path / "runs" / "memory0" / "model").model
    assert (again.config.rnn_type, again.config.bidirectional) == (rnn_type, key == "bidirectional=true")
    assert again.config.streaming == (key == "streaming=true")


TEXTS = {
    "syllables": ("가나 다", "가나 다", 0),
    "jamo": ("가나 닭", "가나 닭", 0),
    "latin": ("Cab dad!", "cab dad", 0),
    "bpe": ("가나다 가나!", "가나다 가나", 0),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.slow
def test_korean_syllables_jamo_and_latin_are_trained_on(kind, tmp_path):
    said, written, _ = TEXTS[kind]
    sounds = make_corpus(tmp_path / "c", {f"u{i}": "abcdefg abcdef" for i in range(6)})
    cuts = list(manifest.read(sounds))
    for cut in cuts:
        cut.supervisions[0].text = said
    manifest.write(cuts, sounds)
    more = {"jamo": ["data.text.units=jamo"], "bpe": ["data.text.units=bpe", "data.text.vocab_size=9"]}.get(kind, [])
    tracker = MemoryTracker(tmp_path / "runs")
    recipe.train(experiment(sounds, "train.epochs=1", *more), tracker, QUIET)
    recognizer = load_recognizer(tmp_path / "runs" / "memory0" / "model")
    table = tracker.runs[0].artifacts["eval/val.parquet"]
    assert set(table["reference"]) == {written}
    classes = recognizer.encode_text(said)
    units = recognizer.units
    assert ("ᆰ" in units) == (kind == "jamo")
    assert ("다" in units) == (kind in ("syllables", "bpe"))
    assert ("▁가나" in units) == (kind == "bpe")
    logits = torch.full((1, 2 * len(classes), len(units)), -9.0)
    logits[0, torch.arange(len(classes)) * 2, torch.tensor(classes)] = 9.0
    logits[0, torch.arange(len(classes)) * 2 + 1, recognizer.blank] = 9.0
    assert recognizer.decode(logits, torch.tensor([2 * len(classes)])) == [written]


@pytest.mark.parametrize(
    ("transcription", "written"),
    [
        ("spelling", "70 확률이라니 아 뭐 그런데"),
        ("phonetic", "칠 십 퍼센트 확률이라니 아 뭐 그런데"),
    ],
)
def test_dual_transcriptions(transcription, written):
    raw = "b/ (70%)/(칠 십 퍼센트) 확률이라니 아/ 뭐+ l/ 그런데* n/"
    normalizer = TextNormalizer(transcription=transcription)
    assert normalizer(raw) == written
    assert normalizer.name == f"{transcription}-nfc-lower-nopunct"
    assert TextNormalizer().name == "nfc-lower-nopunct"


def test_what_kospeech_says_of_signs():
    assert TextNormalizer(transcription="phonetic")("5% #") == "5퍼센트 샾"


def test_jamo_make_a_small_vocabulary():
    normalizer = TextNormalizer(units="jamo")
    texts = [split_units(chr(code), normalizer) for code in range(0xAC00, 0xAC00 + 2000)]
    assert len(build_vocabulary(texts)) < 60
