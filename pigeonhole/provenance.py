"""Where a model file comes from: when it was made, and with which versions."""

import platform
from datetime import UTC, datetime

from pigeonhole.version import VERSION


def versions() -> dict[str, str]:
    """Return the versions of this program, Python and torch, which decide what a training comes to."""
    import torch

    return {"pigeonhole": VERSION, "python": platform.python_version(), "torch": torch.__version__}


def now() -> str:
    """Return the time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
