"""Checkpoints that another training begins with or learns from."""

from torch import Tensor, nn

from training import checkpoint
from training.checkpoint import Checkpoint
from training.errors import TrainingError
from training.preprocess import Preprocessing
from training.recipe import Recipe


def teacher(
    name: str, classes: tuple[str, ...], preprocessing: Preprocessing, recipe: Recipe, device: str
) -> tuple[Checkpoint, nn.Module]:
    """A checkpoint to learn from, whose network gives calibrated logits.

    Raises:
        TrainingError: It is of other classes or pictures than those of this training, or can't be read.
    """
    path = checkpoint.find(name)
    described = checkpoint.describe(path)
    for what, theirs, ours in (
        ("classes", ", ".join(described.classes), ", ".join(classes)),
        ("preprocessing", _words(described.preprocessing), _words(preprocessing)),
        ('logit for "none of these"', _yes(described.calibration.outlier), _yes(recipe.outlier)),
    ):
        if theirs != ours:
            raise TrainingError(
                f"{path}: it can't be a teacher here. Its {what}: {theirs}; this training's: {ours}. "
                "Name one that was trained the same way."
            )
    described, network = checkpoint.load(path, device)
    return described, _Calibrated(network, described.calibration.temperature).eval()


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
