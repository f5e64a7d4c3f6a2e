"""Subwords: learned from transcripts, the same each time, kept with the model, and words again after decoding."""

import json

import pytest
import torch
from conftest import make_corpus, ok, refused

from asr_lab.config.load import load, parse_overrides
from asr_lab.config.schema import Text
from asr_lab.data.subwords import FILE, Subwords
from asr_lab.data.text import TextNormalizer, encode, outside, split_units
from asr_lab.decoding.greedy import to_text
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore, MemoryTracker
from asr_lab.models import load_model
from asr_lab.recipes.recognition.plan import plan
from asr_lab.recipes.recognition.train import train
from asr_lab.system.terminal import Console

TEXTS = ["그래서 나는 집에 간다", "그래서 너는 집에 온다", "그래서 우리는 간다"] * 3
SIZES = {
    "deepspeech2": ["model.hidden_size=16", "model.conv_channels=4"],
    "wav2vec2": ["model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.conv_channels=4"],
}


def test_pieces_begin_words_and_are_words_again():
    subwords = Subwords.learn(TEXTS, 30)
    vocabulary = subwords.vocabulary()
    assert len(vocabulary) == 30
    assert "▁그래서" in vocabulary
    units = sorted(vocabulary, key=vocabulary.__getitem__)
    for text in TEXTS:
        pieces = subwords.split(text)
        assert len(pieces) < len(text)
        assert to_text(encode(pieces, vocabulary), units) == text
    assert subwords.split("") == []
    assert Subwords.learn(TEXTS, 30).pieces == subwords.pieces


def test_an_unknown_character_stays_and_is_counted():
    subwords = Subwords.learn(TEXTS, 30)
    pieces = subwords.split("나는 봄에 간다")
    assert outside([pieces], subwords.vocabulary()) == {"봄": 1}
    assert encode(pieces, subwords.vocabulary()).count(1) == 1


def test_a_vocabulary_smaller_than_the_characters_is_refused():
    with pytest.raises(AsrLabError, match=r"vocab_size=10 is too small: the transcripts have 13 characters"):
        Subwords.learn(TEXTS, 10)
    assert len(Subwords.learn(["가 나"], 2000).vocabulary()) == 7  # there are no more pieces


def test_a_size_without_subwords_has_no_effect():
    with pytest.raises(AsrLabError, match="vocab_size has no effect with units=jamo"):
        load(None, parse_overrides(["data.text.units=jamo", "data.text.vocab_size=300"]), "deepspeech2")
    normalizer = TextNormalizer.of(Text(units="bpe", vocab_size=300))
    assert normalizer.name == TextNormalizer().name  # scores are of words
    with pytest.raises(AsrLabError, match="has none"):
        split_units("가", normalizer)


@pytest.mark.parametrize("recipe", SIZES)
@pytest.mark.slow
def test_they_are_trained_saved_loaded_and_fine_tuned(corpus, tmp_path, recipe):
    data = [f"data.train={corpus}", f"data.val={corpus}", "data.test=", "train.epochs=1", "train.batch_size=6"]
    units = ["data.text.units=bpe", "data.text.vocab_size=20"]
    config = load(None, parse_overrides([*data, *SIZES[recipe], *units]), recipe)
    tracker = MemoryTracker(tmp_path / "runs")
    train(config, tracker, Console(quiet=True))
    table = tracker.runs[0].artifacts["eval/val.parquet"]
    assert not table["reference"].str.contains("▁").any()
    assert not table["hypothesis"].str.contains("▁").any()

    folder = tmp_path / "runs" / "memory0" / "model"
    recognizer = load_model(folder)
    assert len(recognizer.vocabulary) == 20
    text = table["reference"][0]
    classes = recognizer.encode_text(text)
    assert len(classes) < len(text)
    frames = torch.full((1, 2 * len(classes), 20), -9.0)
    frames[0, torch.arange(len(classes)) * 2, torch.tensor(classes)] = 9.0
    frames[0, torch.arange(len(classes)) * 2 + 1, recognizer.blank] = 9.0
    assert recognizer.decode(frames, torch.tensor([2 * len(classes)])) == [text]

    tuned = plan(load(None, parse_overrides([*data, f"model.pretrained={folder}"]), recipe), FolderStore())
    assert tuned.recognizer.encode_text(text) == classes
    assert (tuned.config.data.text.units, tuned.config.data.text.vocab_size) == ("bpe", 20)
    other = load(
        None, parse_overrides([*data, f"model.pretrained={folder}", units[0], "data.text.vocab_size=25"]), recipe
    )
    with pytest.raises(AsrLabError, match="vocab_size=25"):
        plan(other, FolderStore())

    (folder / FILE).rename(folder / "away")
    with pytest.raises(AsrLabError, match=f"{FILE} is missing"):
        load_model(folder)
    (folder / FILE).write_text("{}")
    with pytest.raises(AsrLabError, match="not a file of subwords"):
        load_model(folder)
    Subwords.learn(TEXTS, 30).save(folder)
    with pytest.raises(AsrLabError, match="are not in the vocabulary"):
        load_model(folder)


def test_transformers_knows_where_words_begin(corpus, tmp_path):
    data = [f"data.train={corpus}", f"data.val={corpus}", "data.text.units=bpe", "data.text.vocab_size=20"]
    config = load(None, parse_overrides(["data.test=", *data, *SIZES["deepspeech2"]]), "deepspeech2")
    plan(config, FolderStore()).recognizer.save(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["word_delimiter_token"] == "▁"


@pytest.mark.slow
def test_commands_train_evaluate_and_adapt(store):
    make_corpus(store / "c", {f"u{n}": text for n, text in enumerate(["abba cab", "cab dad", "dad abba"] * 4)})
    (store / "b.yaml").write_text(
        "recipe: deepspeech2\nrun: {name: pieces, register_as: pieces}\nmodel: {hidden_size: 8, conv_channels: 4}\n"
        "data: {train: c/all.jsonl.gz, val: c/all.jsonl.gz, test: '', text: {units: bpe, vocab_size: 12}}\n"
        "train: {epochs: 1, batch_size: 4}\n"
    )
    assert "12 classes" in ok("train", "b.yaml", "--dry-run")
    assert "is too small" in refused("train", "b.yaml", "data.text.vocab_size=5", "--dry-run")
    ok("train", "b.yaml")
    ok("evaluate", "--model", "models:/pieces/1", "--data", "c/all.jsonl.gz")
    ok("adapter", "--name", "ann", "--base", "models:/pieces/1", "--data", "c/all.jsonl.gz", "train.epochs=1")
