"""`asr-lab data snr`."""

from __future__ import annotations

import math
from pathlib import Path

import click

from asr_lab.cli.data.manifest_output import check_overwrite, overwrite_option, print_summary, progress_bar
from asr_lab.cli.options import echo
from asr_lab.cli.tables import show
from asr_lab.errors import listing
from asr_lab.reports.table import Table

_MOST_NAMED = 3
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("manifest_path", metavar="MANIFEST", type=_PATH)
@click.option("--out", type=_PATH, help="Manifest to write.  [MANIFEST itself]")
@click.option(
    "--method",
    type=click.Choice(["floor", "wada"]),
    default="floor",
    show_default=True,
    help="floor: minimum statistics per band; wada: WADA-SNR (Kim & Stern 2008).",
)
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Number of processes.  [one per core]")
@overwrite_option
def snr(manifest_path: Path, out: Path | None, method: str, workers: int, overwrite: bool) -> None:
    """Estimate the SNR (dB) of the utterances of MANIFEST without one, and write it into the manifest.

    Given SNRs do not change. Estimates are marked (snr_by) and do not change the manifest's digest. Unreadable
    recordings are reported and get none. The same command resumes an interrupted one.

    \b
    Examples:
      asr-lab data snr corpora/children/train.jsonl.gz
      asr-lab data snr corpora/children/all.jsonl.gz --out corpora/children/measured.jsonl.gz --workers 16
    """
    from asr_lab.data.audio_measures import Measurements
    from asr_lab.data.levels import estimate_snrs
    from asr_lab.data.relocation import write_with
    from asr_lab.data.snr import METHODS
    from asr_lab.data.stats import by_bin
    from asr_lab.data.table_utterances import Utterances

    cuts = Utterances.read(manifest_path)
    target = out or manifest_path
    if out and out.resolve() != manifest_path.resolve():
        check_overwrite([out], overwrite)
    measurements = Measurements(cuts, f"snr-{method}")
    with measurements.alone():
        with progress_bar("measuring") as progress:
            chosen = next(name for name in METHODS if name == method)
            levels = estimate_snrs(cuts, measurements, method=chosen, workers=workers, progress=progress)
        write_with(cuts, lambda row: _fields(float(levels.snr_db[row]), method), target)
        measurements.remove()
    written, faults = Utterances.read(target), levels.faults
    echo(
        f"{levels.num_lacking} of {len(cuts)} utterances had no snr_db: {levels.num_lacking - len(faults)} estimated "
        f"by {method}"
    )
    if faults:
        echo(
            f"  warning: {len(faults)} cannot be read and have none: {listing(faults, _MOST_NAMED)}; "
            f"asr-lab data check {target} lists them all",
            err=True,
        )
    show(Table(frame=by_bin(written, "snr_db"), formats={"share": "percent"}), "table")
    print_summary(written, target)


def _fields(snr_db: float, method: str) -> dict[str, float | str]:
    return {} if math.isnan(snr_db) else {"snr_db": snr_db, "snr_by": method}
