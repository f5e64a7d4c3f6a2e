"""Language models, their weights and hot words, as a user makes and uses them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import WORDS, artifacts, make_corpus, newest, ok, refused, tone_word
from conftest import run as run_command
from forked_engine import by_forks  # noqa: F401 - a fixture

pytest.importorskip("flashlight", reason="the extra lm is not installed")
pytestmark = pytest.mark.usefixtures("at_home")

BASE = ["evaluate", "--model", "models:/deepspeech2/1", "run.threads=1"]
HARD = "hard/all.jsonl.gz"


@pytest.fixture(scope="module", autouse=True)
def made(home):
    """Two language models, and utterances that the base finds hard: another speaker's, with noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        rng = np.random.default_rng(7)
        texts = {f"h{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(24)}
        make_corpus(home / "hard", texts, speaker="ida")
        for file in (home / "hard" / "audio").iterdir():
            signal, rate = soundfile.read(file)
            soundfile.write(file, signal + rng.normal(0, 0.01, len(signal)), rate, subtype="PCM_16")
        ok("lm", "corpus/all.jsonl.gz", "--order", "2", "--out", "words.arpa")
        Path("few.txt").write_text("dad bed\nbed dad\n\ncafe egg\n")
        ok("lm", "few.txt", "--order", "2", "--out", "few.arpa")


def scored(*arguments: str) -> tuple[mlflow.entities.Run, pd.DataFrame, str]:
    """The run of an evaluation, its table and its output."""
    output = ok(*BASE, *arguments)
    run = newest("evaluate", "evaluate")
    split = run.data.params["evaluate.split"]
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/eval/{split}.parquet")
    return run, pd.read_parquet(path), output


def test_a_model_of_words_lowers_the_error_rate_and_the_run_says_what_decoded():
    greedy, before, _ = scored("--data", HARD)
    run, after, output = scored("--data", HARD, "decode.lm=words.arpa")
    assert run.data.metrics["test/wer"] < greedy.data.metrics["test/wer"]
    assert set(" ".join(after["hypothesis"]).split()) <= set(WORDS) | set(" ".join(before["hypothesis"]).split())
    assert run.data.tags["asr_lab.decoder"] == "beam 50, 2-gram of words"
    assert run.data.tags["asr_lab.lm"] == "words.arpa"
    assert len(run.data.tags["asr_lab.lm_digest"]) == len(run.data.tags["asr_lab.lm_text"]) == 32
    assert run.data.tags["asr_lab.signature"] != greedy.data.tags["asr_lab.signature"]
    assert not {name for name in greedy.data.tags if "lm" in name.split("asr_lab.")[-1] or "decoder" in name}
    known = int(run.data.metrics["test/sentences_in_lm"])
    assert f"{known} of 24 sentences" in output
    compared = ok("compare", greedy.info.run_id, run.info.run_id, "--format", "json")
    assert "decode.lm" in compared
    assert "words.arpa" in compared


def test_the_signature_is_of_the_file_not_of_its_path():
    first, _, _ = scored("--data", HARD, "decode.lm=words.arpa")
    Path("copy.arpa").write_bytes(Path("words.arpa").read_bytes())
    same, _, _ = scored("--data", HARD, "decode.lm=copy.arpa")
    other, _, _ = scored("--data", HARD, "decode.lm=few.arpa")
    signatures = [run.data.tags["asr_lab.signature"] for run in (first, same, other)]
    assert signatures[0] == signatures[1] != signatures[2]


def test_weights_are_searched_on_validation_data_and_logged():
    given = ("decode.lm=words.arpa", "decode.beam=20", "decode.lm_weight=1.25")
    run, _, output = scored("--data", HARD, *given, "--tune")
    tried = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/eval/val_weights.parquet"))
    assert 1.25 in set(tried["lm_weight"])
    assert min(tried[["lm_weight", "word_score"]].nunique()) > 2
    best = tried[tried["lm_weight"] == float(run.data.params["decode.lm_weight"])]
    best = best[best["word_score"] == float(run.data.params["decode.word_score"])]
    assert list(best["wer"]) == [tried["wer"].min()]
    assert run.data.metrics["val/wer"] == pytest.approx(tried["wer"].min())
    assert "test/wer" not in run.data.metrics
    chosen = [f"decode.{name}={float(run.data.params[f'decode.{name}']):g}" for name in ("lm_weight", "word_score")]
    assert f"--data TEST decode.lm=words.arpa decode.beam=20 {' '.join(chosen)}" in output


def test_weights_searched_by_jobs_are_those_of_one_process(by_forks):  # noqa: F811
    given = ("--data", HARD, "decode.lm=few.arpa", "decode.beam=20", "evaluate.batch_size=5", "--tune")
    alone, table, _ = scored(*given)
    by_forks.kill_first = True
    run, of_parts, output = scored(*given, "--engine", "local", "--jobs", "2")
    assert "was lost (SIGKILL), submitted again" in output
    pd.testing.assert_frame_equal(of_parts, table, check_exact=True)
    tried = [pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{one.info.run_id}/eval/val_weights.parquet"))
             for one in (alone, run)]  # fmt: skip
    pd.testing.assert_frame_equal(*tried, check_exact=True)
    assert tried[0]["cer"].max() > 0
    assert run.data.params == alone.data.params
    assert run.data.tags["asr_lab.signature"] == alone.data.tags["asr_lab.signature"]
    assert not list(Path("jobs").iterdir())


def test_weights_of_a_folder_are_searched_on_its_validation_data():
    test, val = Path("hard/test.jsonl.gz"), Path("hard/val.jsonl.gz")
    given = ("evaluate", "models:/deepspeech2/1", "hard", "decode.lm=few.arpa", "--tune")
    try:
        test.write_bytes(Path(HARD).read_bytes())
        assert "no val.jsonl.gz" in refused(*given)
        val.write_bytes(Path(HARD).read_bytes())
        ok(*given)
        assert newest("evaluate", "evaluate").data.params["evaluate.data"] == str(val)
    finally:
        test.unlink()
        val.unlink(missing_ok=True)


def test_hot_words_are_recognised_and_idle_ones_named():
    run, table, output = scored("--data", HARD, "decode.hot_words=cafe,bad egg,fee", "decode.hot_word_score=6")
    counts = pd.read_parquet(
        mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/eval/test_hot_words.parquet")
    ).set_index("word")
    assert list(counts.index) == ["cafe", "bad egg", "fee"]
    assert counts["hot"]["cafe"] == sum(text.split().count("cafe") for text in table["hypothesis"])
    assert counts["hot"]["cafe"] >= counts["without"]["cafe"]
    idle = [word for word, row in counts.iterrows() if row["hot"] == row["without"]]
    assert all(word in output.split("without effect on this data:")[1].splitlines()[0] for word in idle)
    assert run.data.tags["asr_lab.decoder"] == "beam 50, 3 hot words"


def test_words_have_times_confidence_and_a_calibration():
    run, table, output = scored("--data", HARD, "evaluate.confidence=true")
    words = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/eval/test_words.parquet"))
    assert len(words) == sum(len(text.split()) for text in table["hypothesis"])
    assert words["confidence"].between(0, 1).all()
    assert (words["start_s"] < words["end_s"]).all()
    for _, own in words.groupby("id"):
        assert own["start_s"].is_monotonic_increasing
    errors = int(table[["substitutions", "insertions"]].to_numpy().sum())
    assert int((~words["right"]).sum()) == errors
    fitted = output.split("decode.calibration=")[1].split()[0]
    calibrated, again, _ = scored("--data", HARD, "evaluate.confidence=true", f"decode.calibration={fitted}")
    assert calibrated.data.metrics["test/confidence_ece"] < run.data.metrics["test/confidence_ece"] + 0.02
    assert calibrated.data.metrics["test/confidence_auc"] == pytest.approx(run.data.metrics["test/confidence_auc"])
    assert list(again["hypothesis"]) == list(table["hypothesis"])


def test_a_registered_model_is_a_version_that_scores_text(home):
    output = ok("lm", "corpus/all.jsonl.gz", "--test", HARD, "--out", "kept.arpa", "--register", "words-lm")
    assert "models:/words-lm/1" in output
    run = newest("lm")
    assert run.data.metrics["test/perplexity"] > 1
    version = mlflow.MlflowClient().get_model_version_by_alias("words-lm", "champion")
    assert version.tags["asr_lab.lm_text"] == run.data.tags["asr_lab.lm_text"]
    assert "MODEL_CARD.md" in artifacts(run.info.run_id)
    scores = mlflow.pyfunc.load_model("models:/words-lm/1").predict(pd.DataFrame({"text": ["dad bed", "zzz zzz"]}))
    assert scores["log10_probability"][0] > scores["log10_probability"][1]
    evaluated, _, _ = scored("--data", HARD, "decode.lm=models:/words-lm@champion")
    assert evaluated.data.tags["asr_lab.lm"] == "models:/words-lm/1"
    assert "language model" in refused("transcribe", "corpus/audio/u00.wav", "--model", "models:/words-lm/1")
    assert "not a language model" in refused(*BASE, "--data", HARD, "decode.lm=models:/deepspeech2/1")


def test_tuned_weights_are_registered_and_used_where_none_are_given():
    ok("lm", "few.txt", "--order", "2", "--out", "tuned.arpa", "--register", "tuned-lm")
    output = ok("evaluate", "deepspeech2/1", HARD, "decode.lm=tuned-lm", "evaluate.tune=true", "run.threads=1")
    tuned = newest("evaluate", "evaluate").data.params
    assert tuned["evaluate.split"] == "val"
    assert "registered with models:/tuned-lm/1" in output
    weights = {name: float(tuned[f"decode.{name}"]) for name in ("lm_weight", "word_score")}
    tags = mlflow.MlflowClient().get_model_version("tuned-lm", "1").tags
    assert json.loads(tags["asr_lab.lm_weights"]) == {"deepspeech2": weights}
    mlflow.MlflowClient().set_model_version_tag(
        "tuned-lm", "1", "asr_lab.lm_weights", json.dumps({"deepspeech2": {"lm_weight": 0.25, "word_score": 0.5}})
    )
    run, _, output = scored("--data", HARD, "decode.lm=tuned-lm")
    assert (run.data.params["decode.lm_weight"], run.data.params["decode.word_score"]) == ("0.25", "0.5")
    assert "decode.lm_weight=0.25 decode.word_score=0.5" in output
    assert run.data.tags["asr_lab.lm"] == "models:/tuned-lm/1"
    given, _, _ = scored("--data", HARD, "decode.lm=models:/tuned-lm/1", "decode.lm_weight=2")
    assert (given.data.params["decode.lm_weight"], given.data.params["decode.word_score"]) == ("2.0", "-1.0")
    shown = run_command("transcribe", HARD, "--model", "deepspeech2/1", "decode.lm=tuned-lm")
    assert "decode.lm_weight=0.25 decode.word_score=0.5" in shown.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_transcribe_decodes_as_evaluate_does(tmp_path, workers):
    given = ("decode.lm=words.arpa", "decode.hot_words=fee,cafe", "decode.hot_word_score=6")
    _, table, output = scored("--data", HARD, *given)
    expected = dict(zip(table["id"], table["hypothesis"], strict=True))
    command = ("transcribe", HARD, "--model", "deepspeech2/1", "--workers", workers, "--out", tmp_path / "t.jsonl")
    done = run_command(*command, *given)
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert {row["file"]: row["text"] for row in rows} == expected
    assert all([word["text"] for word in row["words"]] == row["text"].split() for row in rows)
    notes = [line for line in output.splitlines() if "hot words" in line and "note" in line]
    assert notes
    for note in notes:
        assert note.strip().partition("note ")[2].replace("this data", "these recordings") in done.stderr
    assert "other settings" in refused(*command, "decode.lm=few.arpa", "--resume")
    assert "24 of 24 were transcribed before" in run_command(*command, *given, "--resume").stderr


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("decode.lmm=words.arpa", "did you mean decode.lm"),
        ("decode.beam=5", "no effect"),
        ("decode.hot_words=xylophone", "cannot write: xylophone"),
        ("decode.lm=absent.arpa", "no such language model"),
        ("decode.lm=no-such-lm", "no model 'models:/no-such-lm@champion'"),
        ("train.lr=1", "no such key"),
    ],
)
def test_keys_of_transcribe_and_serve_are_checked(given, part):
    assert part in refused("transcribe", "corpus/audio/u00.wav", "--model", "deepspeech2", given)
    assert part in refused("serve", "--model", "deepspeech2", "--port", "0", given)


