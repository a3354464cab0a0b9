"""Ray Data with a pool of two actors that hold our session; else as `ray_data`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.session import SIZE, Session

SETTINGS = (
    f"as for digits, with `batch_size={SIZE}`; Pillow and the same ONNX Runtime session in the actor; timed from the "
    "end of its warm-up"
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
        return {"number": batch["number"], "label": np.array(self.session.classify(batch["path"].tolist()))}
