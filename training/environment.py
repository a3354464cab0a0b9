"""What a run depends on beside its order: the device, the versions, the time."""

import platform
from datetime import UTC, datetime
from importlib import metadata

import torch

from training.errors import TrainingError


def device(asked: str) -> str:
    """What torch calls the device that was asked for.

    Args:
        asked: "auto" (CUDA where there is any), "cpu" or "cuda".

    Raises:
        TrainingError: CUDA is asked for and there is none.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise TrainingError("The device 'cuda' can't be used: torch finds none here; use --device cpu or auto.")
    return asked


def versions() -> dict[str, str]:
    """Of this program and of what decides its results."""
    return {
        "pigeonhole": metadata.version("pigeonhole"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