def test_units_of_a_text_are_a_model_too():
    output = ok("lm", "corpus/all.jsonl.gz", "--units", "characters", "--order", "4", "--out", "units.arpa")
    assert "4-gram of characters" in output
    run, _, _ = scored("--data", HARD, "decode.lm=units.arpa", "decode.lm_weight=0.5")
    assert run.data.tags["asr_lab.decoder"] == "beam 50, 4-gram of units"


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["decode.beam=20"], "decode.beam has no effect"),
        (["decode.hot_words=cab", "decode.lm_weight=2"], "decode.lm_weight has no effect"),
        (["decode.lm=words.arpa", "decode.hot_word_score=2"], "decode.hot_word_score has no effect"),
        (["decode.calibration=1,0"], "decode.calibration has no effect"),
        (["decode.lm=words.arpa", "evaluate.confidence=true", "decode.calibration=1"], "two numbers"),
        (["--tune"], "needs decode.lm"),
        (["decode.lm=absent.arpa"], "no such language model"),
        (["decode.lm=few.txt"], "ARPA"),
        (["decode.lm=words.arpa", "decode.lm_weight=-1"], "greater than or equal to 0"),
        (["decode.hot_words=xylophone"], "cannot write: xylophone"),
    ],
)
def test_what_would_have_no_effect_or_cannot_be_is_refused(given, part):
    before = newest("deepspeech2").info.run_id
    assert part in refused(*BASE, "--data", HARD, *given)
    assert newest("deepspeech2").info.run_id == before


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["corpus/all.jsonl.gz"], "lm.out: required"),
        (["--out", "x.arpa"], "lm.texts: required"),
        (["few.txt", "--out", "x.txt"], ".arpa"),
        (["few.txt", "--out", "x.arpa", "--order", "7"], "less than or equal to 6"),
        (["few.txt", "--out", "words.arpa"], "--overwrite"),
        (["absent.txt", "--out", "x.arpa"], "no such text"),
        (["corpus/audio/u00.wav", "--out", "x.arpa"], "UTF-8"),
        (["empty.txt", "--out", "x.arpa"], "no sentences"),
    ],
)
def test_what_makes_no_model_is_refused_and_nothing_written(given, part):
    Path("empty.txt").write_text("\n ...\n")
    kept = Path("words.arpa").read_bytes()
    assert part in refused("lm", *given)
    assert not list(Path().glob("*x.arpa*"))
    assert Path("words.arpa").read_bytes() == kept


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: find(name, *more) if name != "flashlight" else None
    )
    assert "pip install 'asr_lab[lm]'" in refused(*BASE, "--data", HARD, "decode.lm=words.arpa")


