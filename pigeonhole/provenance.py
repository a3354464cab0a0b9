"""The origin of a model file: the time it was made, and the versions that made it."""

import platform
from datetime import UTC, datetime

from pigeonhole.version import VERSION


def versions() -> dict[str, str]:
    """Return the versions of this program, Python and torch, on which the result of a training depends."""
    import torch

    return {"pigeonhole": VERSION, "python": platform.python_version(), "torch": torch.__version__}


def now() -> str:
    """Return the current time in UTC, in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
