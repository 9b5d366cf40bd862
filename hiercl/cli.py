"""The command line: ``hiercl data | train | evaluate | atlas | study | demo | playground``.

This file is light, so that ``hiercl --help`` answers at once. The commands are in ``hiercl/commands.py``.
"""

import argparse
import sys
from importlib import metadata

INTERRUPTED = 130  # the exit status that shells expect after Ctrl-C
COMMANDS = {
    "data": "Prepare a data set and say what is in it.",
    "train": "Train a method; hiercl train METHOD --help lists its settings.",
    "evaluate": "Evaluate a trained run at every level of the hierarchy.",
    "atlas": "Write a page with the tree of a run beside the true one, for any browser.",
    "study": "Run a study, one of the package's or your own, and write its page.",
    "demo": "Run the quickstart notebook without a browser.",
    "playground": "Write a page on which points learn live, for any browser.",
}


def main(arguments: list[str] | None = None) -> None:
    """Runs a command. What a user got wrong is told in one line, not in a traceback.

    Args:
        arguments: the words after ``hiercl``; by default those of the process.

    Example:
        >>> main(["--help"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        SystemExit: 0
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        try:
            from hiercl.commands import run

            run(arguments)
        except KeyboardInterrupt as interrupt:
            print(f"hiercl: interrupted. {interrupt}".strip(), file=sys.stderr)
            sys.exit(INTERRUPTED)
        return
    parser = argparse.ArgumentParser(
        "hiercl",
        description="See, step through and change hierarchical contrastive learning.",
        epilog="hiercl COMMAND --help says what a command needs.",
    )
    parser.add_argument("--version", action="version", version=f"hiercl {metadata.version('hiercl')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text)
    parser.parse_args(arguments)


if __name__ == "__main__":
    main()
