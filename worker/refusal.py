"""How a worker that is set up wrongly ends: with a message, and without a traceback."""

import sys

from pigeonhole.errors import ExitCode


def refuse(exc: Exception) -> SystemExit:
    """Say on standard error what is wrong, and give what ends the process."""
    sys.stderr.write(f"pigeonhole worker: {exc}\n")
    sys.stderr.flush()
    return SystemExit(int(ExitCode.USAGE))
