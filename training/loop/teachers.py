"""Checkpoints that another training learns from."""

from dataclasses import dataclass

from torch import Tensor, nn

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Checkpoint
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Teacher:
    """A checkpoint to learn from.

    Args:
        name: As it was asked for: a file, or what a shipped one is called.
        described: What it says of itself.
        network: Gives calibrated logits.
    """

    name: str
    described: Checkpoint
    network: nn.Module

    def check(self, classes: tuple[str, ...], preprocessing: Preprocessing, recipe: Recipe) -> None:
        """See that it can teach a training.

        Raises:
            TrainingError: It is of other classes or pictures than those of the training.
        """
        described = self.described
        for what, theirs, ours in (
            ("classes", ", ".join(described.classes), ", ".join(classes)),
            ("preprocessing", _words(described.preprocessing), _words(preprocessing)),
            ('logit for "none of these"', _yes(described.calibration.outlier), _yes(recipe.outlier)),
        ):
            if theirs != ours:
                raise TrainingError(
                    f"{self.name}: it can't be a teacher here. Its {what}: {theirs}; this training's: {ours}. "
                    "Name one that was trained the same way."
                )


def load(name: str, device: str) -> Teacher:
    """A checkpoint to learn from.

    Raises:
        TrainingError: It can't be read.
    """
    described, network = checkpoint.load(checkpoint.find(name), device)
    return Teacher(name, described, _Calibrated(network, described.calibration.temperature).eval())


class _Calibrated(nn.Module):
    """A network whose softmax gives its checkpoint's probabilities."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, C] → float32 logits [N, L], divided by the temperature."""
        logits: Tensor = self.network(pixels).float() / self.temperature
        return logits


def _words(seen: Preprocessing) -> str:
    return f"{seen.kind}, {seen.width} x {seen.height} x {seen.channels}"


def _yes(there: bool) -> str:
    return "yes" if there else "no"
