"""torchvision's classification networks, by the names that it gives them; it is loaded only where one is asked for."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.pixels import Pixels

SIDE = 224  # pixels: of what most of them were made for
LIBRARY = "torchvision"  # an argument of each of them: a checkpoint says whose network it is without asking there


class Vision(nn.Module):
    """One of torchvision's networks, fed with bytes.

    Args:
        classes: How many logits.
        name: What torchvision calls it.
        library: Whose it is, for readers of a checkpoint.
        mean: Subtracted from the pixels, in units of 255; one for each channel of the pictures, or three.
        std: Divided by, likewise.
        options: What torchvision makes the network with.
    """

    def __init__(
        self,
        classes: int,
        name: str,
        library: str = LIBRARY,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if library != LIBRARY:
            raise ValueError(f"library is {library!r}, and only {LIBRARY!r} is known")
        from torchvision.models import get_model

        self.pixels = Pixels(mean, std)
        self.network = get_model(name, weights=None, num_classes=classes, **(options or {}))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, C] → float32 logits [N, classes]; grey is taken for red, green and blue."""
        scaled = self.pixels(pixels)  # [N, 1 or 3, H, W]
        logits: Tensor = self.network(scaled.expand(-1, 3, -1, -1))
        return logits


def has(name: str) -> bool:
    """Whether torchvision has a classification network of that name.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        from torchvision import models
    except ImportError as exc:
        raise TrainingError(
            f"The network {name!r} is none of ours, and torchvision, which may have it, is not installed: "
            "run pip install 'pigeonhole[training]'."
        ) from exc
    return name in models.list_models(module=models)


def fitting(name: str, seen: Preprocessing) -> dict[str, Any]:
    """The arguments of a network for what it sees: plain JSON values, for `Vision`."""
    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options["image_size"] = seen.height
    if name in ("googlenet", "inception_v3"):
        options.update(aux_logits=False, init_weights=True)  # what they answer beside their answer, in training
    return {"library": LIBRARY, "mean": [0.5] * seen.channels, "std": [0.25] * seen.channels, "options": options}


def normalisation(name: str) -> dict[str, Any]:
    """Mean and standard deviation, in units of 255, that torchvision's weights of a network were trained with."""
    from torchvision.models import get_model_weights

    seen = get_model_weights(name).DEFAULT.transforms()
    return {"mean": list(seen.mean), "std": list(seen.std)}


def pretrained(name: str) -> Mapping[str, Tensor]:
    """torchvision's weights for a network.

    Args:
        name: What torchvision calls it.

    Raises:
        TrainingError: They are neither in torch's cache nor to be downloaded, or are damaged.
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
            f"downloaded from {weights.url}: put that file there, or leave --pretrained out."
        ) from exc
    return found


def transfer(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Give a network torchvision's weights, but for the head's, which are of other classes.

    Args:
        weights: As of `pretrained`.
        network: A `Vision` of the same name; changed in place.
    """
    ours = network.state_dict()
    theirs = {f"network.{key}": value for key, value in weights.items()}
    fitting = {key: value for key, value in theirs.items() if key in ours and ours[key].shape == value.shape}
    network.load_state_dict({**ours, **fitting})
