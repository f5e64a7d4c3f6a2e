"""`asr-lab arms`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, keys_help
from asr_lab.cli.jobs import Jobs, trainings_options
from asr_lab.cli.options import console, format_option
from asr_lab.cli.tables import show
from asr_lab.cli.training.experiments import run, show_outcome
from asr_lab.cli.training.training_options import loaded, recording, training_options
from asr_lab.config.schema.arms import UNTOUCHED
from asr_lab.reports.table import Table
from asr_lab.units import hms

if TYPE_CHECKING:
    import pandas as pd

    from asr_lab.config.schema import ArmsExperiment
    from asr_lab.recipes.comparison.train import ComparedMethods


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("arms"))
@training_options
@trainings_options
@format_option
def arms(
    config: Path | None, keys: tuple[str, ...], data: str | None, texts: tuple[str, ...], dry_run: bool, new_run: bool,
    offline: bool, style: str, jobs: Jobs,
    part: str | None,
) -> None:  # fmt: skip
    """Compare fine-tuning methods on one base model: accuracy, speed, memory, parameters; as a table and a figure. WER
    has intervals and paired differences to the first method; speed is relative to the first method.

    \b
    Examples:
      asr-lab arms experiments/arms/xlsr.yaml data.train=... data.val=... data.test=...
      asr-lab arms experiments/arms/tiny.yaml --dry-run
      asr-lab arms experiments/arms/tiny.yaml arms.r16.model.lora.alpha=16 train.epochs=3
      asr-lab arms experiments/arms/tiny.yaml --format markdown
      asr-lab arms experiments/arms/xlsr.yaml --engine slurm --jobs 4 --resources=gpus=1

    Methods that are already trained (same configuration, same data) are reused; --new-run trains all of them. The same
    command resumes an interrupted comparison. With --jobs, each method is trained by a job of its own, then all are
    measured by one.
    """
    experiment = cast("ArmsExperiment", loaded(config, config_keys(texts, keys), "arms", command="arms", data=data))
    if part:
        _train_variant(experiment, part, new_run=new_run, offline=offline)
        return
    if jobs.engine and not dry_run:
        jobs.run_command([name for name, own in experiment.arms.items() if own != UNTOUCHED])
        return
    done = run(experiment, dry_run=dry_run, new_run=new_run, offline=offline, stderr=style != "table")
    if done is None:
        return
    table = cast("ComparedMethods", done).table
    show(_formatted(table) if style in ("table", "markdown", "latex") else Table(frame=table), style)
    show_outcome(done, console(stderr=style != "table"))


def _train_variant(experiment: ArmsExperiment, name: str, *, new_run: bool, offline: bool) -> None:
    """Train one method, for a comparison whose methods are trained by jobs of their own."""
    from asr_lab.recipes.comparison.train import train_variant
    from asr_lab.recipes.own_data import with_own_splits
    from asr_lab.tracking.models.model_store import MlflowStore

    tracker, out, first = recording(console(), new_run=new_run, offline=offline)
    done = train_variant(name, with_own_splits(experiment)[0], tracker, out, store=MlflowStore())
    show_outcome(done if first else None, out)


def _formatted(rows: pd.DataFrame) -> Table:
    """Return the table with each interval in one cell, and readable headings."""
    import pandas as pd

    def between(row: Any, name: str, sign: str = "") -> str:
        low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
        return "-" if pd.isna(low) else f"{low:{sign}.1%} to {high:{sign}.1%}"

    def cells(row: Any) -> dict[str, Any]:
        return {
            "method": row.arm,
            "trained": f"{row.trainable_params:,}",
            "added": f"{row.added_params:,}",
            "test/wer": row.wer,
            "95 % interval": between(row, "wer"),
            "difference": row.difference,
            "its interval": between(row, "difference", "+"),
            "p": row.p,
            "test/cer": row.cer,
            "speed (rounds)": _speed(row),
            "merged": "-" if pd.isna(row.merged_speed_share) else f"{row.merged_speed_share:.0%}",
            "memory MB": row.memory_mb,
            "training MB": row.training_memory_mb,
            "training": "-" if pd.isna(row.training_s) else hms(row.training_s),
            "size MB": row.size_mb,
            "run": row.run or "-",
        }

    numeric = rows.astype({"difference": float, "p": float, "training_memory_mb": float, "size_mb": float})
    frame = pd.DataFrame([cells(row) for row in numeric.itertuples()])
    return Table(frame=frame, formats={"difference": "change", "p": "p"})


def _speed(row: Any) -> str:
    """Format the median share with its slowest and fastest round, which show how busy the machine was."""
    low, high = row.speed_share_low, row.speed_share_high
    return f"{row.speed_share:.0%}" + (f" ({low:.0%} to {high:.0%})" if low < high else "")
