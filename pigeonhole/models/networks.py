"""The networks, by name. Each takes uint8 pixels as `pigeonhole.imaging.preprocess` makes them and returns logits.

Scale and normalisation are part of the network, so whoever runs one feeds it bytes and nothing else.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import residual, vision
from pigeonhole.models.pixels import Pixels
from pigeonhole.models.residual import Residual
from pigeonhole.models.vision import Vision

# Mean and standard deviation of MNIST's 60,000 training images, in units of 255.
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
_SIDE = 28  # pixels: of what the networks for digits see
DIGIT = Preprocessing("digit", _SIDE, _SIDE, 1)


class Classic(nn.Module):
    """The classic small network for MNIST: two convolutions, two linear layers, 28 x 28 x 1 only.

    Args:
        classes: How many logits.
        mean: Subtracted from the pixels, in units of 255; the published network subtracts nothing.
        std: Divided by, likewise.
    """

    def __init__(self, classes: int, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.pixels = Pixels([mean], [std])
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3),  # [N, 32, 26, 26]
            nn.ReLU(),
            nn.Conv2d(32, 16, 5),  # [N, 16, 22, 22]
            nn.ReLU(),
            nn.Flatten(),  # [N, 7744], channels outermost
            nn.Linear(7744, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 28, 28, 1] → float32 logits [N, classes]."""
        logits: Tensor = self.layers(self.pixels(pixels))
        return logits


class Digits(nn.Module):
    """Convolutions that halve the picture early, then one linear layer; 28 x 28 x 1 only.

    A convolution costs by its area, so the first two stride: what follows works on 7 x 7 and less, where
    channels are cheap. Batch normalisation, which training needs, is folded into the convolutions when a
    checkpoint is written (`fold`).

    Args:
        classes: How many logits.
        widths: Channels of the convolutions; the first is 5 x 5, the others 3 x 3.
        strides: Of each of them.
        paddings: Of each of them, in pixels on each side.
        normalised: With batch normalisation, to be trained; without, to be served.
        mean: Subtracted from the pixels, in units of 255.
        std: Divided by, likewise.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (24, 32, 48, 64),
        strides: Sequence[int] = (2, 2, 1, 1),
        paddings: Sequence[int] = (1, 1, 0, 0),
        normalised: bool = False,
        mean: float = MNIST_MEAN,
        std: float = MNIST_STD,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        inputs, side = 1, _SIDE
        for width, stride, padding in zip(widths, strides, paddings, strict=True):
            kernel = 3 if blocks else 5
            blocks.append(_block(inputs, width, kernel, stride, padding, normalised))
            inputs, side = width, (side + 2 * padding - kernel) // stride + 1
        self.pixels = Pixels([mean], [std])
        self.layers = nn.Sequential(*blocks)  # [N, widths[-1], side, side]
        self.head = nn.Linear(inputs * side * side, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 28, 28, 1] → float32 logits [N, classes]."""
        features = self.layers(self.pixels(pixels))  # [N, widths[-1], side, side]
        logits: Tensor = self.head(features.flatten(1))
        return logits


def _block(inputs: int, outputs: int, kernel: int, stride: int, padding: int, normalised: bool) -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=not normalised))
    if normalised:
        block.append(nn.BatchNorm2d(outputs))
    return block.append(nn.ReLU())


_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "classic": Classic,
    "digits": Digits,
    "digits-large": Digits,
    "digits-small": Digits,
    "residual": Residual,
    "residual-large": Residual,
    "residual-small": Residual,
}
NAMES = tuple(sorted(_NETWORKS))

# What a network is made with where nothing else is asked for. A class's own defaults are what checkpoints mean that
# were written before it took that argument, so they stay as they are.
_MADE_WITH: dict[str, dict[str, Any]] = {
    "classic": {},
    "digits": {"widths": (16, 48, 64, 96), "paddings": (0, 1, 0, 0)},
    "digits-large": {"widths": (48, 96, 128, 192), "strides": (2, 1, 2, 1), "paddings": (1, 0, 1, 0)},
    "digits-small": {"widths": (16, 24, 32, 48), "paddings": (0, 1, 0, 0)},
}
# What it is trained with, beside what it is served with.
_TRAINED_WITH: dict[Callable[..., nn.Module], dict[str, Any]] = {
    Classic: {},
    Digits: {"normalised": True},
    Residual: {"normalised": True},
}


def build(name: str, arguments: Mapping[str, Any], classes: int) -> nn.Module:
    """Make a network with fresh weights.

    Args:
        name: One of `NAMES`, or of a classification network of torchvision.
        arguments: Of that network, by name; plain JSON values.
        classes: How many logits it returns, at least 2.

    Returns:
        A module that takes uint8 [N, H, W, C] and returns float32 logits [N, classes].

    Raises:
        TrainingError: An unknown name, or arguments that this network doesn't take.
    """
    check_name(name)
    if classes < 2:
        raise TrainingError(f"A network tells at least 2 classes apart, not {classes}.")
    try:
        if name in _NETWORKS:
            return _NETWORKS[name](classes=classes, **arguments)
        return Vision(classes=classes, name=name, **arguments)
    except (TypeError, ValueError, RuntimeError) as exc:
        raise TrainingError(f"The network {name!r} can't be built with {dict(arguments)!r}: {exc}") from exc


