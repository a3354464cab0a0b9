"""Ends a worker with wrong settings: a message, and no traceback."""

import sys

from pigeonhole.errors import ExitCode


def refuse(exc: Exception) -> SystemExit:
    """Print an error on standard error, and return the exception that ends the process."""
    sys.stderr.write(f"pigeonhole worker: {exc}\n")
    sys.stderr.flush()
    return SystemExit(int(ExitCode.USAGE))
