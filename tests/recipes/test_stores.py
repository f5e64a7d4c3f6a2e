"""One person's week on each kind of store: the same commands, the same outcome."""

import mlflow
import pytest
from conftest import TINY, WORDS, make_corpus, newest, ok, refused
from servers import KINDS, tracking_store

pytestmark = pytest.mark.slow


@pytest.fixture(params=KINDS[-1:])
def week(request, tmp_path, monkeypatch):
    """A folder with a corpus and john's recordings, and a store of this kind."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    rng = np.random.default_rng(1)
    make_corpus(tmp_path / "corpus", {f"u{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(48)})
    make_corpus(tmp_path / "val", {f"v{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(24)}, seed=2)
    make_corpus(tmp_path / "john", {f"j{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(20)}, speaker="john")
    (tmp_path / "base.yaml").write_text("recipe: deepspeech2\nrun: {name: base, register_as: deepspeech2}\n")
    with tracking_store(request.param, tmp_path) as env:
        for key, value in env.items():
            monkeypatch.setenv(key, value)
        mlflow.set_tracking_uri(env["MLFLOW_TRACKING_URI"])
        yield request.param


def test_train_adapt_compare_register_promote_reproduce(week):
    data = ["data.train=corpus/all.jsonl.gz", "data.val=val/all.jsonl.gz", *TINY]
    ok("train", "base.yaml", *data, "train.epochs=1")
    ok("promote", "deepspeech2/1", "--force", "the first one")
    ok("train", "base.yaml", *data, "train.epochs=12", "run.seed=2")
    better = newest("deepspeech2").info.run_name
    assert "models:/deepspeech2/1" in ok("adapter", "--name", "john", "--data", "john/all.jsonl.gz")
    assert better in ok("compare", "--family", "deepspeech2")
    assert "john" in ok("list", "--family", "adapter")
    assert "is @champion now" in ok("promote", "deepspeech2")
    assert "models:/picked/1" in ok("register", "--best", "val/wer", "--family", "deepspeech2", "--name", "picked")
    ok("evaluate", "--model", "models:/deepspeech2@champion", "--data", "john/all.jsonl.gz")
    assert "reproduced, identical" in ok("reproduce", better, "--tolerance", "0")
    assert "no run 'nobody'" in refused("show", "nobody")
