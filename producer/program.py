"""The entry point: `producer.cli`, and a Ctrl-C while even that is being imported."""

import sys


def main() -> None:
    """Run the program."""
    try:
        from producer.cli import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)  # ExitCode.INTERRUPTED, which may not be imported yet
