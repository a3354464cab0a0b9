"""Evaluation, whole: a checkpoint's figures on labelled images. What is said is the caller's business."""

from dataclasses import dataclass
from pathlib import Path

from training import checkpoint, data, environment, loop, report
from training.checkpoint import Checkpoint
from training.errors import CheckpointError, TrainingError


@dataclass(frozen=True)
class Evaluated:
    """A checkpoint's report on labelled images, and which of them could not be read."""

    checkpoint: Checkpoint
    report: report.Report
    failed: tuple[tuple[Path, TrainingError], ...] = ()


def evaluate(path: Path, source: Path, dataset: str, device: str = "auto") -> Evaluated:
    """Measure a checkpoint on MNIST's test images or on a folder of class folders.

    Args:
        path: Of the checkpoint.
        source: The folder.
        dataset: "mnist" or "folder".
        device: "auto", "cpu" or "cuda".

    Returns:
        The figures.

    Raises:
        TrainingError: The checkpoint, the data or the device won't do.
    """
    chosen = environment.device(device)
    described, network = checkpoint.load(path, chosen)
    failed: tuple[tuple[Path, TrainingError], ...] = ()
    if dataset == "mnist":
        if described.classes != data.MNIST_CLASSES:
            raise CheckpointError(f"{path} tells apart {', '.join(described.classes)}, not MNIST's digits 0 to 9.")
        split = data.mnist(source, "test", described.preprocessing)
    else:
        read = data.folder(source, described.classes, described.preprocessing)
        split, failed = read.split, read.failed
    logits = loop.predict(network, split.images.to(chosen))
    return Evaluated(described, report.measure(logits, split.labels, described.classes, described.calibration), failed)
