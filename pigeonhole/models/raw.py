"""Weights that others saved with `torch.save(model.state_dict(), …)` → the names that our networks use."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pigeonhole.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts put the weights


def read(path: Path) -> dict[str, "Tensor"]:
    """Read a raw state_dict without running any code that it may hold.

    Args:
        path: Of a file that `torch.save` wrote.

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
        raise CheckpointError(f"{path}: it is not a file that torch.save wrote ({_first_line(exc)}).") from exc
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(_is_tensor(value) for value in content.values()):
        raise CheckpointError(f"{path}: it holds no state_dict, a dictionary of tensors; save model.state_dict().")
    return {str(key): value for key, value in content.items()}


def match(weights: Mapping[str, "Tensor"], expected: Mapping[str, "Tensor"], free: str) -> dict[str, "Tensor"]:
    """Give the weights of an `nn.Sequential` the names of our network, by order and shape.

    Where layers without weights stand between (or a softmax at the end), the published numbers differ;
    order and shapes don't.

    Args:
        weights: As published: "0.weight", "0.bias", "2.weight", … with any prefix.
        expected: The learned parameters of our network, in the order of its layers.
        free: The name of the parameter whose first extent, the number of classes, may differ; and its bias's.

    Returns:
        float32, under our names.

    Raises:
        CheckpointError: They are of another network.
    """
    ordered = sorted(weights, key=_natural)
    ours = sorted(expected, key=_natural)
    layer = free.rpartition(".")[0]
    shapes = [tuple(weights[key].shape) for key in ordered]
    wanted = [tuple(expected[key].shape) for key in ours]
    fits = len(shapes) == len(wanted) and all(
        shape[1:] == other[1:] and len(shape) == len(other) if key.startswith(layer + ".") else shape == other
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


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).strip().splitlines()[0]
