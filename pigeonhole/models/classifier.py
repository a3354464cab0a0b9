"""A model that is ready to classify: loaded once per process, then called with chunks of pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError, SettingsError
from pigeonhole.limits import MOST_CLASSES, TOP
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.allocator import keep_freed
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.scores import Scores, score

if TYPE_CHECKING:
    import torch

#: What runs the network, and in which precision.
RUNTIME = "torch/f32"


@dataclass(frozen=True)
class Classifier:
    """A network and its model file's record; `load` makes one."""

    checkpoint: Checkpoint
    network: "torch.nn.Module"
    device: "torch.device"

    @classmethod
    def load(cls, path: Path, device: str) -> "Classifier":
        """Load a checkpoint and warm it up.

        Args:
            path: The model file.
            device: `auto` (CUDA where there is any), `cpu` or `cuda`.

        Raises:
            CheckpointError: It can't be used, or has more classes than a result can name.
            SettingsError: CUDA is asked for and there is none.
        """
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise SettingsError("PIGEONHOLE_DEVICE is 'cuda' and torch finds no CUDA device here: use 'auto' or 'cpu'")
        where = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
        # One process per core, one thread per process: more threads compete for the cores.
        torch.set_num_threads(1)
        keep_freed()
        about, network = checkpoints.load(path, device=where)
        if len(about.classes) > MOST_CLASSES:
            raise CheckpointError(
                f"{path}: it has {len(about.classes):,} classes, and results can name {MOST_CLASSES:,} at most; "
                "use a checkpoint with fewer."
            )
        classifier = cls(about, network, torch.device(where))
        classifier.predict(np.zeros((1, *about.preprocessing.shape), np.uint8))
        return classifier

    def predict(self, pixels: NDArray[np.uint8], top: int = TOP) -> Scores:
        """Classify a chunk.

        Args:
            pixels: uint8 [N, height, width, channels], as the model's preprocessing returns them.
            top: how many of the most probable classes to return.
        """
        import torch

        with torch.inference_mode():
            logits = self.network(torch.from_numpy(pixels).to(self.device))  # float32 [N, logits]
        about = self.checkpoint
        return score(logits.cpu().numpy(), about.calibration, len(about.classes), top)


def answers_as(checkpoint: Checkpoint) -> str:
    """Return what rows carry of a model: its name and the first 12 digits of its digest."""
    return f"{checkpoint.name}@{checkpoint.digest[:12]}"
