"""The image classification of peers with our ONNX Runtime session: Pillow decodes, resizes and crops."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings

#: The number of images that go through the network at once.
SIZE = 16


class Session:
    """The ONNX Runtime session of a model file, with one thread.

    Args:
        model: The path of the model file.
    """

    def __init__(self, model: str) -> None:
        classifier = Classifier.load(Path(model), Settings())
        self._runtime, about = classifier.runtime, classifier.checkpoint
        self._classes, self._side, self._shorter = about.classes, about.preprocessing.width, about.preprocessing.resize

    def classify(self, paths: Sequence[str]) -> list[str]:
        """Read images, run them through the network at once, and return their labels."""
        logits = self._runtime.logits(np.stack([self._read(path) for path in paths]))
        return [self._classes[index] for index in logits.argmax(axis=1).tolist()]

    def _read(self, path: str) -> NDArray[np.uint8]:
        with Image.open(path) as file:
            image = file.convert("RGB")
        shorter = min(image.size)
        width, height = (self._shorter * side // shorter for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - self._side) // 2, (height - self._side) // 2
        return np.asarray(image.crop((left, top, left + self._side, top + self._side)))