def test_test_sentences_in_the_text_are_warned_of_and_empty_lines_counted():
    output = ok("lm", "few.txt", "--test", "few.txt", "--out", "again.arpa", "--dry-run")
    assert "3 of 3 sentences of few.txt are in the text" in output
    assert "1 line without words" in output
    assert not Path("again.arpa").exists()


def test_another_normaliser_is_reported():
    ok("lm", "few.txt", "--out", "cased.arpa", "text.lowercase=false")
    _, _, output = scored("--data", HARD, "decode.lm=cased.arpa")
    assert "nfc-nopunct" in output
    ok("lm", "few.txt", "--out", "same.arpa", "--model", "deepspeech2/1")
    _, _, output = scored("--data", HARD, "decode.lm=same.arpa")
    assert "normalised as" not in output


@pytest.mark.slow
def test_the_last_word_of_files_about_30_seconds_long_is_not_cut_off(home):
    """Joined sounds of words, the last one's end at the file's end; 29.0 to 31.0 s in steps of 0.1 s."""
    from asr_lab.config.schema import Decode
    from asr_lab.serving.engine import Request
    from asr_lab.serving.opening import open_engine
    from asr_lab.tracking.models.model_store import MlflowStore

    rng = np.random.default_rng(3)
    sounds = np.concatenate([tone_word(" ".join(rng.choice(WORDS, 2)), rng) for _ in range(40)])
    last = tone_word("dad bed", rng)
    lengths = [round(16_000 * tenths / 10) for tenths in range(290, 311)]
    given = [Request(audio=np.concatenate([sounds[: length - len(last)], last]), words=True) for length in lengths]
    for settings in (Decode(), Decode(lm="words.arpa"), Decode(hot_words=("egg",))):
        own, _ = open_engine(MlflowStore(), "deepspeech2", (), "adapters", decode=settings)
        own.segmentation = "energy"  # silero-vad takes tones for no speech
        for length, result in zip(lengths, own.transcribe(given), strict=True):
            assert result.text.split()[-1] == result.words[-1].text == "bed", (settings, length)
            assert length / 16_000 - 1 < result.words[-1].end_s <= length / 16_000
            edges = [edge for word in result.words for edge in (word.start_s, word.end_s)]
            assert edges == sorted(edges)
