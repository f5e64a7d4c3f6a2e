"""Runs as the Recorder leaves them, made by MLflow's client within milliseconds: nothing is trained."""

from __future__ import annotations

import json
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import soundfile
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag

DAY_MS = 86_400_000
PYFUNC = """
import mlflow
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input
mlflow.models.set_model(Echo())
"""


def client() -> mlflow.MlflowClient:
    """A client of the store that the test stands in."""
    from asr_lab.tracking.store import client as tracking_client

    return tracking_client()


def made_run(
    name: str,
    *,
    family: str = "deepspeech2",
    wer: float | None = 0.3,
    days: float = 0,
    status: str = "FINISHED",
    parent: str = "",
    model: bool = False,
    register: str = "",
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    table: pd.DataFrame | None = None,
    points: int = 1,
) -> str:
    """A run that ended `days` ago, with metrics, config, score table and page, on wish with a (registered) model."""
    store = client()
    known = store.get_experiment_by_name(family)
    experiment = known.experiment_id if known else store.create_experiment(family)
    end = int(time.time() * 1000 - days * DAY_MS)
    own = {"asr_lab.family": family, "asr_lab.kind": "train", "asr_lab.data.val": "d1", "mlflow.user": "ada"}
    own |= ({"mlflow.parentRunId": parent} if parent else {}) | (tags or {})
    run_id = store.create_run(experiment, start_time=end - 60_000, tags=own, run_name=name).info.run_id
    metrics = [Metric("train/loss", 5.0 / (step + 1), end - 50_000 + step, step) for step in range(points)]
    metrics += [Metric("val/wer", wer, end - 1000, points)] if wer is not None else []
    store.log_batch(
        run_id,
        metrics=metrics,
        params=[Param(key, value) for key, value in ({"train.lr": "0.1"} | (params or {})).items()],
        tags=[RunTag("asr_lab.model_type", family)],
    )
    dataset = Dataset("corpus/all", "d1", "local", '{"uri": "corpus/all.jsonl.gz"}', profile='{"utterances": 2}')
    store.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "val")])])
    store.log_text(run_id, "recipe: deepspeech2\n", "config.yaml")
    if table is not None:
        log_scores(run_id, table)
    if model or register:
        model_id = made_model(run_id)
        if register:
            made_version(register, f"models:/{model_id}", run_id)
    if status != "RUNNING":
        store.set_terminated(run_id, status, end)
    return run_id


def made_model(run_id: str) -> str:
    """A logged model of a run that plain MLflow loads, with a param, a tag and a metric of its own; its id."""
    store = client()
    run = store.get_run(run_id)
    made = store.create_logged_model(
        run.info.experiment_id, "model", run_id, tags={"of": "test"}, params={"size": "1"}, model_type="echo"
    )
    code = Path(f"echo_{run_id[:8]}.py")
    code.write_text(PYFUNC)
    mlflow.models.Model.log(
        None, flavor=mlflow.pyfunc, run_id=run_id, model_id=made.model_id, python_model=str(code), pip_requirements=[]
    )
    store.log_batch(run_id, metrics=[Metric("model/score", 0.5, 1000, 3, model_id=made.model_id)])
    if made.model_id not in {output.model_id for output in store.get_run(run_id).outputs.model_outputs}:
        store.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
    return made.model_id


def made_version(name: str, source: str, run_id: str | None) -> None:
    """A version of a registered model; the first one becomes @champion."""
    store = client()
    if name not in {model.name for model in store.search_registered_models()}:
        store.create_registered_model(name)
        store.create_model_version(name, source, run_id=run_id)
        store.set_registered_model_alias(name, "champion", "1")
    else:
        store.create_model_version(name, source, run_id=run_id)


def scores(*speakers: str) -> pd.DataFrame:
    """A score table with an utterance for each of these speakers."""
    return pd.DataFrame(
        {
            "id": [f"{speaker}-{place}" for place, speaker in enumerate(speakers)],
            "reference": [f"what {speaker} said" for speaker in speakers],
            "hypothesis": ["what" for _ in speakers],
            "speaker": list(speakers),
        }
    )


def log_scores(run_id: str, table: pd.DataFrame, split: str = "val") -> None:
    """Score table, page and metrics by speaker of a split, as `record_scores` leaves them."""
    store = client()
    file = Path(f"{split}.parquet")
    table.to_parquet(file, index=False)
    store.log_artifact(run_id, str(file), "eval")
    file.unlink()
    page = "<html>" + "".join(f"<p>{row.id}: {row.reference}</p>" for row in table.itertuples()) + "</html>"
    store.log_text(run_id, page, f"eval/{split}.html")
    by_speaker = table.groupby("speaker").size()
    if len(by_speaker) > 1:
        slices = pd.DataFrame({"slice": "speaker", "value": by_speaker.index, "wer": 0.5})
        slices.to_parquet(f"{split}_slices.parquet", index=False)
        store.log_artifact(run_id, f"{split}_slices.parquet", "eval")
        Path(f"{split}_slices.parquet").unlink()
        for name in by_speaker.index:
            store.log_metric(run_id, f"{split}/wer_by_speaker/{name}", 0.5)


def made_manifest(path: str, *speakers: str) -> str:
    """A manifest with an utterance for each of these speakers, and its sounds; its digest."""
    from asr_lab.data import manifest

    cuts = []
    for place, speaker in enumerate(speakers):
        audio = Path(path).parent / f"{Path(path).name.split('.')[0]}-{place}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, np.full(1600, place / 100), 16000, subtype="PCM_16")
        cuts.append(manifest.utterance(id=f"u{place}", audio=audio, text=f"word {place}", speaker=speaker))
    return manifest.digest(manifest.write(cuts, Path(path)))


def log_comparison(run_ids: list[str], *more: str) -> None:
    """Table, curves and page of a comparison among the artifacts of each run, as `compare --log` leaves them."""
    names = [client().get_run(run_id).info.run_name for run_id in run_ids]
    data = {"rows": [{"id": run_id} for run_id in run_ids], "shown": [*names, *more]}
    page = f'<ul></ul><script type="application/json" id="data">{json.dumps(data, ensure_ascii=False)}</script>'
    for run_id in run_ids:
        client().log_text(run_id, pd.DataFrame({"run": [*names, *more]}).to_csv(index=False), "compare/table.csv")
        client().log_text(run_id, "a picture", "compare/curves.png")
        client().log_text(run_id, page + "<script>let johanna</script>", "compare/comparison.html")


def all_run_ids() -> set[str]:
    """Every run that the database knows, deleted or not."""
    store = client()
    experiments = [one.experiment_id for one in store.search_experiments()]
    return {run.info.run_id for run in store.search_runs(experiments, run_view_type=3)}
