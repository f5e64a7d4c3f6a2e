"""CTC heads that transformers' script trained are continued, with a text normaliser that the user names."""

import json

import pytest
import torch
from conftest import make_corpus
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2ForCTC

from asr_lab.config.schema import Wav2Vec2Experiment, Wav2Vec2Model
from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.models.wav2vec2 import bases
from asr_lab.models.wav2vec2.recognizer import load_recognizer
from asr_lab.recipes.recognition.wav2vec2 import start

SMALL = Wav2Vec2Model(hidden_size=16, num_layers=1, num_heads=2, conv_channels=8)


@pytest.fixture
def checkpoint(tmp_path):
    """As `run_speech_recognition_ctc.py` writes it: the blank comes after the letters, `<s>` and `</s>` last."""
    folder = tmp_path / "hf"
    folder.mkdir()
    letters = {letter: index for index, letter in enumerate("|abcdefgh")}
    (folder / "vocab.json").write_text(json.dumps(letters | {"[UNK]": 9, "[PAD]": 10}))
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), unk_token="[UNK]", pad_token="[PAD]", word_delimiter_token="|"
    )
    tokenizer.save_pretrained(folder)
    config = bases.tiny(SMALL)
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    assert config.vocab_size == 13
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


def begin(tmp_path, folder, texts=("abba cab", "dad bed"), **text):
    corpus = make_corpus(tmp_path / "corpus", {f"u{n}": one for n, one in enumerate(texts)})
    model = {"pretrained": str(folder), "head": "keep"}
    config = Wav2Vec2Experiment.model_validate({"recipe": "wav2vec2", "model": model, "data": {"text": text}})
    return start(config, manifest.read(corpus), FolderStore()).recognizer


SAID = {"lowercase": True, "strip_punctuation": True, "units": "characters"}


def test_the_head_of_the_script_is_continued(tmp_path, checkpoint):
    recognizer = begin(tmp_path, checkpoint, **SAID)
    assert recognizer.blank == 10
    assert recognizer.encode_text("Ab, h!") == [1, 2, 0, 8]
    assert recognizer.encode_text("z") == [9]
    assert (recognizer.vocabulary["<s>"], recognizer.vocabulary["</s>"]) == (11, 12)
    head = Wav2Vec2ForCTC.from_pretrained(checkpoint).lm_head.weight
    assert torch.equal(recognizer.model.plain.lm_head.weight, head)
    recognizer.save(tmp_path / "saved")
    again = load_recognizer(tmp_path / "saved")
    assert (again.blank, again.vocabulary, again.normalizer) == (10, recognizer.vocabulary, recognizer.normalizer)


@pytest.mark.parametrize("given", [{}, {"lowercase": True}, {"lowercase": True, "strip_punctuation": True}])
def test_what_must_be_said_is_named(tmp_path, checkpoint, given):
    with pytest.raises(AsrLabError) as error:
        begin(tmp_path, checkpoint, **given)
    keys = {"data.text.lowercase", "data.text.strip_punctuation", "data.text.units"}
    assert set(error.value.allowed.split(", ")) == keys - {f"data.text.{name}" for name in given}
    assert "data.text.units=characters" in error.value.hint


def test_transcripts_of_another_alphabet_are_refused(tmp_path, checkpoint):
    with pytest.raises(AsrLabError, match="are not in the base's vocabulary"):
        begin(tmp_path, checkpoint, ("가나 다라", "ABBA"), **SAID | {"lowercase": False})


def test_a_vocabulary_that_is_not_of_the_head_is_refused(tmp_path, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"pad_token_id": 0}))
    with pytest.raises(AsrLabError, match="the blank is not clear"):
        begin(tmp_path, checkpoint, **SAID)
    (checkpoint / "config.json").write_text(json.dumps(config | {"vocab_size": 11}))
    with pytest.raises(AsrLabError, match="13 units, 11 classes"):
        begin(tmp_path, checkpoint, **SAID)


def test_a_pointer_in_place_of_the_weights_is_called_by_its_name(tmp_path, checkpoint):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    (checkpoint / "model.safetensors").write_text(pointer)
    with pytest.raises(AsrLabError) as error:
        begin(tmp_path, checkpoint, **SAID)
    assert "a Git LFS pointer: model.safetensors" in error.value.what
    assert "git lfs pull" in error.value.hint
