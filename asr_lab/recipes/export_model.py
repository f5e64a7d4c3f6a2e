"""Export a recogniser to ONNX, in float or 8 bits, as a folder that runs without asr_lab; refused where it differs."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from asr_lab import __version__
from asr_lab.data.manifest import file_digest
from asr_lab.errors import AsrLabError
from asr_lab.families import family
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.metrics import error_rates
from asr_lab.models.adapter import AdapterManager, weights_digest
from asr_lab.models.onnx_folder import (
    CONFIG,
    GRAPH,
    LIBRARIES,
    README,
    exported_type,
    is_exported,
    readme,
    require_onnx,
    write_sums,
)
from asr_lab.models.onnx_recognizer import OnnxNetwork, OnnxRecognizer, load_recognizer
from asr_lab.models.recognizer import Progress, Recognizer, write_json
from asr_lab.recipes.evaluate import adapter_file, registered_adapter, with_adapter
from asr_lab.recipes.recognition.scoring import score
from asr_lab.recipes.splits import Split, refuse_too_short
from asr_lab.system.files import atomic_folder, explain_unwritable
from asr_lab.system.times import utc_now
from asr_lab.units import SAMPLE_RATE

Form = Literal["onnx", "int8"]
TOLERANCE = 1e-4
"""Most that a logit may differ, for logits up to 1; of larger ones the share of the largest."""
_PROBES_S = ((0.5,), (1.7, 0.6, 1.1), (2.3, 2.9), (4.0,))
"""Seconds of the rows of the batches that every export is compared on."""
_BATCH_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported folder, and what was measured on it."""

    folder: Path
    size_mb: float
    float_mb: float
    largest_difference: float
    """Of the logits in float."""
    utterances: int = 0
    """That were compared, of a manifest; 0 without one."""
    same_texts: int = 0
    wer: float = 0.0
    wer_of_source: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What is exported, and the utterances that it is compared on."""

    recognizer: Recognizer
    uri: str
    """Pinned URI of the model."""
    source: dict[str, str]
    split: Split | None = None


def plan(
    store: ModelStore, model: str, *, adapter: str = "", adapter_dir: str = "adapters", data: str = ""
) -> ExportPlan:
    """Load the recogniser, with a speaker's adapter, and read the manifest.

    Raises `AsrLabError` for a model that cannot be exported, or where libraries are missing.
    """
    require_onnx()
    adapter = registered_adapter(store, adapter, adapter_dir)
    recognizer, uri = with_adapter(store, model, adapter, adapter_dir)
    if isinstance(recognizer, OnnxRecognizer):
        raise AsrLabError("this model is exported already", where=uri, allowed="the model that it was exported from")
    if family(recognizer.model_type).takes_text:
        raise AsrLabError(
            f"models of the family {recognizer.model_type} cannot be exported: they take a text beside the audio",
            where=uri,
            allowed="recognisers",
        )
    split = Split.read("test", data) if data else None
    if split:
        refuse_too_short(split, recognizer)
    source = {"model": uri, "digest": weights_digest(recognizer.model)}
    if adapter:
        manager, file = AdapterManager(adapter_dir), adapter_file(store, adapter)
        source |= {"speaker": manager.get_adapter_info(file).adapter_name, "adapter": adapter}
        source["adapter_digest"] = file_digest(manager.find(file))
    return ExportPlan(recognizer=recognizer, uri=uri, source=source, split=split)


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Raise `AsrLabError` if something is in the way; an exported model is replaced if `overwrite`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not is_exported(out):
        raise AsrLabError("there is something else already where the model would go", where=str(out))
    if not overwrite:
        raise AsrLabError("there is an exported model already", where=str(out), allowed="--overwrite, or another --out")


def export(
    planned: ExportPlan,
    form: Form,
    out: Path,
    *,
    overwrite: bool = False,
    most_wer_increase: float = 0.005,
    progress: Progress | None = None,
) -> Exported:
    """Write the folder `out`, which is there only once its model was compared with the source.

    Raises `AsrLabError` if logits of generated signals differ by more than `TOLERANCE`, if a text of the manifest
    differs (`onnx`), or if the WER is higher by more than `most_wer_increase` (`int8`).
    """
    from asr_lab.models.onnx_graph import write_graph

    out = out.absolute()
    check_destination(out, overwrite=overwrite)
    recognizer = planned.recognizer
    with explain_unwritable("the exported model", out, hint=""), atomic_folder(out, replaces=overwrite) as folder:
        graph = folder / GRAPH
        write_graph(recognizer, graph)
        difference = _check_logits(recognizer, OnnxNetwork(graph, recognizer.blank))
        float_mb = graph.stat().st_size / 1e6
        if form == "int8":
            from asr_lab.models.onnx_int8 import quantize

            quantize(graph, graph)
        config = _config(planned, form)
        _write(folder, recognizer, config, {})
        texts = _compare(planned.split, recognizer, load_recognizer(folder), progress) if planned.split else {}
        exported = Exported(
            folder=out,
            size_mb=graph.stat().st_size / 1e6,
            float_mb=float_mb,
            largest_difference=difference,
            **texts,
        )
        _refuse_worse(exported, form, planned, most_wer_increase)
        measured = {key: value for key, value in asdict(exported).items() if key != "folder"}
        config["measured"] = measured | (
            {"data": planned.split.path, "data_digest": planned.split.digest} if planned.split else {}
        )
        _write(folder, recognizer, config, figures(exported, form, planned))
    return exported


def figures(exported: Exported, form: Form, planned: ExportPlan) -> dict[str, str]:
    """Return what there is to say of an exported model, by label."""
    source = planned.source
    rows = {"model": source["model"]}
    rows |= {"speaker": f"{source['speaker']} ({source['adapter']})"} if "adapter" in source else {}
    share = f", {exported.size_mb / exported.float_mb:.2f} of the float graph" if form == "int8" else ""
    rows["file"] = f"{GRAPH}, {exported.size_mb:.2f} MB{share}"
    rows["logits"] = f"within {exported.largest_difference:.1e} of the model's, in float"
    if planned.split:
        rows["texts"] = f"{exported.same_texts} of {exported.utterances} as the model's"
        rows["WER"] = f"{exported.wer:.1%}, the model's {exported.wer_of_source:.1%}, on {planned.split.path}"
    return rows


def _config(planned: ExportPlan, form: Form) -> dict[str, Any]:
    from asr_lab.models.onnx_graph import OPSET, strides_of

    recognizer = planned.recognizer
    libraries = ("torch", *LIBRARIES)
    return {
        "model_type": exported_type(recognizer.model_type),
        "form": form,
        "opset": OPSET,
        "sampling_rate": SAMPLE_RATE,
        "min_samples": recognizer.min_samples,
        "frame_shift_s": recognizer.frame_shift_s,
        "strides": strides_of(recognizer),
        "classes": len(recognizer.vocabulary),
        "blank": recognizer.blank,
        "text": asdict(recognizer.normalizer),
        "source": planned.source,
        "versions": {"asr_lab": __version__} | {name: importlib.metadata.version(name) for name in libraries},
        "created": utc_now(),
    }


def _write(folder: Path, recognizer: Recognizer, config: dict[str, Any], rows: dict[str, str]) -> None:
    write_json(folder / CONFIG, config)
    write_json(folder / "vocab.json", recognizer.vocabulary)
    if recognizer.subwords:
        recognizer.subwords.save(folder)
    (folder / README).write_text(readme(config, rows), encoding="utf-8")
    write_sums(folder)


def _check_logits(recognizer: Recognizer, network: OnnxNetwork) -> float:
    """Return the largest difference of logits on generated signals; raise `AsrLabError` if it is too large."""
    draw, largest, scale = np.random.default_rng(0), 0.0, 1.0
    for lengths_s in _PROBES_S:
        signals = []
        for seconds in lengths_s:
            time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
            noise = draw.normal(0, 0.1, len(time_s)) * (1 + np.sin(20 * time_s))
            signals.append((noise + 0.2 * np.sin(2 * np.pi * draw.uniform(100, 1000) * time_s)).astype(np.float32))
        batch = recognizer.collator().pad([recognizer.extract(one) for one in signals])
        with torch.inference_mode():
            expected_BUV, lengths_B = recognizer.logits(batch)
        rows = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in signals], batch_first=True)
        got_BUV, got_lengths_B = network(rows, torch.tensor([len(one) for one in signals]))
        if got_lengths_B.tolist() != lengths_B.tolist():
            raise AsrLabError("the exported graph has another number of frames than the model; nothing was exported")
        for expected_UV, got_UV, length in zip(expected_BUV, got_BUV, lengths_B.tolist(), strict=True):
            largest = max(largest, float((got_UV[:length] - expected_UV[:length]).abs().max()))
            scale = max(scale, float(expected_UV[:length].abs().max()))
    if not largest <= TOLERANCE * scale:
        raise AsrLabError(
            f"the exported graph differs from the model by {largest:.1e}; nothing was exported",
            allowed=f"at most {TOLERANCE * scale:.1e}, for logits up to {scale:.0f}",
        )
    return largest


def _compare(
    split: Split, recognizer: Recognizer, exported: OnnxRecognizer, progress: Progress | None
) -> dict[str, Any]:
    """Transcribe with both, and return the fields of `Exported`."""
    expected: dict[str, str] = {}
    got: dict[str, str] = {}
    both = (one.iterate_logits(split.cuts, _BATCH_SIZE) for one in (recognizer, exported))
    for (ids, *logits), (_, *own) in zip(*both, strict=True):
        expected |= zip(ids, recognizer.decode_greedily(*logits), strict=True)
        got |= zip(ids, exported.decode_greedily(*own), strict=True)
        if progress:
            progress(len(ids))
    wer, wer_of_source = (error_rates.wer(score(split.cuts, texts, recognizer.normalizer)) for texts in (got, expected))
    same = sum(got[id] == text for id, text in expected.items())
    return {"utterances": len(got), "same_texts": same, "wer": wer, "wer_of_source": wer_of_source}


def _refuse_worse(exported: Exported, form: Form, planned: ExportPlan, most_wer_increase: float) -> None:
    differing = exported.utterances - exported.same_texts
    where = planned.split.path if planned.split else ""
    if form == "onnx" and differing:
        raise AsrLabError(
            f"{differing} of {exported.utterances} texts differ from the model's; nothing was exported", where=where
        )
    if (increase := exported.wer - exported.wer_of_source) > most_wer_increase:
        raise AsrLabError(
            f"in 8 bits the WER is {exported.wer:.1%}, {100 * increase:.2f} points above; nothing was exported",
            where=where,
            allowed=f"{100 * most_wer_increase:g} points; --max-wer-increase allows more, --to onnx loses nothing",
        )
