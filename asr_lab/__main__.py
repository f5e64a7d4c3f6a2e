"""`python -m asr_lab`: the same as `asr-lab`, but surely of the folder one stands in."""

import gc

from asr_lab.system.console_log import listen
from asr_lab.system.stopping import Around, ending_quietly

_FULL_COLLECTION = 100
"""Collections of younger objects until the oldest may be collected too. With Python's 10, looking through what the
libraries made when they were imported, again and again, takes a fifth of a short command."""


def main() -> None:
    """The command line; Ctrl-C and the like end it from the first import on."""
    gc.set_threshold(*gc.get_threshold()[:2], _FULL_COLLECTION)
    listen()
    with ending_quietly(_stopped):
        from asr_lab.cli import cli

        cli(prog_name="asr-lab")


def _stopped(error: BaseException, around: Around) -> None:
    from asr_lab.cli.stopped import report_stop

    report_stop(error, around)


if __name__ == "__main__":
    main()
