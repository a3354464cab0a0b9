"""A model that is loaded once per process, and then classifies chunks of pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pigeonhole.errors import CheckpointError
from pigeonhole.limits import MOST_CLASSES, TOP
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.allocator import keep_freed
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.runtimes import registry as runtimes
from pigeonhole.models.runtimes.choice import choose
from pigeonhole.models.scores import Scores, score
from pigeonhole.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pigeonhole.models.runtimes.runtime import Runtime


@dataclass(frozen=True)
class Classifier:
    """A model, loaded in a runtime. `load` returns one.

    Args:
        checkpoint: The model file's record.
        runtime: The runtime that runs the network.
    """

    checkpoint: Checkpoint
    runtime: "Runtime"

    @classmethod
    def load(cls, path: Path, settings: Settings) -> "Classifier":
        """Load a checkpoint and run it once.

        Args:
            path: The model file.
            settings: `runtime`, `precision` and `device` decide how it is run.

        Raises:
            CheckpointError: The file can't be used, or has more classes than messages can store.
            SettingsError: The model can't be run with these settings.
        """
        import numpy as np

        keep_freed()
        content = checkpoints.read(path)
        about = content.checkpoint
        if len(about.classes) > MOST_CLASSES:
            raise CheckpointError(
                f"{path}: it has {len(about.classes):,} classes, but at most {MOST_CLASSES:,} are possible; "
                "use a checkpoint with fewer."
            )
        classifier = cls(about, runtimes.load(content, choose(about, settings)))
        logits = classifier.runtime.logits(np.zeros((1, *about.preprocessing.shape), np.uint8))
        if logits.shape != (1, about.logits):
            raise CheckpointError(
                f"{path}: it has {len(about.classes)} classes, but its network returns {logits.shape[-1]} logits; "
                "make the file again."
            )
        return classifier

    @property
    def identity(self) -> str:
        """The text that names the model in rows: `Checkpoint.identity` in the runtime's precision."""
        return self.checkpoint.identity(self.runtime.precision)

    def predict(self, pixels: "NDArray[np.uint8]", top: int = TOP) -> Scores:
        """Classify a chunk of images.

        Args:
            pixels: uint8 [N, height, width, channels], as the model's preprocessing returns them.
            top: the number of most probable classes to return.
        """
        about = self.checkpoint
        return score(self.runtime.logits(pixels), about.calibration, len(about.classes), top)
