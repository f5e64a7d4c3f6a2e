"""A checkpoint from elsewhere as an ordinary model here: a folder, and a version in the registry where asked."""

from __future__ import annotations

import shutil
from pathlib import Path

from asr_lab.config.schema import DeepSpeech2Experiment
from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.common import describe
from asr_lab.training.recorder import RegisteredModel, Tracker
from asr_lab.training.trainer import written_whole


def write(recognizer: Recognizer, out: Path, *, overwrite: bool = False) -> None:
    """Write the model to the folder `out`, aside first; one that is there is replaced only where asked."""
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise AsrLabError("there is something already where the model would go", where=str(out), allowed="--overwrite")
    aside = out.with_name(f".{out.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    with written_whole("the model", aside):
        aside.mkdir(parents=True)
        recognizer.save(aside)
    if out.is_dir():
        shutil.rmtree(out)
    aside.rename(out)


def register(recognizer: Recognizer, folder: Path, checkpoint: Path, name: str, tracker: Tracker) -> str:
    """Make the folder a version of `name`, recorded as a run of kind `import`; its URI."""
    shape = recognizer.model.config
    config = DeepSpeech2Experiment()
    sizes = {key: getattr(shape, key) for key in type(config.model).model_fields if hasattr(shape, key)}
    config = config.model_copy(update={"model": config.model.model_copy(update=sizes)})
    digest = manifest.file_digest(checkpoint)
    spec = describe(
        config,
        family="deepspeech2",
        kind="import",
        model_type="deepspeech2",
        name=f"{name}-import",
        data={"checkpoint": digest},
        checkpoint=checkpoint.name,
        checkpoint_digest=digest,
        text=recognizer.normalizer.name,
    )
    with tracker.start(spec) as run:
        count = sum(parameter.numel() for parameter in recognizer.model.parameters())
        run.metrics({"model/params": count, "model/size_mb": (folder / "model.safetensors").stat().st_size / 1e6})
        run.note(f"imported from `{checkpoint.name}` (SHA-256 {digest})")
        return run.model(RegisteredModel(name=name, files={"model": folder}), register=True)
