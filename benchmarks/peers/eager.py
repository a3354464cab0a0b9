"""The image classification of most peers: Pillow decodes, and torch runs the checkpoint's network in eager mode."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.imaging.digits.normalise import normalise
from pigeonhole.models import checkpoint


class Eager:
    """A checkpoint's network in eager torch, with one thread.

    Args:
        model: a checkpoint's path, or the name of a shipped one.
    """

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        about, self._network = checkpoint.load(checkpoint.find(model))
        self._classes = about.classes
        self._preprocessing = about.preprocessing

    def classify(self, paths: Sequence[str]) -> list[str]:
        """Read images, run them through the network at once, and return their labels."""
        return self.labels([self.read(path) for path in paths])

    def read(self, path: str) -> NDArray[np.uint8]:
        """Return the network's input for an image file: uint8 [height, width, channels]."""
        wanted = self._preprocessing
        with Image.open(path) as file:
            return self.prepare(file.convert(wanted.mode))

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the network's input for a decoded image: uint8 [height, width, channels]."""
        wanted = self._preprocessing
        if wanted.reads_digits:
            # The network was trained on normalised images only.
            return normalise(image)[:, :, None]
        resized = np.asarray(image.resize((wanted.width, wanted.height)))
        return resized.reshape(wanted.height, wanted.width, wanted.channels)

    def labels(self, pixels: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Run the network on its inputs at once, and return their labels."""
        with torch.inference_mode():
            logits = self._network(torch.from_numpy(np.stack(pixels)))  # float32 [N, logits]
        best = logits[:, : len(self._classes)].argmax(dim=1)  # without the logit for "unknown"
        return [self._classes[index] for index in best.tolist()]
