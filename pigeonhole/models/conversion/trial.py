"""Run a graph of unknown origin on a few images, and find out what it returns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion.foreign import shown
from pigeonhole.models.conversion.wrap import Meaning
from pigeonhole.models.graph import INPUT

_CLOSE = 1e-3  # logits that differ by less, and by less than this share of the largest, are equal
_SUM = 1e-3  # by which a sum of probabilities may miss 1, in half precision

Output = NDArray[np.generic]


class Refused(CheckpointError):
    """Raised when ONNX Runtime can't load or compute a graph."""


def images(shape: Sequence[int], count: int) -> NDArray[np.uint8]:
    """Return images that differ in brightness, contrast and structure: uint8 [count, H, W, C], the same each time."""
    height, width, channels = shape
    drawn = np.random.default_rng(1)
    rows, columns = (np.arange(size) * 8 // size for size in (height, width))
    found = np.empty((count, height, width, channels), np.uint8)
    for image, contrast in zip(found, np.linspace(0.2, 1, count), strict=True):
        coarse = drawn.integers(-128, 128, (8, 8, channels)) * contrast
        image[:] = (coarse[rows][:, columns] + drawn.integers(116, 140, image.shape, np.int16)).clip(0, 255)
    return found


def session(model: ModelProto) -> "Session":
    """Load a graph.

    Raises:
        Refused: ONNX Runtime can't.
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
        except Exception as exc:  # its exceptions have no common base but this
            raise Refused(f"ONNX Runtime can't load its graph: {shown(exc)}") from exc
        self.names = [each.name for each in self._session.get_outputs()]

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, Output]:
        """Return the outputs that are arrays, by name.

        Args:
            pixels: uint8 [N, H, W, C].

        Raises:
            Refused: ONNX Runtime can't compute them.
        """
        try:
            values = self._session.run(None, {INPUT: pixels})
        except Exception as exc:  # likewise
            raise Refused(f"ONNX Runtime can't compute its graph for {len(pixels)} images: {shown(exc)}") from exc
        return {name: each for name, each in zip(self.names, values, strict=True) if isinstance(each, np.ndarray)}


def output_of(outputs: dict[str, Output], classes: int | None) -> str:
    """Return the name of the one output that has a value for each class.

    Args:
        outputs: Of one image.
        classes: How many there are; None: any number of at least 2.

    Raises:
        CheckpointError: None has, or several have.
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
    """Return what the values of many images are.

    Args:
        values: float [N, L].
        multi_label: Whether the model is said to have labels that do not exclude each other.

    Raises:
        CheckpointError: They are not finite, the same for all images, or contradict `multi_label`.
    """
    rows = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise CheckpointError("It returns values that are no numbers (NaN or infinity): the file is damaged.")
    if np.ptp(rows, axis=0).max() == 0:
        raise CheckpointError("It returns the same values whatever the image: the file is damaged or not trained.")
    if rows.min() < 0 or rows.max() > 1 + _SUM:
        return Meaning.LOGITS
    exclusive = np.abs(rows.sum(axis=1) - 1).max() < _SUM
    if exclusive and multi_label:
        raise CheckpointError(
            "Its values are probabilities that add up to 1, so an image has one label: leave out --multi-label."
        )
    if not exclusive and not multi_label:
        raise CheckpointError(
            "Its values lie between 0 and 1 and do not add up to 1: a probability for each label on its own. "
            "Give --multi-label if an image may have several labels."
        )
    return Meaning.PROBABILITIES if exclusive else Meaning.SIGMOIDS


def differs(found: Output, wanted: Output) -> bool:
    """Return whether logits differ by more than rounding."""
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
