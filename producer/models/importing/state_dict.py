"""Imports a state_dict that `torch.save(model.state_dict(), …)` wrote; code in the file is never run."""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pigeonhole.errors import CheckpointError, UsageError
from pigeonhole.models.networks import registry
from producer.models.importing import class_names, fingerprints, torchvision_network
from producer.models.importing.kind import Imported, ImportKind, ImportOptions

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "classic"  # the only network of ours with weights that others publish
_HEAD = "layers.7"  # its last layer, which has a row for each class
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts save weights
#: Prefixes that torch's wrappers for several GPUs and for compiling add to each name.
_PREFIXES = ("module.", "_orig_mod.")


class StateDict(ImportKind):
    """Weights of the classic network, or of a network of torchvision's that is recognised by its weights."""

    options: ClassVar = frozenset({"classes", "preprocess", "mean", "std", "network"})
    title = "a state_dict"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read the model; see `ImportKind.read`."""
        weights = read(Path(source))
        name, found = _recognised(weights, options.network)
        if name == NETWORK:
            if options.preprocess is not None:
                raise UsageError(f"--preprocess does not go with the network {NETWORK}; give --mean and --std.")
            return _classic(weights, options)
        if name is None:
            raise CheckpointError(
                f"{source}: these are weights of a network that is neither {NETWORK} nor one of torchvision's: "
                f"{_listed(weights)}. {found}Export the model to ONNX where it was made, and import that."
            )
        imported = torchvision_network.with_weights(name, weights, options)
        return imported if options.network else _noting(imported, found)


def read(path: Path) -> dict[str, "Tensor"]:
    """Read a state_dict without running code in it.

    Args:
        path: A file that `torch.save` wrote, or a safetensors file.

    Returns:
        Name → tensor on the CPU.

    Raises:
        CheckpointError: The file is missing, has another format, or holds more than tensors.
    """
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(_is_tensor(value) for value in content.values()):
        raise CheckpointError(f"{path}: it is not a state_dict, a dictionary of tensors; save model.state_dict().")
    weights = {str(key): value for key, value in content.items()}
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _torch(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    import torch

    try:
        with warnings.catch_warnings():
            # torch warns of pickle's version before it refuses the file.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise CheckpointError(f"{path}: there is no such file; check the path.") from exc
    except pickle.UnpicklingError as exc:
        raise CheckpointError(
            f"{path}: it holds more than weights, so loading it could run code; save only the weights, with "
            "torch.save(model.state_dict(), …)."
        ) from exc
    except Exception as exc:
        # torch's readers raise errors of any kind on a file of another format.
        reason = (str(exc) or type(exc).__name__).strip().splitlines()[0]
        raise CheckpointError(f"{path}: it was not written by torch.save ({reason}).") from exc


def _safetensors(path: Path) -> dict[str, "Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(f"{path}: its weights can't be read ({exc}); copy it again.") from exc


def _recognised(weights: Mapping[str, "Tensor"], asked: str | None) -> tuple[str | None, str]:
    """Return the network of the options or else that of the weights, with a sentence about it."""
    if asked is not None:
        return asked, ""
    if _matched(weights) is not None:
        return NETWORK, ""
    name, alike = fingerprints.recognise({key: tuple(value.shape) for key, value in weights.items()})
    if name is not None:
        return name, f"this looks like {name}"
    if alike:
        return None, f"Their names are those of {', '.join(alike)}, but their shapes differ. "
    return None, ""


def _noting(imported: Imported, found: str) -> Imported:
    return replace(imported, findings=(found, *imported.findings))


def _classic(weights: Mapping[str, "Tensor"], options: ImportOptions) -> Imported:
    """Return the classic network with these weights.

    Raises:
        CheckpointError: The weights belong to another network.
    """
    matched, made_for = _matched(weights), registry.load(NETWORK).preprocessing
    assert made_for is not None
    if matched is None:
        raise CheckpointError(f"These are not the weights of {NETWORK}: {_listed(weights)}.")
    given = {key: value for key, value in (("mean", options.mean), ("std", options.std)) if value is not None}
    arguments = registry.complete(NETWORK, given, made_for)
    rows = len(matched[f"{_HEAD}.weight"])
    digits = tuple(str(label) for label in range(rows))
    classes = digits if options.classes is None else class_names.named(options.classes, rows)
    network = registry.build(NETWORK, arguments, rows)
    network.load_state_dict({**network.state_dict(), **matched})
    return Imported(NETWORK, arguments, classes, made_for, network)


def _matched(weights: Mapping[str, "Tensor"]) -> dict[str, "Tensor"] | None:
    """Return the weights of an `nn.Sequential` as float32, with the names of the classic network; None if they differ.

    They are matched by order and shape, because their numbers depend on layers without weights. The number of classes
    may differ.
    """
    expected = dict(registry.build(NETWORK, {}, 10).named_parameters())
    ordered, ours = sorted(weights, key=_natural), sorted(expected, key=_natural)
    if len(ordered) != len(ours):
        return None
    for theirs, key in zip(ordered, ours, strict=True):
        shape, other = tuple(weights[theirs].shape), tuple(expected[key].shape)
        free = 1 if key.startswith(f"{_HEAD}.") else 0
        if len(shape) != len(other) or shape[free:] != other[free:]:
            return None
    return {key: weights[theirs].float() for key, theirs in zip(ours, ordered, strict=True)}


def _natural(key: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts "10.weight" after "2.weight", and a layer's weight before its bias."""
    parts = re.split(r"(\d+)", key.replace(".weight", ".a").replace(".bias", ".b"))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def _listed(weights: Mapping[str, "Tensor"]) -> str:
    """Return the first and the last weights with their shapes, as text."""
    texts = [f"{key[:60]} {list(value.shape)}" for key, value in weights.items()]
    return ", ".join(texts if len(texts) <= 4 else [*texts[:2], "…", *texts[-2:]]) + f" ({len(texts)} tensors)"


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
