"""The base class of all networks."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks.pixels import Pixels


class Network(nn.Module):
    """Base of all networks: uint8 [N, H, W, C] → float32 logits [N, classes].

    A subclass takes `classes`, `mean`, `std` and arguments of its own. All are plain JSON values, and all but `classes`
    have a default. A default never changes, because model files from before the argument was added rely on it.
    `forward` begins with `self.pixels`, so that scaling and normalisation are part of the network.

    Args:
        mean: The mean that is subtracted from pixels, as a share of 255: a number, or one for each channel.
        std: The standard deviation by which pixels are divided, as a share of 255: a number, or one for each channel.
    """

    #: The only preprocessing that the network can take; None: it takes images of any size.
    preprocessing: ClassVar[Preprocessing | None] = None
    #: The arguments of new networks that differ from the defaults.
    arguments: ClassVar[Mapping[str, Any]] = {}
    #: Whether `fold` removes batch normalisation.
    folds: ClassVar[bool] = True

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.pixels = Pixels(mean, std)

    @classmethod
    def fitting(cls, preprocessing: Preprocessing) -> Mapping[str, Any]:
        """Return the arguments of a new network for images with this preprocessing; plain JSON values."""
        return cls.arguments

    def normalised(self) -> Iterator[tuple[str, nn.Sequential, int]]:
        """Yield the batch normalisations that can be folded: those right after a convolution.

        Yields:
            The path of an `nn.Sequential`, that module, and the convolution's index in it.
        """
        for path, block in self.named_modules() if self.folds else ():
            if isinstance(block, nn.Sequential):
                for at, (first, second) in enumerate(pairwise(block)):
                    if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                        yield path, block, at

    def fold(self) -> Self:
        """Fold each batch normalisation into the convolution before it, in place, and return the network in eval mode.

        The convolution gets a bias, and the batch normalisation becomes `nn.Identity`. The logits stay the same, up to
        rounding. Folding a folded network changes nothing.
        """
        self.eval()
        for _, block, at in list(self.normalised()):
            convolution, norm = cast(nn.Conv2d, block[at]), cast(nn.BatchNorm2d, block[at + 1])
            block[at], block[at + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
        return self

    def folded(self) -> Self:
        """Return a folded copy on the CPU, the form in which networks are saved and run by workers."""
        return copy.deepcopy(self).cpu().to(memory_format=torch.contiguous_format).fold()

    def cost(self, preprocessing: Preprocessing) -> tuple[int, int]:
        """Return the cost of one image, and the size of the network.

        Args:
            preprocessing: The preprocessing of images, which has their size.

        Returns:
            The multiply-adds of convolutions and linear layers for one image (with padding, without biases and
            activations), and the number of parameters.

        Raises:
            TrainingError: The network can't take images of that size.
        """
        total = 0

        def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 - torch's own signature
            nonlocal total
            # Each output value is one dot product with all weights of its channel.
            weight = cast(Tensor, module.weight)  # [outputs, …]
            total += output.numel() * (weight.numel() // weight.shape[0])

        layers = [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        hooks = [layer.register_forward_hook(count) for layer in layers]
        was_training, device = self.training, next(self.parameters()).device
        try:
            with torch.inference_mode():
                self.eval()(torch.zeros((1, *preprocessing.shape), dtype=torch.uint8, device=device))
        except (RuntimeError, AssertionError, ValueError) as exc:
            text = str(exc).splitlines()[0]
            raise TrainingError(
                f"This network can't take images of {preprocessing.width} x {preprocessing.height} ({text}); "
                "torchvision's networks are made for 224 x 224."
            ) from exc
        finally:
            self.train(was_training)
            for hook in hooks:
                hook.remove()
        return total, sum(parameter.numel() for parameter in self.parameters())
