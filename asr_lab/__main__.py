"""`python -m asr_lab`: the same as `asr-lab`, but surely of the folder one stands in."""

from asr_lab.cli import main

main()
