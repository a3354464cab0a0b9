"""Ray Data with a pool of two actors that hold our session; else as `ray_data`."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.session import SIZE, Session

SETTINGS = (
    f"as for digits, with `batch_size={SIZE}`; Pillow and the same ONNX Runtime session in the actor; timed from when "
    "its actors have done as many images as its warm-up has"
)


class Predictor:
    """What an actor holds.

    Args:
        model: The model file.
    """

    def __init__(self, model: str) -> None:
        self.session = Session(model)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify a batch."""
        labels = np.array(self.session.classify(batch["path"].tolist()))
        return {"number": batch["number"], "label": labels, "done": np.full(len(labels), time.perf_counter())}
