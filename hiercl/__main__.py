"""``python -m hiercl``: the command line, also for torchrun and accelerate launch."""

from hiercl.cli import main

main()
