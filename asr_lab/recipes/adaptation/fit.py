"""Train adapters on cached encoder outputs, and score them on held-out utterances."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from lhotse import CutSet
from transformers import TrainerCallback

from asr_lab.config.schema import AdapterExperiment, AdapterTrain
from asr_lab.data import manifest
from asr_lab.data.splits import halves
from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics import error_rates
from asr_lab.models.adapter import MLPAdapter
from asr_lab.models.adapter.network import Distillation
from asr_lab.recipes.adaptation.plan import AdaptationPlan
from asr_lab.recipes.recognition.scoring import score
from asr_lab.training.callbacks import Curves, DropBrokenUpdates, Recording
from asr_lab.training.encoder_outputs import EncoderOutputs, encoder_output_loader
from asr_lab.training.trainer import AsrTrainer

_FEW = 20  # utterances below which both halves are scored
SCALES = (0.0, 0.125, 0.25, 0.5, 1.0)


def fit(planned: AdaptationPlan, outputs: EncoderOutputs, cuts: CutSet, run: Recorder | None = None) -> MLPAdapter:
    """Train a new adapter on the encoder outputs of `cuts`; its curve is recorded into `run`.

    A plain adapter is first distilled from the base. The scale of a residual adapter is chosen on held-out utterances.
    The weights of the last epoch are used.
    """
    adapter = _train(planned, outputs, cuts, run)
    if adapter.residual:
        configured = planned.config.adapter.strength
        scale = _best_scale(planned, outputs, cuts) if configured == "auto" else configured
        adapter.scale_output(scale)
        if run:
            run.metrics({"adapter/strength": scale})
    return adapter


def _train(planned: AdaptationPlan, outputs: EncoderOutputs, cuts: CutSet, run: Recorder | None = None) -> MLPAdapter:
    adapter, config = planned.adapter(), planned.config
    if not adapter.residual and config.train.imitate_epochs:
        loss = distil(adapter, config, outputs, cuts)
        if run:
            run.metrics({"train/imitation_loss": loss})
    labels = {cut.id: planned.recognizer.encode_text(manifest.text(cut)) for cut in cuts}
    callbacks = [Recording(Curves(run)), DropBrokenUpdates(Curves(run))] if run else []
    _trainer(adapter, config, config.train, outputs, labels, callbacks).train()
    return adapter.eval().to(planned.recognizer.model.device)


def _best_scale(planned: AdaptationPlan, outputs: EncoderOutputs, cuts: CutSet) -> float:
    """Return the scale with the fewest character errors on one half, of an adapter trained on the other half.

    With few utterances both halves are scored, each by the adapter of the other. Ties go to the lower scale.
    """
    recognizer, by = planned.recognizer, planned.config.data.cross_fit
    errors = dict.fromkeys(SCALES, 0)
    pair = halves(cuts, by if isinstance(by, str) else "", seed=planned.config.run.seed)
    if not all(map(len, pair)):
        return 1.0  # a single utterance: nothing can be held out
    for training_cuts, held_out in (pair, pair[::-1]) if len(cuts) < _FEW else (pair,):
        adapter = _train(planned, outputs, training_cuts)
        for scale, hypotheses in outputs.hypotheses_by_scale(recognizer, held_out, adapter, SCALES).items():
            table = score(held_out, hypotheses, recognizer.normalizer)
            errors[scale] += int(error_rates.character_errors(table).sum())
    return min(SCALES, key=lambda scale: (errors[scale], scale))


def distil(adapter: MLPAdapter, config: AdapterExperiment, outputs: EncoderOutputs, cuts: CutSet) -> float:
    """Distil the cached logits into the adapter; return the mean training loss."""
    settings = config.train.model_copy(update={"epochs": config.train.imitate_epochs})
    trainer = _trainer(Distillation(adapter), config, settings, outputs, {cut.id: [] for cut in cuts}, [])
    return float(trainer.train().training_loss)


def _trainer(
    model: MLPAdapter | Distillation,
    config: AdapterExperiment,
    settings: AdapterTrain,
    outputs: EncoderOutputs,
    labels: Mapping[str, list[int]],
    callbacks: list[TrainerCallback],
) -> AsrTrainer:
    return AsrTrainer(
        model,
        encoder_output_loader(outputs, labels, settings.batch_size, seed=config.run.seed),
        None,
        settings,
        folder=Path("checkpoints"),  # none are written: an adapter learns within seconds
        seed=config.run.seed,
        callbacks=callbacks,
        checkpoints=False,
    )


def measure(
    planned: AdaptationPlan, outputs: EncoderOutputs, adapter: MLPAdapter | None = None, run: Recorder | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score base and adapted recogniser on the same held-out utterances.

    With one fold, `adapter` is the one trained on it; with several, an adapter is trained for each.
    """
    recognizer, normalizer = planned.recognizer, planned.recognizer.normalizer
    adapted: dict[str, str] = {}
    for number, fold in enumerate(planned.folds):
        own = adapter if adapter and len(planned.folds) == 1 else fit(planned, outputs, fold.train)
        hypotheses = outputs.hypotheses(recognizer, fold.test, own)
        adapted |= hypotheses
        if run and len(planned.folds) > 1:
            run.metrics({"fold/wer": error_rates.wer(score(fold.test, hypotheses, normalizer))}, number)
    tested = CutSet.from_cuts(cut for fold in planned.folds for cut in fold.test)
    plain = outputs.hypotheses(recognizer, tested, None)
    return score(tested, plain, normalizer), score(tested, adapted, normalizer)
