"""torchvision's classification networks, by torchvision's names; it is imported only for one of them."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks.network import Network
from pigeonhole.version import install_hint

SIDE = 224  # pixels: of what most of them were made for
LIBRARY = "torchvision"  # an argument of each of them: a model file says whose network it is


class Vision(Network):
    """One of torchvision's networks, fed with bytes; `named` returns the class of each.

    Batch normalisation stays: where it stands differs from network to network, and with torchvision's versions.

    Args:
        classes: How many logits.
        library: Whose it is, for readers of a model file.
        mean: As of `Network`; one for each channel of the pictures, or three.
        std: As of `Network`, likewise.
        options: torchvision's arguments of the network.
    """

    name: ClassVar[str]
    folds = False

    def __init__(
        self,
        classes: int,
        library: str = LIBRARY,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(mean, std)
        if library != LIBRARY:
            raise ValueError(f"library is {library!r}, and only {LIBRARY!r} is known")
        from torchvision.models import get_model

        self.network = get_model(self.name, weights=None, num_classes=classes, **(options or {}))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, C] → float32 logits [N, classes]; grey is taken for red, green and blue."""
        scaled = self.pixels(pixels)  # [N, 1 or 3, H, W]
        logits: Tensor = self.network(scaled.expand(-1, 3, -1, -1))
        return logits

    @classmethod
    def fitting(cls, seen: Preprocessing) -> dict[str, Any]:
        """Return the arguments of a network for images of this preprocessing."""
        options: dict[str, Any] = {}
        if cls.name.startswith("vit_"):
            options["image_size"] = seen.height
        if cls.name in ("googlenet", "inception_v3"):
            options.update(aux_logits=False, init_weights=True)  # outputs beside the logits, in training
        return {"library": LIBRARY, "mean": [0.5] * seen.channels, "std": [0.25] * seen.channels, "options": options}


def named(name: str) -> type[Vision]:
    """Return the class of torchvision's network `name`."""
    return type("Vision", (Vision,), {"name": name})


def has(name: str) -> bool:
    """Return whether torchvision has a classification network of that name.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        from torchvision import models
    except ImportError as exc:
        raise TrainingError(
            f"The network {name!r} is none of ours, and torchvision, which may have it, is not installed: "
            f"run {install_hint('training')}."
        ) from exc
    return name in models.list_models(module=models)


def normalisation(name: str) -> dict[str, Any]:
    """Return the `mean` and `std` that torchvision's weights of a network were trained with, in units of 255."""
    from torchvision.models import get_model_weights

    seen = get_model_weights(name).DEFAULT.transforms()
    return {"mean": list(seen.mean), "std": list(seen.std)}


def pretrained(name: str, remedy: str = "leave --pretrained out") -> Mapping[str, Tensor]:
    """Return torchvision's weights of a network.

    Args:
        name: The network's.
        remedy: What to do if they can't be had, for the message.

    Raises:
        TrainingError: They are neither in torch's cache nor can they be downloaded, or are damaged.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        found: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise TrainingError(
            f"torchvision's weights for {name!r} can't be had ({reason}). They are looked for at {file}, and then "
            f"downloaded from {weights.url}: put that file there, or {remedy}."
        ) from exc
    return found


def transfer(weights: Mapping[str, Tensor], network: torch.nn.Module) -> None:
    """Copy torchvision's weights into a `Vision` of the same name, except the head's, which are of other classes."""
    ours = network.state_dict()
    theirs = {f"network.{key}": value for key, value in weights.items()}
    fitting = {key: value for key, value in theirs.items() if key in ours and ours[key].shape == value.shape}
    network.load_state_dict({**ours, **fitting})
