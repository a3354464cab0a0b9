"""torchvision's classification networks, by torchvision's names. torchvision is imported only for one of these."""

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

SIDE = 224  # pixels, the size that most of these networks were made for
LIBRARY = "torchvision"  # an argument of each of these networks, so that a model file names the library


class Vision(Network):
    """One of torchvision's networks, with bytes as input. `named` returns the class for a name.

    Batch normalisation is not folded, because its position differs between networks and between torchvision's versions.

    Args:
        classes: The number of logits.
        library: Always "torchvision", so that a model file names the library.
        mean: As for `Network`: one number for each channel of the images, or three.
        std: As for `Network`: one number for each channel of the images, or three.
        options: torchvision's own arguments of the network.
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
            raise ValueError(f"library is {library!r}, but only {LIBRARY!r} is known")
        from torchvision.models import get_model

        self.network = get_model(self.name, weights=None, num_classes=classes, **(options or {}))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits: uint8 [N, H, W, C] → float32 [N, classes]; a grey channel is repeated three times."""
        scaled = self.pixels(pixels)  # [N, 1 or 3, H, W]
        logits: Tensor = self.network(scaled.expand(-1, 3, -1, -1))
        return logits

    @classmethod
    def fitting(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Return the arguments of a new network for images with this preprocessing."""
        options: dict[str, Any] = {}
        if cls.name.startswith("vit_"):
            options["image_size"] = preprocessing.height
        if cls.name in ("googlenet", "inception_v3"):
            options.update(aux_logits=False, init_weights=True)  # no auxiliary outputs in training
        return {
            "library": LIBRARY,
            "mean": [0.5] * preprocessing.channels,
            "std": [0.25] * preprocessing.channels,
            "options": options,
        }


def named(name: str) -> type[Vision]:
    """Return the class of torchvision's network `name`."""
    return type("Vision", (Vision,), {"name": name})


def has(name: str) -> bool:
    """Return whether torchvision has a classification network of that name.

    Raises:
        TrainingError: torchvision is not installed.
    """
    try:
        from torchvision import models
    except ImportError as exc:
        raise TrainingError(
            f"The network {name!r} is unknown, and torchvision, which may have it, is not installed: "
            f"run {install_hint('training')}."
        ) from exc
    return name in models.list_models(module=models)


def normalisation(name: str) -> dict[str, Any]:
    """Return `mean` and `std` of the pixels for torchvision's weights of a network, as a share of 255."""
    from torchvision.models import get_model_weights

    preprocessing = get_model_weights(name).DEFAULT.transforms()
    return {"mean": list(preprocessing.mean), "std": list(preprocessing.std)}


def pretrained(name: str, remedy: str = "leave --pretrained out") -> Mapping[str, Tensor]:
    """Return torchvision's weights of a network.

    Args:
        name: The network's name.
        remedy: The advice, in the message, for the case that the weights are not available.

    Raises:
        TrainingError: The weights are damaged, or are not in torch's cache and can't be downloaded.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        found: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise TrainingError(
            f"torchvision's weights for {name!r} are not available ({reason}). They are read from {file}, or else "
            f"downloaded from {weights.url}: put that file there, or {remedy}."
        ) from exc
    return found


def transfer(weights: Mapping[str, Tensor], network: torch.nn.Module) -> None:
    """Copy torchvision's weights into a `Vision` of the same name, except the head's, which has other classes."""
    ours = network.state_dict()
    theirs = {f"network.{key}": value for key, value in weights.items()}
    fitting = {key: value for key, value in theirs.items() if key in ours and ours[key].shape == value.shape}
    network.load_state_dict({**ours, **fitting})
