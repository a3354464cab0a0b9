"""What a training begins with instead of fresh weights: a checkpoint's, or torchvision's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pigeonhole.errors import TrainingError
from pigeonhole.models import checkpoint, networks, vision
from pigeonhole.models.checkpoint import Checkpoint

_IMAGES = 256  # that the statistics are measured on


@dataclass(frozen=True)
class Learned:
    """A checkpoint.

    Args:
        described: What it says of itself.
        served: Its network.
    """

    described: Checkpoint
    served: nn.Module

    def begin(self, network: nn.Module, classes: Sequence[str], images: Tensor) -> None:
        """Give a network the checkpoint's weights.

        What the head says of a class that both have is kept, and so is what it says of none of them; a new class begins
        afresh. Batch normalisation was folded away when the checkpoint was written. It is put back so that it changes
        nothing: it takes the mean and the variance that each convolution has for the images, and gives them back.

        Args:
            network: Fresh, of the checkpoint's name and arguments as they are trained; changed in place.
            classes: Those of `network`, in the order of its logits; one more logit may follow, for none of them.
            images: uint8 [N, H, W, C], those that it will be trained on, at least one.
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

    def deciding(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        return {"start": {"name": self.described.name, "digest": self.described.digest}}


@dataclass(frozen=True)
class Pretrained:
    """torchvision's weights for one of its networks."""

    weights: Mapping[str, Tensor]

    def begin(self, network: nn.Module, _classes: Sequence[str], _images: Tensor) -> None:
        """Give a network these weights, but for the head's, which are of other classes."""
        vision.transfer(self.weights, network)

    def deciding(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        return {"pretrained": True}


def learned(name: str, network: str | None) -> Learned:
    """A checkpoint to begin with.

    Args:
        name: A file, or the name of a shipped one.
        network: Which network was asked for; None for the checkpoint's.

    Raises:
        TrainingError: It can't be read, or is of another network.
    """
    path = checkpoint.find(name)
    described, served = checkpoint.load(path)
    if network not in (None, described.network):
        raise TrainingError(
            f"{path} is of the network {described.network!r}, and --network is {network!r}; leave --network out."
        )
    return Learned(described, served)


def pretrained(network: str) -> Pretrained:
    """torchvision's weights to begin with.

    Raises:
        TrainingError: The network is none of torchvision's, or its weights can't be had.
    """
    if network in networks.NAMES:
        raise TrainingError(
            f"The network {network!r} is ours and begins afresh; --pretrained is for torchvision's: "
            "--network resnet18, for one."
        )
    networks.check_name(network)
    return Pretrained(vision.pretrained(network))


def _head(described: Checkpoint) -> frozenset[str]:
    """The weights that there is a row of for each logit: those whose shape goes with the number of logits."""
    one, other = (networks.build(described.network, described.arguments, count).state_dict() for count in (2, 3))
    return frozenset(key for key, value in one.items() if value.shape != other[key].shape)


def _rows(described: Checkpoint, classes: Sequence[str], logits: int) -> list[tuple[int, int]]:
    """Row of the new head, row of the old one: of each class that both have, and of what is none."""
    old = {name: row for row, name in enumerate(described.classes)}
    rows = [(row, old[name]) for row, name in enumerate(classes) if name in old]
    if described.calibration.outlier and logits > len(classes):
        rows.append((len(classes), len(described.classes)))
    return rows


@torch.no_grad()
def _unfold(network: nn.Module, folded: Mapping[str, Tensor], images: Tensor) -> None:
    """Set the batch normalisation so that, for these images, it does what the folded convolutions' biases do."""
    biases: dict[nn.Module, Tensor] = {
        block[1]: folded[f"{path}.0.bias"]
        for path, block in network.named_modules()
        if isinstance(block, nn.Sequential) and len(block) > 1 and isinstance(block[1], nn.BatchNorm2d)
        # A network that is served with its batch normalisation has it in its weights.
        if f"{path}.1.weight" not in folded
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
