"""Train adapters on cached encoder outputs, and score them on held-out utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from lhotse import CutSet
from transformers import TrainerCallback, set_seed

from asr_lab.config.schema import Adapter, AdapterExperiment, AdapterTrain
from asr_lab.data import manifest
from asr_lab.data.splits import halves
from asr_lab.interfaces.tracking import Recorder
from asr_lab.metrics import error_rates
from asr_lab.models.adapter import MLPAdapter
from asr_lab.models.adapter.network import Distillation
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.recognition.scoring import score
from asr_lab.system.terminal import Console
from asr_lab.training.callbacks import Curves, DropBrokenUpdates, Recording
from asr_lab.training.encoder_outputs import EncoderOutputs, encoder_output_loader
from asr_lab.training.trainer import AsrTrainer

_FEW = 20  # utterances below which both halves are scored
SCALES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Fold:
    """Training and test utterances."""

    train: CutSet
    test: CutSet


@dataclass(frozen=True)
class AdapterTrainer:
    """Trains adapters of one base on its encoder outputs, as the experiment says, and scores them."""

    recognizer: DeepSpeech2Recognizer
    outputs: EncoderOutputs
    config: AdapterExperiment

    def fit(self, cuts: CutSet, run: Recorder | None = None) -> MLPAdapter:
        """Train a new adapter on the encoder outputs of `cuts`; its curve is recorded into `run`.

        A plain adapter is first distilled from the base. The scale of a residual adapter is chosen on held-out
        utterances. The weights of the last epoch are used.
        """
        adapter = self._train(cuts, run)
        if adapter.residual:
            configured = self.config.adapter.strength
            scale = self._best_scale(cuts) if configured == "auto" else configured
            adapter.scale_output(scale)
            if run:
                run.metrics({"adapter/strength": scale})
        return adapter

    def measure(
        self, folds: Sequence[Fold], adapter: MLPAdapter | None = None, run: Recorder | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Score base and adapted recogniser on the same held-out utterances.

        With one fold, `adapter` is the one trained on it; with several, an adapter is trained for each.
        """
        hypotheses: dict[str, str] = {}
        for number, fold in enumerate(folds):
            own = adapter if adapter and len(folds) == 1 else self.fit(fold.train)
            of_fold = self.outputs.hypotheses(self.recognizer, fold.test, own)
            hypotheses |= of_fold
            if run and len(folds) > 1:
                run.metrics({"fold/wer": error_rates.wer(self._score(fold.test, of_fold))}, number)
        tested = CutSet.from_cuts(cut for fold in folds for cut in fold.test)
        base = self.outputs.hypotheses(self.recognizer, tested, None)
        return self._score(tested, base), self._score(tested, hypotheses)

    def _score(self, cuts: CutSet, hypotheses: Mapping[str, str]) -> pd.DataFrame:
        return score(cuts, hypotheses, self.recognizer.normalizer)

    def _train(self, cuts: CutSet, run: Recorder | None = None) -> MLPAdapter:
        train, seed = self.config.train, self.config.run.seed
        adapter = new_adapter(self.recognizer, self.config.adapter, seed)
        if not adapter.residual and train.imitate_epochs:
            loss = distil(adapter, train, self.outputs, cuts, seed)
            if run:
                run.metrics({"train/imitation_loss": loss})
        labels = {cut.id: self.recognizer.encode_text(manifest.text(cut)) for cut in cuts}
        callbacks = [Recording(Curves(run)), DropBrokenUpdates(Curves(run))] if run else []
        _trainer(adapter, train, self.outputs, labels, seed, callbacks).train()
        return adapter.eval().to(self.recognizer.model.device)

    def _best_scale(self, cuts: CutSet) -> float:
        """Return the scale chosen by the character errors on one half, of an adapter trained on the other half.

        With few utterances both halves are scored, each by the adapter of the other.
        """
        by = self.config.data.cross_fit
        pair = halves(cuts, by if isinstance(by, str) else "", seed=self.config.run.seed)
        if not all(map(len, pair)):
            return 1.0  # a single utterance: nothing can be held out
        scored = []
        for training_cuts, held_out in (pair, pair[::-1]) if len(cuts) < _FEW else (pair,):
            adapter = self._train(training_cuts)
            by_scale = self.outputs.hypotheses_by_scale(self.recognizer, held_out, adapter, SCALES)
            scores = {scale: self._score(held_out, hypotheses) for scale, hypotheses in by_scale.items()}
            scored.append(pd.DataFrame({scale: error_rates.character_errors(table) for scale, table in scores.items()}))
        return choose_scale(pd.concat(scored))


def choose_scale(errors: pd.DataFrame) -> float:
    """Return the largest scale whose errors exceed the fewest by no more than a standard error.

    `errors`: of held-out utterances (rows) at ascending scales (columns), the first of which is 0, the base. They are
    of an adapter trained on half of the data, whose best scale is rather too small for one trained on all; hence the
    one-standard-error rule (Breiman et al. 1984, section 3.4.3), here towards 1. Where nothing makes fewer errors
    than the base, the scale is 0.
    """
    total = errors.sum()
    fewest = total.idxmin()  # of equal ones the lowest
    difference = errors.sub(errors[fewest], axis="index")
    standard_error = difference.std(ddof=0) * len(errors) ** 0.5
    eligible = (difference.sum() <= standard_error) & (total < total[0.0])
    return float(max(total.index[eligible], default=0.0))


def encode(
    recognizer: DeepSpeech2Recognizer, cuts: CutSet, config: AdapterExperiment, console: Console, folder: Path
) -> EncoderOutputs:
    """Encode every utterance of a speaker once; `folder` is for outputs that do not fit into memory."""
    where, num_workers = config.adapter.frames, config.train.num_workers
    return EncoderOutputs.of(recognizer, cuts, console, where=where, folder=folder, num_workers=num_workers)


def new_adapter(recognizer: DeepSpeech2Recognizer, settings: Adapter, seed: int) -> MLPAdapter:
    """Return an untrained adapter of the recogniser, its weights drawn from `seed`."""
    set_seed(seed)
    base = recognizer.model.config
    return MLPAdapter(
        base.rnn_output_size,
        settings.hidden_dims,
        base.vocab_size,
        dropout=settings.dropout,
        blank=recognizer.blank,
        residual=settings.form == "residual",
    )


def distil(adapter: MLPAdapter, train: AdapterTrain, outputs: EncoderOutputs, cuts: CutSet, seed: int) -> float:
    """Distil the cached logits into the adapter; return the mean training loss."""
    settings = train.model_copy(update={"epochs": train.imitate_epochs})
    trainer = _trainer(Distillation(adapter), settings, outputs, {cut.id: [] for cut in cuts}, seed, [])
    return float(trainer.train().training_loss)


def _trainer(
    model: MLPAdapter | Distillation,
    settings: AdapterTrain,
    outputs: EncoderOutputs,
    labels: Mapping[str, list[int]],
    seed: int,
    callbacks: list[TrainerCallback],
) -> AsrTrainer:
    return AsrTrainer(
        model,
        encoder_output_loader(outputs, labels, settings.batch_size, seed=seed),
        None,
        settings,
        folder=Path("checkpoints"),  # none are written: an adapter learns within seconds
        seed=seed,
        callbacks=callbacks,
        checkpoints=False,
    )
