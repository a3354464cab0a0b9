"""The device and the commit that a training depends on, beside its configuration."""

import subprocess
from pathlib import Path

import torch

from pigeonhole.errors import TrainingError


def device(asked: str) -> str:
    """Return torch's name of the device for the option `--device`.

    Args:
        asked: "auto" (CUDA if there is a GPU), "cpu" or "cuda".

    Raises:
        TrainingError: The option is "cuda", and torch finds no GPU.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise TrainingError("The device 'cuda' can't be used: torch finds no GPU here. Use --device cpu or auto.")
    return asked


def commit() -> str | None:
    """Return the commit of the git checkout that this program runs from; None if it is installed elsewhere.

    A checkout with uncommitted changes has "-dirty" at the end.
    """
    top = Path(__file__).resolve().parent.parent
    if not (top / ".git").exists():  # an installed package may lie inside of another project's checkout
        return None
    command = ["git", "-C", str(top), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return None
    return found.stdout.strip() or None
