"""Import a raw state_dict, which others saved with `torch.save(model.state_dict(), …)`, as a model file."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pigeonhole import provenance
from pigeonhole.errors import CheckpointError
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.networks import registry
from pigeonhole.replacing import check_own

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "classic"  # the one network that people publish the weights of
_HEAD = "layers.7"  # its last layer, which has a row for each class
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts put the weights


def import_weights(
    source: Path, output: Path, name: str, mean: float, std: float, overwrite: bool = False
) -> Checkpoint:
    """Write a model file with the weights of a raw state_dict.

    Args:
        source: A file that `torch.save(model.state_dict(), …)` wrote.
        output: The model file.
        name: The model's name.
        mean: Subtracted from the pixels when it was trained, in units of 255.
        std: Divided the pixels then, likewise.
        overwrite: Replace the output even if it is not an earlier import of this file.

    Returns:
        The record as written. It is not calibrated: temperature 1, nothing marked for review.

    Raises:
        CheckpointError: The file holds something else.
        TrainingError: The output can't be written.
        UsageError: The output is something else.
    """
    checkpoint.check_name(name)
    check_own(output, lambda file: _is_import(file, source.name), overwrite)
    weights, made_for = read(source), registry.load(NETWORK).preprocessing
    assert made_for is not None
    arguments = registry.complete(NETWORK, {"mean": mean, "std": std}, made_for)
    expected = dict(registry.build(NETWORK, arguments, 10).named_parameters())
    matched = _match(weights, expected)
    classes = tuple(str(label) for label in range(len(matched[f"{_HEAD}.weight"])))
    network = registry.build(NETWORK, arguments, len(classes))
    network.load_state_dict({**network.state_dict(), **matched})
    origin = {"imported": source.name, "versions": provenance.versions(), "finished": provenance.now()}
    record = Checkpoint(name, NETWORK, arguments, classes, made_for, Calibration(), trained=origin)
    return checkpoint.save(output, network, record)


def _is_import(file: Path, source: str) -> bool:
    """Return whether a file is a model file that was imported from a file of that name."""
    try:
        return checkpoint.describe(file).trained.get("imported") == source
    except CheckpointError:
        return False


def read(path: Path) -> dict[str, "Tensor"]:
    """Read a raw state_dict without running any code that it may hold.

    Args:
        path: A file that `torch.save` wrote.

    Returns:
        The tensors, on the CPU, under the names they were saved with.

    Raises:
        CheckpointError: It is missing, no such file, or holds more than tensors.
    """
    import torch

    try:
        with warnings.catch_warnings():
            # It warns of pickle's version before it refuses what it warns of.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise CheckpointError(f"{path}: there is no such file; check the path.") from exc
    except pickle.UnpicklingError as exc:
        raise CheckpointError(
            f"{path}: it holds more than weights, and loading that could run code; save the weights alone, "
            "with torch.save(model.state_dict(), …)."
        ) from exc
    except Exception as exc:
        # Its readers of old and new formats raise just about anything on a file that is neither.
        reason = (str(exc) or type(exc).__name__).strip().splitlines()[0]
        raise CheckpointError(f"{path}: it is not a file that torch.save wrote ({reason}).") from exc
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(_is_tensor(value) for value in content.values()):
        raise CheckpointError(f"{path}: it holds no state_dict, a dictionary of tensors; save model.state_dict().")
    return {str(key): value for key, value in content.items()}


def _match(weights: Mapping[str, "Tensor"], expected: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return the weights of an `nn.Sequential`, as float32, under the names of our network.

    They are matched by order and shape: the published numbers differ with the layers between that have no weights. The
    number of classes may differ.

    Raises:
        CheckpointError: They are of another network.
    """
    ordered, ours = sorted(weights, key=_natural), sorted(expected, key=_natural)
    shapes = [tuple(weights[key].shape) for key in ordered]
    wanted = [tuple(expected[key].shape) for key in ours]
    fits = len(shapes) == len(wanted) and all(
        shape[1:] == other[1:] and len(shape) == len(other) if key.startswith(f"{_HEAD}.") else shape == other
        for key, shape, other in zip(ours, shapes, wanted, strict=True)
    )
    if not fits:
        raise CheckpointError(
            f"These are the weights of another network: {_listed(ordered, shapes)}; expected {_listed(ours, wanted)}."
        )
    return {key: weights[theirs].float() for key, theirs in zip(ours, ordered, strict=True)}


def _natural(key: str) -> list[tuple[int, int | str]]:
    """Sort "10.weight" after "2.weight", and a layer's weight before its bias."""
    parts = re.split(r"(\d+)", key.replace(".weight", ".a").replace(".bias", ".b"))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def _listed(keys: list[str], shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {list(shape)}" for key, shape in zip(keys, shapes, strict=True))


def _is_tensor(value: Any) -> bool:  # noqa: ANN401 - whatever the file holds
    import torch

    return isinstance(value, torch.Tensor)
