"""Ray Data with a network in torch, as in its guide to batch inference with ResNet; else like `ray_read_images`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.imagenet import CLASSES, network
from benchmarks.peers import ray_data
from benchmarks.peers.photos_torch import SIZE, TRANSFORM

SETTINGS = (
    f'`read_images(FOLDER, mode="RGB", include_paths=True)`, `map` with torchvision\'s transforms, `map_batches` with '
    f"one actor with the network in eager torch, and `batch_size={SIZE}`: reading and transforming take a processor; "
    "the time includes the start of the actor, during which it reads"
)


def transform(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the network's input in place of the image."""
    return {"path": row["path"], "pixels": TRANSFORM(Image.fromarray(row["image"])).numpy()}


class Predictor:
    """An actor with the network."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.network = network()

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify a batch."""
        with torch.inference_mode():
            best = self.network(torch.as_tensor(batch["pixels"])).argmax(dim=1)
        return {"path": batch["path"], "label": np.array([CLASSES[index] for index in best.tolist()])}


class RayTorch:
    """Ray Data with a network in torch, on a local Ray."""

    def start(self) -> None:
        """Start Ray."""
        ray_data.start()

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify the folder."""
        import ray

        decoded = ray.data.read_images(images.folder, mode="RGB", include_paths=True)
        pool = ray.data.ActorPoolStrategy(size=PROCESSES - 1)
        answers = decoded.map(transform).map_batches(Predictor, batch_size=SIZE, compute=pool, num_cpus=1)
        labels: dict[str, str] = {}
        for batch in answers.iter_batches(batch_size=None):
            labels.update(zip(batch["path"].tolist(), batch["label"].tolist(), strict=True))
        return [labels[path] for path in images.paths]

    def stop(self) -> None:
        """Stop Ray."""
        ray_data.stop()
