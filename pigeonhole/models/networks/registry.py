"""The networks by name, and how one is built.

To add a network, write one class (`pigeonhole.models.networks.network.Network`) and register it here. Names and checks
of names need no torch: classes are imported when one is built.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.registry import Registry

if TYPE_CHECKING:
    from pigeonhole.models.networks.network import Network

#: What MNIST's images go through, for a network that has no preprocessing of its own.
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
        TrainingError: No network has that name, or torchvision would have to be asked and is not installed.
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
    """Build a network with fresh weights, as it is trained; `Network.fold` makes it what is saved and served.

    Args:
        name: As of `load`.
        arguments: Of that network, by name; plain JSON values.
        classes: How many logits it returns, at least 2.

    Raises:
        TrainingError: An unknown name, or arguments that this network doesn't take.
    """
    network: Callable[..., Network] = load(name)
    if classes < 2:
        raise TrainingError(f"A network tells at least 2 classes apart, not {classes}.")
    # Model files of version 0.2 record `normalised`: whether batch norm is still there, which it never is in a file.
    taken = {key: value for key, value in arguments.items() if key != "normalised"}
    try:
        return network(classes=classes, **taken)
    except (TypeError, ValueError, RuntimeError) as exc:
        raise TrainingError(f"The network {name!r} can't be built with {dict(arguments)!r}: {exc}") from exc


def complete(name: str, arguments: Mapping[str, Any], seen: Preprocessing = DIGIT) -> dict[str, Any]:
    """Return `arguments` with the network's defaults spelled out, for a model file that outlives them.

    Args:
        name: As of `load`.
        arguments: The ones that differ from the defaults.
        seen: The preprocessing of the images, which some networks fit themselves to.

    Returns:
        Plain JSON values, for `build`.

    Raises:
        TrainingError: An unknown name, or a network that takes no pictures of that size.
    """
    network = load(name)
    own = network.preprocessing
    if own and own.shape != seen.shape:
        raise TrainingError(
            f"The network {name!r} takes pictures of {_words(own)}, not of {_words(seen)}; "
            "--network residual takes any."
        )
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(network).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    values = {**defaults, **network.fitting(seen), **arguments}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _words(seen: Preprocessing) -> str:
    return f"{seen.width} x {seen.height} in {'grey' if seen.channels == 1 else 'colour'}"
