"""The networks by name, and functions to build one.

To add a network, write one class (`pigeonhole.models.networks.network.Network`) and register it here. Listing and
checking names needs no torch, because a class is imported when its network is built.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.registry import Registry

if TYPE_CHECKING:
    from pigeonhole.models.networks.network import Network

#: The preprocessing of MNIST's images, for a network that has no preprocessing of its own.
DIGIT = Preprocessing("digit", 28, 28, 1)

_HERE = "pigeonhole.models.networks"
NETWORKS: Registry["Network"] = Registry(
    {
        "classic": f"{_HERE}.classic:Classic",
        "digits": f"{_HERE}.digits:Digits",
        "digits-large": f"{_HERE}.digits:DigitsLarge",
        "digits-small": f"{_HERE}.digits:DigitsSmall",
        "residual": f"{_HERE}.residual:Residual",
        "residual-large": f"{_HERE}.residual:ResidualLarge",
        "residual-small": f"{_HERE}.residual:ResidualSmall",
    }
)


def load(name: str) -> "type[Network]":
    """Import and return a network's class: a registered one, or one of torchvision's classification networks.

    Raises:
        TrainingError: No network has that name, or it is not registered and torchvision is not installed.
    """
    if name in NETWORKS:
        return NETWORKS.load(name)
    from pigeonhole.models.networks import vision

    if not vision.has(name):
        raise TrainingError(
            f"Unknown network {name!r}; this version knows {', '.join(NETWORKS)}, and torchvision's "
            "classification networks (resnet18, mobilenet_v3_small, efficientnet_b0, …)."
        )
    return vision.named(name)


def build(name: str, arguments: Mapping[str, Any], classes: int) -> "Network":
    """Build a network with fresh weights, for training; `Network.fold` brings it into the form that is saved.

    Args:
        name: The network's name, as for `load`.
        arguments: The network's arguments by name; plain JSON values.
        classes: The number of logits that it returns, at least 2.

    Raises:
        TrainingError: The name is unknown, or the network doesn't take these arguments.
    """
    network: Callable[..., Network] = load(name)
    if classes < 2:
        raise TrainingError(f"A network needs at least 2 classes, not {classes}.")
    # Model files of version 0.2 have the argument `normalised`, for batch norm, which is always folded in a file.
    taken = {key: value for key, value in arguments.items() if key != "normalised"}
    try:
        return network(classes=classes, **taken)
    except (TypeError, ValueError, RuntimeError) as exc:
        raise TrainingError(f"The network {name!r} can't be built with {dict(arguments)!r}: {exc}") from exc


def complete(name: str, arguments: Mapping[str, Any], preprocessing: Preprocessing = DIGIT) -> dict[str, Any]:
    """Return all arguments of a network, with the defaults for new networks, to be recorded in a model file.

    Args:
        name: The network's name, as for `load`.
        arguments: The arguments that differ from the defaults.
        preprocessing: The preprocessing of the images; the defaults of some networks depend on it.

    Returns:
        The arguments for `build`; plain JSON values.

    Raises:
        TrainingError: The name is unknown, or the network can't take images of that size.
    """
    network = load(name)
    own = network.preprocessing
    if own and own.shape != preprocessing.shape:
        raise TrainingError(
            f"The network {name!r} takes images of {_words(own)}, not of {_words(preprocessing)}; "
            "--network residual takes any size."
        )
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(network).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    values = {**defaults, **network.fitting(preprocessing), **arguments}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _words(preprocessing: Preprocessing) -> str:
    return f"{preprocessing.width} x {preprocessing.height} in {'grey' if preprocessing.channels == 1 else 'colour'}"
