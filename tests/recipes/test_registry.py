"""Versions as people handle them: the best run registered, the gate before an alias, model cards."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import ON_CORPUS, TINY, WORDS, artifacts, make_corpus, newest, ok, refused
from made import made_run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from asr_lab.data import manifest
from asr_lab.data.splits import hold_out_share
from asr_lab.errors import AsrLabError
from asr_lab.tracking.models import promotion, registry
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.tracking.queries import runs

pytestmark = pytest.mark.usefixtures("at_home")


def train(*more: str) -> str:
    """Train and register another version of `gated`; its run's name."""
    corpus = "corpus/all.jsonl.gz"
    data = [f"data.train={corpus}", "data.val=held/all.jsonl.gz"]
    ok("train", "base.yaml", *data, *TINY, "run.register_as=gated", "run.name=gated", *more)
    return newest("deepspeech2").info.run_name


@pytest.fixture(scope="module")
def gated(home):
    """A name with a version that is hardly trained, a good one, and one that is as bad in another way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        rng = np.random.default_rng(9)
        make_corpus(home / "held", {f"h{n:02d}": " ".join(rng.choice(WORDS, 2)) for n in range(24)}, seed=9)
        worse = ["train.epochs=1", "run.license=cc-by-4.0", "run.intended_use=Nothing but tests."]
        return [train(*worse), train("train.epochs=20"), train("train.epochs=1", "run.seed=7")]


def version(number: int):
    return mlflow.MlflowClient().get_model_version("gated", str(number))


def champion() -> str:
    return str(mlflow.MlflowClient().get_model_version_by_alias("gated", "champion").version)


def test_the_gate(gated, home):
    assert champion() == "2"  # the first version that is better than no output
    ok("promote", "gated/1", "--force", "for a test")
    assert champion() == "1"
    said = refused("promote", "gated/3")
    assert "does not become @champion: not significantly better" in said
    assert champion() == "1"
    assert json.loads(version(3).tags["asr_lab.gate"])["passed"] is False
    assert "Refused" in version(3).description

    assert "nothing was written" in ok("promote", "gated/2", "--dry-run")
    missing = ["--data", "no-file.jsonl.gz", "--dry-run"]
    assert "no-file.jsonl.gz" in refused("promote", "gated/2", "--alias", "new", *missing)
    assert champion() == "1"
    said = ok("promote", "models:/gated/2")
    assert "significantly better" in said
    assert "models:/gated/2 is @champion now" in said
    assert champion() == "2"
    evidence = json.loads(version(2).tags["asr_lab.gate"])
    assert evidence["champion"] == "models:/gated/1"
    assert evidence["delta"]["high"] < 0
    assert evidence["figure_candidate"] < evidence["figure_champion"]
    assert evidence["utterances"] == 24 or evidence["utterances"] == 48
    assert version(1).tags["asr_lab.replaced_by"] == "2"
    assert "is @champion already" in refused("promote", "gated@champion")

    assert "does not become" in refused("promote", "gated/1", "--non-inferior", "0.01")
    assert champion() == "2"
    said = ok("promote", "gated", "--force", "for a test")  # the newest
    assert "by force" in said
    assert champion() == "3"
    assert version(3).tags["asr_lab.gate_forced"] == "for a test"
    assert version(2).tags["asr_lab.replaced_by"] == "3"


def test_not_worse_by_a_margin_passes(gated):
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("gated", "steady", "3")
    same = client.create_model_version("gated", version(3).source, run_id=version(3).run_id)
    assert "not significantly better" in refused("promote", f"gated/{same.version}", "--alias", "steady")
    ok("promote", f"gated/{same.version}", "--alias", "steady", "--non-inferior", "0.01")
    assert client.get_model_version_by_alias("gated", "steady").version == same.version
    client.delete_model_version("gated", same.version)


def test_both_are_scored_on_data_given(gated):
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("gated", "there", "1")
    ok("promote", "gated/2", "--alias", "there", "--data", "john/all.jsonl.gz", "--non-inferior", "1")
    evidence = json.loads(version(2).tags["asr_lab.gate"])
    assert evidence["utterances"] == 20
    for run_id in evidence["runs"]:
        assert client.get_run(run_id).data.tags["asr_lab.kind"] == "evaluate"


def test_versions_of_different_data_are_not_compared(gated):
    train("data.val=john/all.jsonl.gz", "train.epochs=1", "run.name=elsewhere")
    newest_version = max(int(v.version) for v in mlflow.MlflowClient().search_model_versions("name = 'gated'"))
    said = refused("promote", f"gated/{newest_version}")
    assert "evaluated on different data (val)" in said
    assert "--data MANIFEST" in said
    mlflow.MlflowClient().delete_model_version("gated", str(newest_version))


def test_a_person_s_adapter_passes_the_gate_too():
    ok("adapter", "--name", "john", "--data", "john/all.jsonl.gz", "train.epochs=1", "train.lr=1e-6")
    versions = mlflow.MlflowClient().search_model_versions("name = 'deepspeech2-adapter-john'")
    last = max(int(one.version) for one in versions)
    name = f"deepspeech2-adapter-john/{last}"
    assert "does not become @champion" in refused("promote", name)
    everything = ("promote", name, "--data", "john/all.jsonl.gz", "--non-inferior", "1")
    assert "of 20 utterances are training data of models:/deepspeech2-adapter-john/" in refused(*everything)
    _, held_out = hold_out_share(manifest.read("john/all.jsonl.gz"), 0.3, seed=0)
    manifest.write(held_out, Path("john/held-out.jsonl.gz"))
    ok("promote", name, "--data", "john/held-out.jsonl.gz", "--non-inferior", "1")


def test_a_version_is_not_promoted_on_its_training_data(gated):
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("gated", "learned", "1")
    on_all = ("promote", "gated/2", "--alias", "learned", "--data", "corpus/all.jsonl.gz")
    said = refused(*on_all)
    assert "24 of 24 utterances are training data of models:/gated/2" in said or "48 of 48" in said
    assert "significantly better" in said
    assert str(client.get_model_version_by_alias("gated", "learned").version) == "1"
    ok(*on_all, "--force", "known speech is what it is for")
    assert str(client.get_model_version_by_alias("gated", "learned").version) == "2"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("gatid", "did you mean 'gated'?"),
        ("gated/99", "gated has no version 99"),
        ("gated@nothing", "gated has no @nothing"),
        ("gated@chmpion", "gated has no @chmpion; did you mean @champion?"),
        ("a/b/c", "not a registered model"),
    ],
)
def test_versions_that_are_not_there(gated, wanted, said):
    assert said in refused("promote", wanted)


def test_the_best_run_is_registered(gated):
    said = ok("register", "--best", "val/wer", "--family", "deepspeech2", "--pattern", "gated-*", "--name", "picked")
    assert gated[1] in said
    assert "none of" in refused("register", "--best", "val/loss", "--pattern", "john", "--name", "picked")
    assert "no known direction" in refused("register", "--best", "train/lr", "--name", "picked")
    assert "give either RUN or --best METRIC" in refused("register", "--name", "picked")


def test_the_best_run_has_a_figure_is_not_archived_and_repeats_no_other(gated):
    for change in (
        {"wer": float("nan")},
        {"tags": {"asr_lab.archived": "2026"}},
        {"tags": {"asr_lab.kind": "reproduce"}},
    ):
        made_run("gated-odd", model=True, **({"wer": 0.0} | change))
    made_run("gated-plain", wer=0.01, model=True)
    said = ok("register", "--best", "val/wer", "--pattern", "gated-[op]*", "--name", "odd")
    assert "gated-plain" in said


@pytest.mark.parametrize("name", ["a/b", "a:b", "a@b", "a\"b'c", " a", ""])
def test_names_that_no_model_can_have(gated, name):
    assert "no model can be registered as" in refused("register", gated[0], "--name", name)


def test_a_training_whose_model_could_not_be_registered_does_not_begin():
    assert "no model can be registered as" in refused("train", "base.yaml", *ON_CORPUS, "run.register_as=a/b")


def test_a_name_has_models_of_one_kind():
    base, adapter = newest("deepspeech2").info.run_id, newest("adapter").info.run_id
    assert "models:/deepspeech2/" in refused("register", adapter, "--name", "deepspeech2", "--dry-run")
    for name in ("deepspeech2-adapter-john", "deepspeech2-adapter-zoe"):
        assert name in refused("register", base, "--name", name)
        assert name in refused("train", "base.yaml", *ON_CORPUS, *TINY, f"run.register_as={name}")
    assert newest("deepspeech2").info.run_id == base  # nothing was begun


def test_a_name_with_a_quote_works(gated):
    assert "models:/o'brien/1" in ok("register", gated[0], "--name", "o'brien")
    assert "models:/o'brien/1" in ok("register", gated[0], "--name", "o'brien")  # it is that already
    assert "o'brien has no champion: val/wer" in ok("register", gated[0], "--name", "o'brien")
    assert "does not become @champion: val/wer" in refused("promote", "o'brien")
    assert "the champion is" not in ok("register", gated[1], "--name", "o'brien")  # it is the first that learned
    assert "the champion is models:/o'brien/2" in ok("register", gated[0], "--name", "o'brien")
    assert MlflowStore().resolve_version("models:/o'brien@champion") == MlflowStore().resolve_version(
        "models:/o'brien/latest"
    )


def test_a_registry_that_does_not_answer_has_no_free_alias(gated, monkeypatch):
    def away(*_):
        raise MlflowException("API request failed with error code 503", TEMPORARILY_UNAVAILABLE)

    before = champion()
    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", away)
    monkeypatch.setattr(mlflow.MlflowClient, "get_registered_model", away)
    assert "503" in refused("promote", "gated/1")
    monkeypatch.undo()
    assert champion() == before


def test_an_alias_that_moved_meanwhile_is_not_taken(gated):
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("gated", "raced", "1")
    verdict = promotion.unassessed(version(2), "raced", "for a test")
    client.set_registered_model_alias("gated", "raced", "3")
    with pytest.raises(AsrLabError, match="@raced went to models:/gated/3 while"):
        promotion.promote(version(2), "raced", verdict)
    assert str(client.get_model_version_by_alias("gated", "raced").version) == "3"


def test_the_gate_is_reported_once_behind_the_card(gated):
    client, own = mlflow.MlflowClient(), version(1).description
    card = f"a card\n\n---\nwith a line, {'x' * 4900}"
    client.update_model_version("gated", "1", card)
    for reason in ("one", "two"):
        promotion.record(version(1), promotion.unassessed(version(1), "nobody", reason))
    assert version(1).description.startswith("a card\n\n---\nwith a line, xxx")
    assert version(1).description.endswith("\n\n---\nGate: two. Refused")
    assert version(1).description.count("Gate: ") == 1
    client.update_model_version("gated", "1", own)


def test_trying_the_gate_out_records_nothing(gated):
    before = len(runs.find())
    said = ok("promote", "gated/1", "--alias", "champion", "--data", "john/all.jsonl.gz", "--dry-run")
    assert "on 20 utterances" in said
    assert len(runs.find()) == before


def test_an_adapter_is_one_whatever_it_is_called(gated):
    ok("register", newest("adapter").info.run_id, "--name", "john-by-another-name")
    base = newest("deepspeech2").info.run_id  # by other means, as `register` refuses it
    mlflow.MlflowClient().create_registered_model("deepspeech2-adapter-base")
    mlflow.MlflowClient().create_model_version("deepspeech2-adapter-base", f"runs:/{base}/model", base)
    made = mlflow.MlflowClient().get_model_version("john-by-another-name", "1")
    assert made.tags["asr_lab.family"] == "adapter"
    assert registry.is_adapter(made)
    assert not registry.is_adapter(mlflow.MlflowClient().get_model_version("deepspeech2-adapter-base", "1"))
    mlflow.MlflowClient().delete_model_version_tag("john-by-another-name", "1", "asr_lab.family")
    assert registry.is_adapter(mlflow.MlflowClient().get_model_version("john-by-another-name", "1"))  # by its run


def test_a_card_is_written_with_each_version(gated):
    card = version(1).description
    for part in (
        "# gated",
        "Nothing but tests.",
        "licence: cc-by-4.0",
        "trained from scratch",
        "val/wer",
        "digest",
        "48 utterances, ",
    ):
        assert part in card, part
    assert version(1).tags["asr_lab.license"] == "cc-by-4.0"
    assert "_by_speaker" not in card  # it goes wherever the model goes
    assert "MODEL_CARD.md" in artifacts(version(1).run_id)
    adapter = mlflow.MlflowClient().get_model_version("deepspeech2-adapter-john", "1")
    assert "base: models:/deepspeech2/1" in adapter.description
    assert "test/wer_delta" in adapter.description


def test_an_adapter_has_the_licence_of_its_base(gated):
    ok("adapter", "--name", "lee", "--data", "john/all.jsonl.gz", "--base", "models:/gated/1", "train.epochs=1")
    made = mlflow.MlflowClient().get_model_version("deepspeech2-adapter-lee", "1")
    assert made.tags["asr_lab.license"] == "cc-by-4.0"
    assert "licence: cc-by-4.0" in made.description