def check_name(name: str) -> None:
    """See that there is a network of that name, here or in torchvision.

    Raises:
        TrainingError: There is none, or torchvision would have to be asked and is not installed.
    """
    if name in _NETWORKS or vision.has(name):
        return
    raise TrainingError(
        f"Unknown network {name!r}; this version knows {', '.join(NAMES)}, and torchvision's classification networks "
        "(resnet18, mobilenet_v3_small, efficientnet_b0, …)."
    )


def complete(
    name: str, arguments: Mapping[str, Any], seen: Preprocessing = DIGIT, pretrained: bool = False
) -> dict[str, Any]:
    """`arguments` with the network's defaults spelled out, for a checkpoint that outlives them.

    Args:
        name: As of `build`.
        arguments: What is asked for.
        seen: What the network sees; the residual ones fit themselves to it.
        pretrained: Whether it will begin with torchvision's weights: their mean and standard deviation come before
            those of `arguments`.

    Returns:
        Plain JSON values, for `build`.

    Raises:
        TrainingError: An unknown name, a network that takes no pictures of that size, or that has no such weights.
    """
    check_name(name)
    if pretrained and name in _NETWORKS:
        raise TrainingError(f"The network {name!r} is ours and begins afresh: --pretrained is for torchvision's.")
    made = _made_with(name, seen)
    own = {
        key: parameter.default
        for key, parameter in inspect.signature(_NETWORKS.get(name, Vision)).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    values = {**own, **made, **arguments, **(vision.normalisation(name) if pretrained else {})}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _made_with(name: str, seen: Preprocessing) -> Mapping[str, Any]:
    if name not in _NETWORKS:
        return vision.fitting(name, seen)
    if _NETWORKS[name] is Residual:
        return residual.fitting(name.removeprefix("residual").removeprefix("-"), seen)
    if (seen.height, seen.width, seen.channels) != (_SIDE, _SIDE, 1):
        raise TrainingError(
            f"The network {name!r} takes pictures of {_SIDE} x {_SIDE} in grey, not of {seen.width} x {seen.height} in "
            f"{'grey' if seen.channels == 1 else 'colour'}; --network residual takes any."
        )
    return _MADE_WITH[name]


def trainable(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a network is trained with; `fold` leads back to `arguments`."""
    return {**arguments, **(_TRAINED_WITH[_NETWORKS[name]] if name in _NETWORKS else {})}


def fold(name: str, arguments: Mapping[str, Any], classes: int, trained: nn.Module) -> nn.Module:
    """Fold the batch normalisation of a trained network into its convolutions.

    Args:
        name: Of the network.
        arguments: That it will be served with.
        classes: How many.
        trained: `build(name, trainable(name, arguments), classes)` after training; left as it is.

    Returns:
        `build(name, arguments, classes)` in eval mode that returns the same logits, up to rounding.
    """
    served = build(name, arguments, classes).eval()
    state: dict[str, Tensor] = {}
    for path, module in trained.eval().named_modules() if name in _NETWORKS else ():
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(cast(nn.Conv2d, module[0]), module[1])
            state |= {f"{path}.0.{key}": value for key, value in fused.state_dict().items()}
    state = {key: value.detach().cpu() for key, value in {**trained.state_dict(), **state}.items()}
    served.load_state_dict({key: state[key] for key in served.state_dict()})
    return served


def cost(network: nn.Module, preprocessing: Preprocessing) -> tuple[int, int]:
    """What one image costs.

    Args:
        network: On any device.
        preprocessing: The size of what it takes.

    Returns:
        Multiply-adds of the convolutions and linear layers for one image (padding counted, biases and
        activations not), and the number of parameters.

    Raises:
        TrainingError: It can't take pictures of that size.
    """
    total = 0

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 - torch's own signature
        nonlocal total
        # Each output value is one dot product with all weights of its channel.
        weight = cast(Tensor, module.weight)  # [outputs, …]
        total += output.numel() * (weight.numel() // weight.shape[0])

    hooks = [
        module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    was_training = network.training
    device = next(network.parameters()).device
    shape = (1, preprocessing.height, preprocessing.width, preprocessing.channels)
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(shape, dtype=torch.uint8, device=device))
    except (RuntimeError, AssertionError, ValueError) as exc:
        text = str(exc).splitlines()[0]
        raise TrainingError(
            f"This network can't take pictures of {preprocessing.width} x {preprocessing.height} ({text}); "
            f"those of torchvision are made for {vision.SIDE} x {vision.SIDE}."
        ) from exc
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total, sum(parameter.numel() for parameter in network.parameters())
