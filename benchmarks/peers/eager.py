"""What the peers do with images: Pillow decodes them, torch runs the checkpoint's network as it is (eager mode)."""

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
        model: the checkpoint, a file or the name of a shipped one.
    """

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        about, self._network = checkpoint.load(checkpoint.find(model))
        self._classes = about.classes
        self._preprocessing = about.preprocessing

    def classify(self, paths: Sequence[str]) -> list[str]:
        """Read images, run them through the network at once, and give their labels."""
        return self.labels([self.read(path) for path in paths])

    def read(self, path: str) -> NDArray[np.uint8]:
        """Open, convert, bring to size: uint8 [height, width, channels]."""
        wanted = self._preprocessing
        with Image.open(path) as file:
            return self.prepare(file.convert(wanted.mode))

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Bring a decoded image to what the network takes: uint8 [height, width, channels]."""
        wanted = self._preprocessing
        if wanted.reads_digits:
            # Without it, the network would be asked for images that it was not trained on.
            return normalise(image)[:, :, None]
        resized = np.asarray(image.resize((wanted.width, wanted.height)))
        return resized.reshape(wanted.height, wanted.width, wanted.channels)

    def labels(self, pixels: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Run prepared images through the network at once, and give their labels."""
        with torch.inference_mode():
            logits = self._network(torch.from_numpy(np.stack(pixels)))  # float32 [N, logits]
        best = logits[:, : len(self._classes)].argmax(dim=1)  # without "none of these", where there is that one
        return [self._classes[index] for index in best.tolist()]
