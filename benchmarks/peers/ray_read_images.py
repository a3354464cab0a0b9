"""Ray Data with its own `read_images`, as in its guide to working with images; otherwise like `ray_data`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.peers import ray_data
from benchmarks.peers.eager import Eager

SETTINGS = (
    '`ray.data.read_images(FOLDER, mode="L", include_paths=True)`, then as above with one actor, because reading takes '
    "a processor; the digit normalisation in the actor; the time includes the start of the actor, during which it reads"
)


class Predictor:
    """An actor with the model, which is loaded once."""

    def __init__(self) -> None:
        self.model = Eager("digits")

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify a batch of decoded images."""
        pixels = [self.model.prepare(Image.fromarray(image)) for image in batch["image"]]
        return {"path": batch["path"], "label": np.array(self.model.labels(pixels))}


class RayReadImages:
    """Ray Data's `read_images` on a local Ray."""

    def start(self) -> None:
        """Start Ray."""
        ray_data.start()

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify the folder."""
        import ray

        decoded = ray.data.read_images(images.folder, mode="L", include_paths=True)
        pool = ray.data.ActorPoolStrategy(size=PROCESSES - 1)  # reading takes the other processor
        answers = decoded.map_batches(Predictor, batch_size=ray_data.SIZE, compute=pool, num_cpus=1)
        labels: dict[str, str] = {}
        for batch in answers.iter_batches(batch_size=None):
            labels.update(zip(batch["path"].tolist(), batch["label"].tolist(), strict=True))
        return [labels[path] for path in images.paths]

    def stop(self) -> None:
        """Stop Ray."""
        ray_data.stop()
