"""HTML from `templates/`; values are escaped unless they are `Markup`."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """Render `templates/TEMPLATE.html` with `values`; an undefined value is an error."""
    return _environment().get_template(f"{template}.html").render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("asr_lab.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment
