"""Ray Data with a pool of two actors with our ONNX Runtime session; otherwise like `ray_data`."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.session import SIZE, Session

SETTINGS = (
    f"as for digits, with `batch_size={SIZE}`; Pillow and the same ONNX Runtime session in the actor; the time starts "
    "when the actors have classified as many images as the warm-up has"
)


class Predictor:
    """An actor with our ONNX Runtime session.

    Args:
        model: The path of the model file.
    """

    def __init__(self, model: str) -> None:
        self.session = Session(model)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify a batch."""
        labels = np.array(self.session.classify(batch["path"].tolist()))
        return {"number": batch["number"], "label": labels, "done": np.full(len(labels), time.perf_counter())}
