"""setuptools behind one check: asked for another Python than 3.11 or newer, pip would first download 600 MB, and then
tell of pandas."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "asr_lab needs Python 3.11 or newer, and this is Python {}.{} ({}).\n  try: python3.11 -m venv .venv".format(
            *sys.version_info[:2], sys.base_prefix
        )
    )

from setuptools.build_meta import *  # noqa: F403
