"""Check the names of model files that commands write, and of the models in them."""

import re
from pathlib import Path

from pigeonhole.errors import CheckpointError
from pigeonhole.filesystem.files import shown
from pigeonhole.models.checkpoint import SUFFIX
from pigeonhole.models.record import LONGEST_NAME, check_name

#: Endings of model files. In advice, the right ending replaces one of these, and is appended to any other name.
_OTHERS = {SUFFIX, ".bin", ".ckpt", ".h5", ".onnx", ".pb", ".pkl", ".pt", ".pth", ".tflite"}


def check_output(output: Path, suffix: str = SUFFIX) -> None:
    """Raise CheckpointError if the name of an output does not have the ending of its format.

    Args:
        output: The path to write a model to.
        suffix: The ending of the format.
    """
    if output.suffix.lower() == suffix:
        return
    stem = output.stem if output.suffix.lower() in _OTHERS else output.name
    wanted = shown(output.with_name(f"{stem}{suffix}"))
    raise CheckpointError(f"{shown(output)!r} does not end in {suffix}, the format that is written; give -o {wanted}.")


def model_name(name: str, output: Path) -> str:
    """Return the name of a model to write: `name`, or if it is empty, the output's name without its ending.

    Args:
        name: The name that the user gave, or an empty text.
        output: The path to write the model to.

    Raises:
        CheckpointError: The name is not allowed for a model.
    """
    if name:
        return check_name(name)
    try:
        return check_name(output.stem)
    except CheckpointError as exc:
        near = re.sub(r"[^a-z0-9._-]+", "-", output.stem.lower()).strip("-")[:LONGEST_NAME] or "mine"
        raise CheckpointError(f"{exc} Give another -o, or --name {near}.") from exc
