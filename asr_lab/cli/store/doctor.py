"""`asr-lab doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from asr_lab.cli.options import console, format_option

_STATES = {"ok": "[green]{}[/]", "warn": "[yellow]{}[/]", "fail": "[red]{}[/]"}


@click.command()
@format_option
@click.pass_context
def doctor(context: click.Context, style: str) -> None:
    """Check the installation, and suggest fixes: packages, tracking store and its schema, artifacts, disk, GPU, eSpeak.

    Exit code 1 when something does not work; a warning is not a failure.

    \b
    Examples:
      asr-lab doctor
      MLFLOW_TRACKING_URI=http://tracking:5000 asr-lab doctor --format json
    """
    from asr_lab.tracking.doctor import Check, examine

    checks: list[Check] = []
    out = console()
    for check in examine():
        checks.append(check)
        if style == "table":
            out.say(_STATES[check.state] + "  [bold]{}[/]  {}", f"{check.state:4}", f"{check.name:9}", check.found)
            if check.advice:
                out.print(f"                 -> {check.advice}", soft_wrap=True)
    if style != "table":
        import pandas as pd  # late: doctor must run where pandas does not load

        from asr_lab.cli import tables

        tables.show(pd.DataFrame([asdict(check) for check in checks]), style)
    if any(check.state == "fail" for check in checks):
        context.exit(1)
