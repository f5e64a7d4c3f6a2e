"""Scores on what a model was trained on: reported by evaluate and compare, on the run and on the card."""

import shutil
from pathlib import Path

import mlflow
import pytest
from conftest import TINY, WORDS, make_corpus, newest, ok
from lhotse import CutSet

from asr_lab.data import manifest
from asr_lab.data.splits import hold_out_share
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.tracking.queries import score_tables

pytestmark = pytest.mark.usefixtures("at_home")
BASE = "models:/deepspeech2/1"


@pytest.fixture(scope="module")
def mixed(home) -> Path:
    """Eight utterances of the base's training data and three of another speaker."""
    known = list(manifest.read(home / "corpus/all.jsonl.gz"))[:8]
    texts = {f"n{n}": f"{word} {WORDS[0]}" for n, word in enumerate(WORDS[:3])}
    new = manifest.read(make_corpus(home / "new", texts, speaker="zoe", seed=4))
    manifest.write([*known, *new], home / "mixed.jsonl.gz")
    return home / "mixed.jsonl.gz"


def evaluated(data: Path | str, *more: str):
    said = ok("evaluate", "--model", BASE, "--data", data, *more)
    return said, newest("evaluate", "evaluate")


def test_a_mix_is_reported_with_the_figures_of_its_parts(mixed):
    said, run = evaluated(mixed)
    metrics, tags = run.data.metrics, run.data.tags
    assert (metrics["test/trained_utterances"], metrics["test/training_speakers"]) == (8, 1)
    assert "8 of 11 utterances were trained on (base" in said
    table = score_tables.utterances(run, "test").set_index("id")
    assert (table["trained_on"] == "yes").sum() == 8
    assert set(table.index[table["trained_on"] == "no"]) == {"n0", "n1", "n2"}
    parts = [metrics[f"test/wer_by_trained_on/{part}"] for part in ("yes", "no")]
    assert min(parts) <= metrics["test/wer"] <= max(parts)
    assert f"test/wer {parts[0]:.1%} on these, {parts[1]:.1%} on the others" in said
    assert tags["asr_lab.overlap"] == "8 of 11 utterances, 1 of 2 speakers"
    assert "ann" not in tags["asr_lab.overlap"] + tags["mlflow.note.content"].partition("\n")[2]
    evaluated(mixed)
    said = ok("compare", run.info.run_id, newest("evaluate", "evaluate").info.run_id)
    assert f"{run.info.run_name} (8 of 11 utterances trained on, 1 training speaker)" in " ".join(said.split())


def test_new_speech_is_reported_to_be_new(mixed):
    _, run = evaluated("new/all.jsonl.gz")
    assert run.data.metrics["test/trained_utterances"] == run.data.metrics["test/training_speakers"] == 0
    assert not {"asr_lab.overlap", "asr_lab.overlap_unchecked"} & set(run.data.tags)


def test_the_same_recordings_under_other_names_are_known(home):
    texts = manifest.read("corpus/all.jsonl.gz")
    renamed = [cut.with_id(f"other-{cut.id}") for cut in list(texts)[:4]]
    manifest.write(renamed, Path("renamed.jsonl.gz"))
    _, run = evaluated("renamed.jsonl.gz")
    assert run.data.metrics["test/trained_utterances"] == 4


def test_what_a_fine_tuned_model_s_base_learned_counts(mixed):
    keys = [key for key in TINY if not key.startswith(("model.", "data.test"))]
    data = ["data.train=john/all.jsonl.gz", "data.val=new/all.jsonl.gz", f"data.test={mixed}"]
    ok("train", "base.yaml", *data, *keys, "train.epochs=1", f"model.pretrained={BASE}", "run.register_as=tuned")
    run = newest("deepspeech2")
    assert run.data.metrics["test/trained_utterances"] == 8
    assert "8 of 11 utterances trained on" in mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/MODEL_CARD.md")
    lineage = MlflowStore().lineage("models:/tuned/1")
    assert [Path(one.source).parent.name for one in lineage.data] == ["john", "corpus"]
    assert not lineage.unknown


def test_an_adapter_s_held_out_part_is_new(home):
    cuts = manifest.read("john/all.jsonl.gz")
    _, held_out = hold_out_share(cuts, 0.3, seed=0)
    _, run = evaluated("john/all.jsonl.gz", "--adapter", "john")
    assert run.data.metrics["test/trained_utterances"] == len(cuts) - len(held_out)
    assert run.data.metrics["test/training_speakers"] == 0  # the adapter is meant for john
    manifest.write(held_out, Path("john/held-out.jsonl.gz"))
    _, run = evaluated("john/held-out.jsonl.gz", "--adapter", "models:/deepspeech2-adapter-john/1")
    assert run.data.metrics["test/trained_utterances"] == 0


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_what_cannot_be_checked_is_reported(mixed, home, change):
    kept = shutil.move("corpus/all.jsonl.gz", "corpus/kept")
    try:
        if change == "changed":
            manifest.write(list(manifest.read("mixed.jsonl.gz"))[:2], Path("corpus/all.jsonl.gz"))
        said, run = evaluated(mixed)
        assert "corpus/all.jsonl.gz" in run.data.tags["asr_lab.overlap_unchecked"]
        assert "not checked whether it was trained on these data" in said
        assert f"is not ruled out: {run.info.run_name}" in ok("compare", run.info.run_id, "--metric", "test/wer")
        # the very same data are known by their digest, wherever their manifest is
        shutil.copy(kept, "corpus/elsewhere.jsonl.gz")
        _, run = evaluated("corpus/elsewhere.jsonl.gz")
        assert run.data.metrics["test/trained_utterances"] == run.data.metrics["test/utterances"]
    finally:
        shutil.move(kept, "corpus/all.jsonl.gz")


def test_a_folder_is_known_by_its_files(home):
    folder = shutil.copytree(MlflowStore().resolve(BASE), "a-copy")
    lineage = MlflowStore().lineage(str(Path(folder).resolve()))
    assert [one.run for one in lineage.data] == [newest_base()]
    Path(folder, "vocab.json").write_text("{}")
    assert "a-copy" in MlflowStore().lineage(str(Path(folder).resolve())).unknown[0]
    assert MlflowStore().lineage("facebook/wav2vec2-base").unknown == ["facebook/wav2vec2-base was trained elsewhere"]


def newest_base() -> str:
    return str(mlflow.MlflowClient().get_run(mlflow.MlflowClient().get_model_version("deepspeech2", "1").run_id)
               .info.run_name)  # fmt: skip


def test_rows_have_the_digest_of_cuts(home):
    from asr_lab.data.leakage import scan

    cuts = manifest.read("corpus/all.jsonl.gz")
    for part in (cuts, CutSet.from_cuts(list(cuts)[:3])):
        found = scan(Path("corpus/all.jsonl.gz"), part)
        assert found.digest == manifest.digest(cuts)
        assert found.utterances == {cut.id for cut in part}
        assert found.speakers == {"ann"}
