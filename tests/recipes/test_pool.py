"""`data split --folds` and `pool`: every speaker tested once, and one evaluation of all folds."""

from __future__ import annotations

import re

import pytest
from conftest import make_corpus, ok, refused

from asr_lab.data import manifest
from asr_lab.data.splits import groups


@pytest.fixture
def children(store):
    """Six speakers with an age each, of four utterances; the manifest's path."""
    cuts = []
    for number, age in enumerate((6, 6, 8, 8, 12, 12)):
        texts = {f"s{number}-{i}": "cab dad" for i in range(4)}
        cuts += manifest.read(make_corpus(store / f"s{number}", texts, speaker=f"s{number}", age=age))
    path = store / "children" / "all.jsonl.gz"
    manifest.write(cuts, path)
    return path


def scored(path, name, wrong, text="nfc-lower", model_type="wav2vec2"):
    """A finished run that got one word of each utterance of these speakers wrong."""
    from asr_lab.data.text import TextNormalizer
    from asr_lab.interfaces.tracking import RunSpec
    from asr_lab.recipes.recognition.scoring import score
    from asr_lab.recipes.splits import Split
    from asr_lab.tracking.tracker import MlflowTracker

    split = Split.read("test", str(path))
    said = {cut.id: "cab" if cut.id.split("-")[0] in wrong else "cab dad" for cut in split.cuts}
    spec = RunSpec(
        family="wav2vec2", kind="train", model_type=model_type, name=name, signature=name, config_yaml="",
        params={}, tags={"asr_lab.text": text},
    )  # fmt: skip
    run = MlflowTracker(new_run=True).start(spec)
    run.dataset(split.dataset())
    run.table(score(split.cuts, said, TextNormalizer()), "eval/test.parquet")
    run.finish("FINISHED")


def test_folds_come_together_again_and_are_held_against_the_base(children, store):
    said = ok("data", "split", children, "cross", "--folds", "3", "--val", "0.2")
    assert "0 speakers are in two splits, of 6" in said
    whole = sorted(cut.id for cut in manifest.read(children))
    tested = []
    for fold in ("fold1", "fold2", "fold3"):
        parts = {name: manifest.read(store / "cross" / fold / f"{name}.jsonl.gz") for name in ("train", "val", "test")}
        assert sorted(cut.id for cuts in parts.values() for cut in cuts) == whole
        speakers = [set(groups(cuts, "speaker")) for cuts in parts.values()]
        assert sum(map(len, speakers)) == len(set.union(*speakers)) == 6
        tested += [cut.id for cut in parts["test"]]
        scored(store / "cross" / fold / "test.jsonl.gz", fold, wrong={"s0"})
    assert sorted(tested) == whole
    scored(children, "base", wrong={"s0", "s1", "s2"})

    assert re.search(r"test/wer +8\.3%", ok("pool", "fold1", "fold2", "fold3", "--data", children, "--name", "adapted"))
    compared = ok("compare", "adapted", "base", "--metric", "test/wer", "--vs", "base", "--format", "csv")
    assert "-0.166" in compared
    assert "significantly better than base" in ok("compare", "adapted", "base", "--vs", "base",
                                                       "--metric", "test/wer")  # fmt: skip

    assert "8 utterances were scored by none" in refused("pool", "fold1", "fold2", "--data", children)
    told = refused("pool", "fold1", "base", "--data", "cross/fold2/test.jsonl.gz")
    assert "8 utterances were scored by several" in told
    assert "16 utterances are not in it" in told
    scored(store / "cross" / "fold3" / "test.jsonl.gz", "othertext", wrong=set(), text="raw")
    assert "different text normalisers" in refused("pool", "fold1", "fold2", "othertext", "--data", children)
    scored(store / "cross" / "fold3" / "test.jsonl.gz", "lora", wrong=set(), model_type="wav2vec2-lora")
    told = refused("pool", "fold1", "fold2", "lora", "--data", children)
    assert "models of different types" in told
    assert "(wav2vec2-lora)" in told


def test_folds_that_cannot_be(children):
    assert "--test 0.2 has no effect with --folds 2" in refused(
        "data", "split", children, "x", "--folds", "2", "--test", "0.2"
    )
    assert "leave nothing to train on" in refused("data", "split", children, "x", "--folds", "2", "--val", "0.5")
    assert "--hard-share leaves utterances out" in refused(
        "data", "split", children, "x", "--folds", "2", "--hard-share", "0.2"
    )
    assert "cannot be split into 7 parts" in refused("data", "split", children, "x", "--folds", "7")
