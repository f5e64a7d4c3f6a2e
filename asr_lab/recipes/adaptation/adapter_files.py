"""Import adapter files, bind them to a base, register them, and convert residual adapters to plain ones."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lhotse import CutSet

from asr_lab.config.schema import Adapter, AdapterExperiment
from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tags import BASE, BASE_DIGEST
from asr_lab.interfaces.tracking import RegisteredModel, Tracker
from asr_lab.metrics import error_rates
from asr_lab.models.adapter import REGISTERED, AdapterInfo, AdapterManager, Base, MLPAdapter
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.adaptation.fit import distil
from asr_lab.recipes.recognition.scoring import score
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.system.times import utc_now
from asr_lab.training.encoder_outputs import EncoderOutputs
from asr_lab.training.row_cache import make_row_cache

_DISTIL_EPOCHS = 150


@dataclass(frozen=True)
class PlainAdapter:
    """A plain adapter distilled from a residual one, and the WER of both on the same utterances."""

    file: Path
    wer_residual: float
    wer_plain: float


def import_adapter_file(
    file: Path, name: str, target: AdapterManager, base: tuple[str, DeepSpeech2Recognizer] | None
) -> AdapterInfo:
    """Copy an adapter file into a folder under `name`; with a base, check it against the base and bind it.

    Raise `AsrLabError` if it does not fit the base, belongs to another one, or is not an adapter file.
    """
    source = AdapterManager()
    info = source.get_adapter_info(str(file))
    fits = base[1].base(base[0]) if base else _own(info)
    adapter = source.load_adapter(str(file), fits, blank=base[1].blank if base else info.blank)
    known = fits if base or info.base_digest else None
    target.save_adapter(name, adapter, known, created=info.created or utc_now(), metrics=dict(info.metrics))
    return target.get_adapter_info(name)


def _own(info: AdapterInfo) -> Base:
    """Return the base as described by the file itself, without a check."""
    sizes = info.input_dim, info.output_dim
    return Base(info.base_digest, info.vocabulary_digest, *sizes, info.base, info.base_normalization)


def register(info: AdapterInfo, file: Path, tracker: Tracker) -> str:
    """Register an adapter file as a version of `deepspeech2-adapter-NAME`, in an `import` run; return its URI."""
    if not info.base or Path(info.base).is_dir():
        raise AsrLabError(
            f"{info.adapter_name} does not say which registered base it belongs to",
            where=str(file),
            next_command=f"asr-lab adapters import {shlex.quote(str(file))} --base models:/NAME@champion --register",
        )
    digest = manifest.file_digest(file)
    spec = describe(
        AdapterExperiment(adapter=Adapter(name=info.adapter_name, base=info.base, hidden_dims=info.hidden_dims)),
        family="adapter",
        kind="import",
        model_type="deepspeech2-adapter",
        name=f"{info.adapter_name}-import",
        data={"adapter": digest},
        base=info.base,
        speaker=info.adapter_name,
    )
    with tracker.start(spec) as run:
        run.file(file)
        run.metrics({"model/trainable_params": info.num_params, "model/size_mb": info.size_bytes / 1e6})
        model = RegisteredModel(
            name=REGISTERED.format(info.adapter_name),
            files={"adapter": file},
            base_uri=info.base,
            tags={BASE: info.base, BASE_DIGEST: info.base_digest},
        )
        return run.model(model, register=True)


def distil_to_plain(
    info: AdapterInfo, file: Path, recognizer: DeepSpeech2Recognizer, data: str, to: Path, console: Console
) -> PlainAdapter:
    """Distil a residual adapter into a plain one on the manifest `data`, written to the folder `to`.

    Transcripts are used for the WER only. Raise `AsrLabError` if the adapter is plain already.
    """
    if info.form == "plain":
        raise AsrLabError(f"{info.adapter_name} is plain already", where=str(file))
    use_threads(0)
    config = AdapterExperiment.model_validate(
        {
            "adapter": {"name": info.adapter_name, "hidden_dims": info.hidden_dims, "form": "plain"},
            "data": {"train": data, "test": data},
            "train": {"imitate_epochs": _DISTIL_EPOCHS},
        }
    )
    base = recognizer.base(info.base)
    teacher = AdapterManager().load_adapter(str(file), base, blank=recognizer.blank, device=recognizer.model.device)
    cuts = Split.read("train", data).cuts
    outputs = EncoderOutputs.of(recognizer, cuts, console)
    teacher_outputs = _teacher_outputs(outputs, teacher, cuts)
    student = MLPAdapter(info.input_dim, info.hidden_dims, info.output_dim, dropout=0.0, blank=recognizer.blank)
    distil(student, config.train, teacher_outputs, cuts, config.run.seed)
    created = AdapterManager(to).save_adapter(info.adapter_name, student, base, created=utc_now())
    hypotheses = {
        own: outputs.hypotheses(recognizer, cuts, own.eval().to(recognizer.model.device)) for own in (teacher, student)
    }
    residual, plain = (error_rates.wer(score(cuts, texts, recognizer.normalizer)) for texts in hypotheses.values())
    return PlainAdapter(created, residual, plain)


@torch.no_grad()
def _teacher_outputs(outputs: EncoderOutputs, teacher: MLPAdapter, cuts: CutSet) -> EncoderOutputs:
    """Return the encoder outputs with the teacher's logits in place of the base's."""
    rows = make_row_cache(cuts, (teacher.input_dim, teacher.output_dim), "auto", Path("checkpoints"))
    device = next(teacher.parameters()).device
    for cut in cuts:
        frames_UH, logits_UV = outputs.rows.get(cut.id)
        rows.put(cut.id, frames_UH, teacher(frames_UH.to(device), logits_UV.to(device)).logits.cpu())
    return replace(outputs, rows=rows)
