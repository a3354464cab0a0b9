"""Initial weights of a training that are not random: a checkpoint's, or torchvision's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pigeonhole.errors import TrainingError
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks import vision
from pigeonhole.models.networks.network import Network

_IMAGES = 256  # number of images for the statistics of batch normalisation


@dataclass(frozen=True)
class Learned:
    """The weights of a checkpoint.

    Args:
        described: Record of the checkpoint.
        served: Network of the checkpoint, without batch normalisation.
    """

    described: Checkpoint
    served: nn.Module

    def initialise(self, network: Network, classes: Sequence[str], images: Tensor) -> None:
        """Copy the checkpoint's weights into a network.

        The head keeps the rows of the classes that both have, and of "unknown"; the row of a new class stays random. A
        saved network has no batch normalisation. The new network's is set to change nothing: it normalises by the mean
        and the variance that each convolution has for the images, then scales and shifts back by the same.

        Args:
            network: Network with random weights, of the checkpoint's name and arguments; changed in place.
            classes: Classes of `network`, in the order of its logits; one more logit, for "unknown", may follow.
            images: uint8 [N, H, W, C], N at least 1, images to train on.
        """
        theirs, ours = self.served.state_dict(), network.state_dict()  # of tensors that are the network's own
        head = _head(self.described)
        with torch.no_grad():
            for key, value in ours.items():
                if key in head:
                    for new, old in _rows(self.described, classes, len(value)):
                        value[new] = theirs[key][old]
                elif key in theirs:
                    value.copy_(theirs[key])
        chosen = torch.linspace(0, len(images) - 1, min(len(images), _IMAGES)).long()
        _unfold(network, theirs, images[chosen])

    def identity(self) -> dict[str, Any]:
        """Return JSON values that identify these weights."""
        return {"start": {"name": self.described.name, "digest": self.described.digest}}


@dataclass(frozen=True)
class Pretrained:
    """The weights that torchvision publishes for a network.

    Args:
        weights: Tensors by torchvision's names.
        normalisation: Arguments `mean` and `std` of the network that the weights were trained with.
    """

    weights: Mapping[str, Tensor]
    normalisation: Mapping[str, Any]

    def initialise(self, network: Network, _classes: Sequence[str], _images: Tensor) -> None:
        """Copy these weights into a network, except those of the head, whose classes are others."""
        vision.transfer(self.weights, network)

    def identity(self) -> dict[str, Any]:
        """Return JSON values that identify these weights."""
        return {"pretrained": True}


def learned(name: str, network: str | None) -> Learned:
    """Load the weights of a checkpoint.

    Args:
        name: Path of a checkpoint, or the name of a shipped one.
        network: Name of the network that the user wants; None for the checkpoint's.

    Raises:
        TrainingError: The checkpoint can't be read, or has another network.
    """
    path = checkpoint.find(name)
    described, served = checkpoint.load(path)
    if network not in (None, described.network):
        raise TrainingError(
            f"{path} has the network {described.network!r}, and --network is {network!r}; leave --network out."
        )
    return Learned(described, served)


def pretrained(network: str) -> Pretrained:
    """Load torchvision's weights for a network.

    Raises:
        TrainingError: The network is not torchvision's, or its weights can't be downloaded.
    """
    if network in networks.NETWORKS:
        raise TrainingError(
            f"There are no pretrained weights for the network {network!r}; --pretrained is for torchvision's networks, "
            "such as --network resnet18."
        )
    networks.load(network)
    return Pretrained(vision.pretrained(network), vision.normalisation(network))


def _head(described: Checkpoint) -> frozenset[str]:
    """Return the names of the weights with a row for each logit: their shape depends on the number of logits."""
    one, other = (networks.build(described.network, described.arguments, count).state_dict() for count in (2, 3))
    return frozenset(key for key, value in one.items() if value.shape != other[key].shape)


def _rows(described: Checkpoint, classes: Sequence[str], logits: int) -> list[tuple[int, int]]:
    """Return the rows of the new and of the old head for each class that both have, and for "unknown"."""
    old = {name: row for row, name in enumerate(described.classes)}
    rows = [(row, old[name]) for row, name in enumerate(classes) if name in old]
    if described.calibration.outlier and logits > len(classes):
        rows.append((len(classes), len(described.classes)))
    return rows


@torch.no_grad()
def _unfold(network: Network, folded: Mapping[str, Tensor], images: Tensor) -> None:
    """Set the batch normalisation so that, for these images, it adds the folded biases and changes nothing else."""
    biases: dict[nn.Module, Tensor | float] = {
        # A convolution that has a bias already got the folded one.
        block[at + 1]: folded[f"{path}.{at}.bias"] if block[at].bias is None else 0.0
        for path, block, at in network.normalised()
    }

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        state = layer.state_dict()  # of tensors that are the layer's own
        state["running_mean"].copy_(mean)
        state["running_var"].copy_(variance)
        state["weight"].copy_((variance + cast(nn.BatchNorm2d, layer).eps).sqrt())
        state["bias"].copy_(mean + biases[layer])

    hooks = [layer.register_forward_pre_hook(measure) for layer in biases]
    was_training = network.training
    try:
        if hooks:
            network.eval()(images)  # each layer is measured after those before it are set
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
