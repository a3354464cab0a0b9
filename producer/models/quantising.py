"""`pigeonhole export --int8`: measures a model's activations on images, and writes it in int8."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError, ImageError, UsageError
from pigeonhole.filesystem.replacing import check_own
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.models import checkpoint, quantise
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.output_names import check_output
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Location, Root
from pigeonhole.text import counted
from producer.models import exporting

#: The most images to read; more do not widen the ranges.
MOST = 1000
#: The suffix of the new model's name.
SUFFIX = "-int8"


Item = TypeVar("Item")


@dataclass(frozen=True)
class Exported:
    """A model that was written in int8.

    Args:
        checkpoint: The model's record.
        findings: Notes for the user, a line each.
    """

    checkpoint: Checkpoint
    findings: tuple[str, ...]


@dataclass(frozen=True)
class _Images:
    """Images to measure ranges on.

    Args:
        pixels: The images, uint8 [N, H, W, C].
        found: The number of images in the source.
        failed: The number of chosen images that could not be read.
        reason: The error of the first of these.
    """

    pixels: NDArray[np.uint8]
    found: int
    failed: int
    reason: str

    def describe(self) -> str:
        """Return the numbers of images as a line of text."""
        line = f"ranges of activations are measured on {counted(len(self.pixels), 'image')} of {self.found:,}"
        if not self.failed:
            return line
        return f"{line}; {self.failed:,} could not be read, the first with the error: {self.reason}"


def export(
    model: Path, source: str, output: Path, name: str | None, settings: Settings, overwrite: bool = False
) -> Exported:
    """Write a model in int8.

    Args:
        model: The model file, in f32.
        source: A folder or an archive of images like the training images; at most 1,000 are read.
        output: The file to write; an ONNX file if its name ends in `.onnx`, otherwise a model file.
        name: The name of the int8 model; None: the model's name with "-int8".
        settings: The limits of an image.
        overwrite: Replace the output even if it is not an earlier export of this model.

    Raises:
        CheckpointError: The model can't be read or quantised, or no image can be read.
        TrainingError: The output can't be written.
        UsageError: The output exists and is not an earlier export, or the source is a list.
    """
    content = checkpoint.read(model)
    quantise.check(content)
    about = content.checkpoint
    name = checkpoint.check_name(about.name + SUFFIX if name is None else name)
    as_onnx = output.suffix.lower() == ".onnx"
    if not as_onnx:
        check_output(output)
    check_own(output, lambda file: (exporting.is_export if as_onnx else _is_quantised)(file, name), overwrite)
    images = _read(source, about.preprocessing, settings)
    if not as_onnx:
        made = quantise.quantise(content, images.pixels, output, name)
    else:
        with TemporaryDirectory(prefix="pigeonhole-") as folder:
            whole = Path(folder) / f"{name}{checkpoint.SUFFIX}"
            made = quantise.quantise(content, images.pixels, whole, name)
            exporting.export(whole, output, overwrite=True)
    return Exported(
        made.checkpoint,
        (images.describe(), f"int8 gives the label of f32 for {made.same:,} of {counted(made.images, 'image')}"),
    )


def _read(source: str, preprocessing: Preprocessing, settings: Settings) -> _Images:
    """Read images that are spread evenly over a source."""
    if source == "-" or source.startswith("@"):
        raise UsageError(f"--images takes a folder or an archive of images, not the list {source!r}.")
    root = Root("/")
    chosen, found = spread(expand([source], root), MOST)
    reader = ImageReader(root.path, preprocessing, settings.max_bytes, settings.max_pixels)
    pixels, failed, reason = [], 0, ""
    try:
        for reference in chosen:
            location = Location(reference.scheme, reference.root, reference.path, reference.place)
            try:
                pixels.append(reader.pixels(location))
            except ImageError as exc:
                failed += 1
                reason = reason or f"{reference.shown}{reference.path}: {exc}"
    finally:
        reader.close()
    if not pixels:
        raise CheckpointError(
            f"{source}: none of {counted(failed, 'image')} can be read ({reason}); give images that the model can read."
        )
    return _Images(np.stack(pixels), found, failed, reason)


def spread(items: Iterable[Item], most: int) -> tuple[list[Item], int]:
    """Return some items, spread evenly, and the number of all.

    Args:
        items: All items; they are not kept in memory.
        most: The most items to return; twice that number are in memory at once.
    """
    kept, step, count = list[Item](), 1, 0
    for item in items:
        if count % step == 0:
            kept.append(item)
            if len(kept) == 2 * most:
                kept, step = kept[::2], 2 * step
        count += 1
    if len(kept) > most:
        kept = [kept[number * len(kept) // most] for number in range(most)]
    return kept, count


def _is_quantised(file: Path, name: str) -> bool:
    """Return whether a file is a quantised model file with this name."""
    try:
        about = checkpoint.describe(file)
    except CheckpointError:
        return False
    return about.name == name and "quantised" in about.trained
