"""What a run depends on beside its order: the device and the commit."""

import subprocess
from pathlib import Path

import torch

from pigeonhole.errors import TrainingError


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


def commit() -> str | None:
    """Of the git checkout that this program runs from, with "-dirty" where that was changed; None where it is none."""
    top = Path(__file__).resolve().parent.parent
    if not (top / ".git").exists():  # an installed one may lie inside of somebody else's checkout
        return None
    command = ["git", "-C", str(top), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return None
    return found.stdout.strip() or None
