"""Run a graph of unknown origin on a few images, and find out the meaning of its outputs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion.foreign import shown
from pigeonhole.models.conversion.wrap import Meaning
from pigeonhole.models.graph import INPUT

_CLOSE = 1e-3  # tolerance for logits: absolute, or relative to the largest if that is above 1
_SUM = 1e-3  # tolerance for a sum of probabilities, for graphs in half precision

Output = NDArray[np.generic]


class Refused(CheckpointError):
    """Raised when ONNX Runtime can't load or compute a graph."""


def images(shape: Sequence[int], count: int) -> NDArray[np.uint8]:
    """Return test images with different contrast and structure, always the same: uint8 [count, H, W, C]."""
    height, width, channels = shape
    drawn = np.random.default_rng(1)
    rows, columns = (np.arange(size) * 8 // size for size in (height, width))
    found = np.empty((count, height, width, channels), np.uint8)
    for image, contrast in zip(found, np.linspace(0.2, 1, count), strict=True):
        coarse = drawn.integers(-128, 128, (8, 8, channels)) * contrast
        image[:] = (coarse[rows][:, columns] + drawn.integers(116, 140, image.shape, np.int16)).clip(0, 255)
    return found


def session(model: ModelProto) -> "Session":
    """Load a graph in ONNX Runtime.

    Raises:
        Refused: ONNX Runtime can't load it.
    """
    return Session(model.SerializeToString())


class Session:
    """A graph that takes `pixels`, loaded in ONNX Runtime.

    Args:
        graph: The ONNX model.
    """

    def __init__(self, graph: bytes) -> None:
        from pigeonhole.models.runtimes.onnx_runtime import open_session

        try:
            self._session = open_session(graph, {})
        except Exception as exc:  # ONNX Runtime's exceptions have no other common base class
            raise Refused(f"ONNX Runtime can't load its graph: {shown(exc)}") from exc
        self.names = [each.name for each in self._session.get_outputs()]

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, Output]:
        """Run the graph, and return its outputs that are arrays, by name.

        Args:
            pixels: uint8 [N, H, W, C].

        Raises:
            Refused: ONNX Runtime can't compute the outputs.
        """
        try:
            values = self._session.run(None, {INPUT: pixels})
        except Exception as exc:  # as above
            raise Refused(f"ONNX Runtime can't compute its graph for {len(pixels)} images: {shown(exc)}") from exc
        return {name: each for name, each in zip(self.names, values, strict=True) if isinstance(each, np.ndarray)}


def output_of(outputs: dict[str, Output], classes: int | None) -> str:
    """Return the name of the one output that has a value for each class.

    Args:
        outputs: The outputs for one image.
        classes: The number of classes; None: any number from 2.

    Raises:
        CheckpointError: There is no such output, or there are several.
    """
    fitting = {name: each.shape[1] for name, each in outputs.items() if _is_row(each)}
    exact = {name: length for name, length in fitting.items() if length == classes} or fitting
    if len(exact) == 1:
        return next(iter(exact))
    text = ", ".join(f"{shown(name)} {list(each.shape)}" for name, each in outputs.items()) or "none"
    raise CheckpointError(
        f"Its outputs for one image are {text}; a classifier has one with a value for each class, 1 x classes."
    )


def meaning_of(values: Output, multi_label: bool = False) -> Meaning:
    """Return the meaning of the values that a graph returns: logits or probabilities.

    Args:
        values: float [N, L], the values for N images.
        multi_label: Whether the user says that an image may have several labels.

    Raises:
        CheckpointError: The values are not finite, are the same for all images, or contradict `multi_label`.
    """
    rows = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise CheckpointError("It returns NaN or infinity: the file is damaged.")
    if np.ptp(rows, axis=0).max() == 0:
        raise CheckpointError("It returns the same values for every image: the file is damaged or not trained.")
    if rows.min() < 0 or rows.max() > 1 + _SUM:
        return Meaning.LOGITS
    exclusive = np.abs(rows.sum(axis=1) - 1).max() < _SUM
    if exclusive and multi_label:
        raise CheckpointError(
            "It returns probabilities that add up to 1, so an image has one label: leave out --multi-label."
        )
    if not exclusive and not multi_label:
        raise CheckpointError(
            "It returns values from 0 to 1 that do not add up to 1, as independent probabilities of several labels: "
            "give --multi-label if an image may have several labels."
        )
    return Meaning.PROBABILITIES if exclusive else Meaning.SIGMOIDS


def differs(found: Output, wanted: Output) -> bool:
    """Return whether logits differ by more than rounding errors."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return True
    allowed = _CLOSE * max(1.0, float(np.abs(wanted).max()))
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()) > allowed


def _is_row(value: Output) -> bool:
    shape = value.shape
    return (
        np.issubdtype(value.dtype, np.floating)
        and len(shape) >= 2
        and shape[0] == 1
        and shape[1] >= 2
        and all(each == 1 for each in shape[2:])
    )
