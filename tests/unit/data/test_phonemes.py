"""Phonemes of texts, and the phoneme error rate."""

import re
from itertools import pairwise

import mlflow
import pytest
from conftest import TINY, WORDS, artifacts, make_corpus, newest, ok, refused

from asr_lab.data import manifest
from asr_lab.data.phonemes import check_languages, phonemes
from asr_lab.data.synthesis import espeak
from asr_lab.errors import AsrLabError
from asr_lab.metrics import error_rates

pytest.importorskip("espeakng_loader")


def test_english_without_stress_and_pauses():
    assert phonemes("quick brown fox", "en") == ["k", "w", "I", "k", "b", "r", "aU", "n", "f", "0", "k", "s"]
    assert phonemes("two", "en") == phonemes("too", "en-US") == ["t", "u:"]


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("학교", "학꾜"),
        ("같이", "가치"),
        ("좋아요", "조아요"),
        ("읽다", "익따"),
        ("국밥", "국빱"),
        ("옷이", "오시"),
        ("닭이", "달기"),
    ],
)
def test_korean_as_it_is_said(text, alike):
    assert phonemes(text, "ko") == phonemes(alike, "ko")


def test_korean_aspirates_are_one_phoneme_and_other_languages_are_not_marked():
    assert phonemes("타다", "ko")[0] == "th"
    assert not [mark for mark in phonemes("학교에서 hello 했다", "ko") if "(" in mark or "_" in mark]
    assert len(phonemes("hello", "ko-KR")) == 4


def test_nothing_is_said_of_nothing():
    assert phonemes("", "ko") == []
    assert phonemes("...", "en") == []


def test_a_language_that_is_not_known():
    with pytest.raises(AsrLabError, match="no phonemes for language 'sw'"):
        phonemes("habari", "sw")


def test_without_espeak_one_message(monkeypatch, corpus):
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    with pytest.raises(AsrLabError, match="eSpeak NG, which is not installed") as failed:
        check_languages(manifest.read(corpus))
    assert "pip install 'asr_lab[demo]'" in str(failed.value)


def test_per_by_hand():
    table = error_rates.score({"a": "two cats", "b": "", "c": "dog"}, {"a": "too cat", "b": "dog", "c": ""})
    table["language"] = "en"
    table = error_rates.with_phonemes(table, phonemes)
    assert table["phonemes"].tolist() == [6, 0, 3]  # t u: k a t s, nothing, d O: g
    assert table["phoneme_deletions"].tolist() == [1, 0, 3]
    assert table["phoneme_insertions"].tolist() == [0, 3, 0]
    assert error_rates.per(table) == pytest.approx(7 / 9)
    assert error_rates.wer(table) > error_rates.per(table)


@pytest.mark.slow
def test_training_and_evaluation_log_it_where_asked(store):
    corpus = make_corpus(store / "corpus", {f"u{i}": f"{a} {b}" for i, (a, b) in enumerate(pairwise(WORDS))})
    (store / "base.yaml").write_text("recipe: deepspeech2\n")
    data = [f"data.train={corpus}", f"data.val={corpus}", *TINY, "train.epochs=2"]
    ok("train", "base.yaml", *data, "data.phonemes=true", "run.register_as=tiny")
    trained = newest("deepspeech2")
    metrics = trained.data.metrics
    curve = mlflow.MlflowClient().get_metric_history(trained.info.run_id, "val/per")
    assert [point.step for point in curve] == sorted({point.step for point in curve})
    assert len(curve) == 2  # each epoch once
    assert metrics["best/val_per"] == {point.step: point.value for point in curve}[metrics["best/step"]] > 0
    said = ok("evaluate", "--model", "models:/tiny/1", "--data", corpus, "evaluate.phonemes=true")
    assert re.search(rf"test/per +{metrics['best/val_per']:.1%}", said)
    run = newest("evaluate", "evaluate")
    assert run.data.metrics["test/per"] == pytest.approx(metrics["best/val_per"])
    assert "eval/test.parquet" in artifacts(run.info.run_id, "eval")


def test_utterances_without_a_language_are_named_before_anything_is_spent(store):
    path = make_corpus(store / "corpus", {"a": "cab", "b": "dad"})
    rows = list(manifest.read(path))
    manifest.supervision(rows[1]).language = None
    manifest.write(rows, path)
    (store / "base.yaml").write_text("recipe: deepspeech2\n")
    said = refused("train", "base.yaml", f"data.train={path}", f"data.val={path}", *TINY, "data.phonemes=true")
    assert "1 utterance has no supported language for phonemes: b" in said


def test_korean_consonants_of_a_place_are_distinguished():
    """Lax, tense and aspirated stops are three phonemes in any position; codas are lax."""
    for lax, tense, aspirated in ("가까카", "다따타", "바빠파", "자짜차"):
        marks = [phonemes(syllable, "ko")[0] for syllable in (lax, tense, aspirated)]
        assert len(set(marks)) == 3
        assert [phonemes("나" + syllable, "ko")[2] for syllable in (lax, tense, aspirated)] == marks
    assert phonemes("낫", "ko") == phonemes("낟", "ko") == phonemes("낱", "ko") == ["n", "a", "t"]
