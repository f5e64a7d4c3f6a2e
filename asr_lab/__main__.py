"""`python -m asr_lab`: the same as `asr-lab`, but surely of the folder one stands in."""

from asr_lab.system.console_log import listen
from asr_lab.system.stopping import Around, ending_quietly


def main() -> None:
    """The command line; Ctrl-C and the like end it from the first import on."""
    listen()
    with ending_quietly(_stopped):
        from asr_lab.cli import cli

        cli(prog_name="asr-lab")


def _stopped(error: BaseException, around: Around) -> None:
    from asr_lab.cli.stopped import report_stop

    report_stop(error, around)


if __name__ == "__main__":
    main()
