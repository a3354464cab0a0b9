"""Import a raw state_dict, which others saved with `torch.save(model.state_dict(), …)`; no code in the file is run."""

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

NETWORK = "classic"  # the one network of ours that people publish the weights of
_HEAD = "layers.7"  # its last layer, which has a row for each class
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts put the weights
#: What torch's wrappers for several GPUs and for compiling put before each name.
_PREFIXES = ("module.", "_orig_mod.")


class StateDict(ImportKind):
    """Weights alone: of the classic network, or of one of torchvision's, which is recognised by its weights."""

    options: ClassVar = frozenset({"classes", "preprocess", "mean", "std", "network"})
    title = "a state_dict"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """See `ImportKind.read`."""
        weights = read(Path(source))
        name, found = _recognised(weights, options.network)
        if name == NETWORK:
            if options.preprocess is not None:
                raise UsageError(f"--preprocess does not go with the network {NETWORK}; give --mean and --std.")
            return _classic(weights, options)
        if name is None:
            raise CheckpointError(
                f"{source}: these are the weights of another network than {NETWORK} and torchvision's: "
                f"{_listed(weights)}. {found}Export the model to ONNX where it was made, and import that."
            )
        imported = torchvision_network.with_weights(name, weights, options)
        return imported if options.network else _noting(imported, found)


def read(path: Path) -> dict[str, "Tensor"]:
    """Read a raw state_dict without running any code that it may hold.

    Args:
        path: A file that `torch.save` wrote, or a safetensors file.

    Returns:
        The tensors, on the CPU, under the names they were saved with.

    Raises:
        CheckpointError: It is missing, no such file, or holds more than tensors.
    """
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(_is_tensor(value) for value in content.values()):
        raise CheckpointError(f"{path}: it holds no state_dict, a dictionary of tensors; save model.state_dict().")
    weights = {str(key): value for key, value in content.items()}
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _torch(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    import torch

    try:
        with warnings.catch_warnings():
            # It warns of pickle's version before it refuses what it warns of.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
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


def _safetensors(path: Path) -> dict[str, "Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(f"{path}: its weights can't be read ({exc}); copy it again.") from exc


def _recognised(weights: Mapping[str, "Tensor"], asked: str | None) -> tuple[str | None, str]:
    """Return the network that weights are of, or is asked for, and a sentence on it."""
    if asked is not None:
        return asked, ""
    if _matched(weights) is not None:
        return NETWORK, ""
    name, alike = fingerprints.recognise({key: tuple(value.shape) for key, value in weights.items()})
    if name is not None:
        return name, f"this looks like {name}"
    if alike:
        return None, f"Their names are those of {', '.join(alike)}, their shapes are not. "
    return None, ""


def _noting(imported: Imported, found: str) -> Imported:
    return replace(imported, findings=(found, *imported.findings))


def _classic(weights: Mapping[str, "Tensor"], options: ImportOptions) -> Imported:
    """Return the classic network with these weights.

    Raises:
        CheckpointError: They are of another network.
    """
    matched, made_for = _matched(weights), registry.load(NETWORK).preprocessing
    assert made_for is not None
    if matched is None:
        raise CheckpointError(f"These are the weights of another network than {NETWORK}: {_listed(weights)}.")
    given = {key: value for key, value in (("mean", options.mean), ("std", options.std)) if value is not None}
    arguments = registry.complete(NETWORK, given, made_for)
    rows = len(matched[f"{_HEAD}.weight"])
    digits = tuple(str(label) for label in range(rows))
    classes = digits if options.classes is None else class_names.named(options.classes, rows)
    network = registry.build(NETWORK, arguments, rows)
    network.load_state_dict({**network.state_dict(), **matched})
    return Imported(NETWORK, arguments, classes, made_for, network)


def _matched(weights: Mapping[str, "Tensor"]) -> dict[str, "Tensor"] | None:
    """Return the weights of an `nn.Sequential`, as float32, under the names of the classic network; None of another.

    They are matched by order and shape: the published numbers differ with the layers between that have no weights. The
    number of classes may differ.
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
    """Sort "10.weight" after "2.weight", and a layer's weight before its bias."""
    parts = re.split(r"(\d+)", key.replace(".weight", ".a").replace(".bias", ".b"))
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def _listed(weights: Mapping[str, "Tensor"]) -> str:
    """Return the first weights and the last, with their shapes."""
    texts = [f"{key[:60]} {list(value.shape)}" for key, value in weights.items()]
    return ", ".join(texts if len(texts) <= 4 else [*texts[:2], "…", *texts[-2:]]) + f" ({len(texts)} tensors)"


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
