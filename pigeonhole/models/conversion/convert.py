"""Convert an ONNX file of unknown origin to a graph of our form: bytes in, logits out, any number of images."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion import foreign, trial, wrap
from pigeonhole.models.conversion.layout import Placement, placements
from pigeonhole.models.conversion.trial import Session
from pigeonhole.models.conversion.wrap import Meaning, Normalisation
from pigeonhole.models.export import BATCHES
from pigeonhole.models.graph import OUTPUT

_TRIED = 16  # test images, to find out whether the graph returns logits or probabilities


@dataclass(frozen=True)
class Converted:
    """A graph of our form, and findings about the file that it was converted from.

    Args:
        graph: The ONNX model: `pixels`, uint8 [N, H, W, C] → `logits`, float32 [N, L].
        placement: The layout and size of the file's input.
        logits: L, the number of logits.
        meaning: The kind of values that the file's graph returns.
        batches: The number of images that the file's graph takes at once, in words.
        producer: The name of the program that wrote the file, as the file says.
        parameters: The number of trained parameters.
    """

    graph: bytes
    placement: Placement
    logits: int
    meaning: Meaning
    batches: str
    producer: str
    parameters: int

    def describe(self) -> str:
        """Return the findings as one line."""
        size = self.placement
        return (
            f"layout {size.layout}, {size.width} x {size.height} pixels, "
            f"{'grey' if size.channels == 1 else 'RGB'}; {self.batches}; it returns {self.logits:,} {self.meaning}"
        )


def convert(
    model: ModelProto,
    normalisation: Normalisation,
    size: tuple[int, int] | None = None,
    classes: int | None = None,
    multi_label: bool = False,
) -> Converted:
    """Convert a model.

    Args:
        model: The file's model, as `foreign.parse` returns it.
        normalisation: The normalisation of pixels that the model needs.
        size: Height and width for a graph that takes any size; None: 224 x 224.
        classes: The number of classes, if it is known.
        multi_label: Whether an image may have several labels.

    Raises:
        CheckpointError: The model does not take images, does not return classes, or can't be run.
    """
    placement, outputs = _first_that_runs(model, normalisation, size)
    name = trial.output_of(outputs, classes)
    shape = outputs[name].shape
    pixels = trial.images(placement.shape, _TRIED)

    def built(batch: int | None, meaning: Meaning) -> ModelProto:
        whole = wrap.with_pixels(model, replace(placement, batch=batch), normalisation)
        return wrap.with_logits(whole, name, meaning, shape, batch)

    single = trial.session(built(1, Meaning.LOGITS))
    meaning = trial.meaning_of(_one_by_one(single, pixels), multi_label)
    wanted = _one_by_one(trial.session(built(1, meaning)), pixels[: max(BATCHES)])
    graph, batches = _batched(lambda batch: built(batch, meaning), placement, wanted, pixels)
    return Converted(
        graph.SerializeToString(deterministic=True),
        placement,
        int(shape[1]),
        meaning,
        batches,
        foreign.shown(f"{model.producer_name} {model.producer_version}".strip()) if model.producer_name else "",
        sum(int(np.prod(each.dims)) for each in model.graph.initializer if len(each.dims)),
    )


def _first_that_runs(
    model: ModelProto, normalisation: Normalisation, size: tuple[int, int] | None
) -> tuple[Placement, dict[str, trial.Output]]:
    """Return the first placement with which the model runs, and its outputs for one image."""
    first: CheckpointError | None = None
    for placement in placements(foreign.image_input(model), size):
        try:
            # Tried with one image, also if the file fixes the batch at another number.
            session = trial.session(wrap.with_pixels(model, replace(placement, batch=1), normalisation))
            return placement, session.run(trial.images(placement.shape, 1))
        except CheckpointError as exc:
            first = first or exc
    assert first is not None  # `placements` returns at least one
    raise first


def _batched(
    built: Callable[[int | None], ModelProto], placement: Placement, wanted: trial.Output, pixels: NDArray[np.uint8]
) -> tuple[ModelProto, str]:
    """Return a model that takes any number of images, and the way it does so, in words."""
    reason = ""
    was = "" if placement.batch is None else f" (the file says {placement.batch})"
    for graph in (built(None), wrap.with_free_batch(built(None))):
        try:
            session = trial.session(graph)
            if not any(_is_wrong(session, pixels[:count], wanted[:count]) for count in BATCHES):
                return graph, f"any number of images at a time{was}"
            reason = reason or "it mixes the images of a batch"
        except trial.Refused as exc:
            reason = reason or str(exc)
    graph = wrap.image_by_image(built(1), placement, wanted.shape[1])
    session = trial.session(graph)
    if any(_is_wrong(session, pixels[:count], wanted[:count]) for count in BATCHES):
        raise CheckpointError(f"Its graph can't take any number of images ({reason}).")
    return graph, "one image at a time, run for each image of a batch"


def _is_wrong(session: Session, pixels: NDArray[np.uint8], wanted: trial.Output) -> bool:
    return trial.differs(session.run(pixels)[OUTPUT], wanted)


def _one_by_one(session: Session, pixels: NDArray[np.uint8]) -> trial.Output:
    rows = [session.run(pixels[at : at + 1])[OUTPUT] for at in range(len(pixels))]
    if {row.shape for row in rows} != {rows[0].shape}:
        raise CheckpointError("It returns a different number of values for each image.")
    found: trial.Output = np.concatenate(rows)
    return found
