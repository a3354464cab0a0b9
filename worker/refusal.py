"""The end of a worker that is set up wrongly: a message, and no traceback."""

import sys

from pigeonhole.errors import ExitCode


def refuse(exc: Exception) -> SystemExit:
    """Print what is wrong on standard error, and return the exception that ends the process."""
    sys.stderr.write(f"pigeonhole worker: {exc}\n")
    sys.stderr.flush()
    return SystemExit(int(ExitCode.USAGE))
