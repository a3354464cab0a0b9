"""`pigeonhole export --int8`: measure a model's activations on images, and write it in int8."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError, ImageError, UsageError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.models import checkpoint, quantise
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.output_names import check_output
from pigeonhole.replacing import check_own
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Location, Root
from pigeonhole.text import counted
from producer.models import exporting

#: More images than that do not widen the ranges.
MOST = 1000
#: What is added to a model's name.
SUFFIX = "-int8"


Item = TypeVar("Item")


@dataclass(frozen=True)
class Exported:
    """A model that was written in int8.

    Args:
        checkpoint: Its record.
        findings: What was done, a line each, for the user.
    """

    checkpoint: Checkpoint
    findings: tuple[str, ...]


@dataclass(frozen=True)
class _Images:
    """Images that ranges are measured on.

    Args:
        pixels: uint8 [N, H, W, C].
        found: How many the source has.
        failed: How many of those taken could not be read.
        reason: Why the first of them could not.
    """

    pixels: NDArray[np.uint8]
    found: int
    failed: int
    reason: str

    def describe(self) -> str:
        """Return what was read, as one line."""
        line = f"ranges of activations are measured on {counted(len(self.pixels), 'image')} of {self.found:,}"
        if not self.failed:
            return line
        return f"{line}; {self.failed:,} of those taken could not be read, the first for this reason: {self.reason}"


def export(
    model: Path, source: str, output: Path, name: str | None, settings: Settings, overwrite: bool = False
) -> Exported:
    """Write a model in int8.

    Args:
        model: The model file, in f32.
        source: A folder or an archive of images such as the model was trained on; at most 1,000 are read.
        output: The file; an ONNX file if its name ends in `.onnx`, otherwise a model file.
        name: Of the model in int8; None: the model's, and "-int8".
        settings: Limits of an image.
        overwrite: Replace the output even if it is not an earlier export of this model.

    Raises:
        CheckpointError: The model can't be read or quantised, or no image can be read.
        TrainingError: The output can't be written.
        UsageError: The output or the source is something else.
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
    """Read images of a source, spread evenly over it."""
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
    """Return at most that many items, spread evenly over all, and the number of all; it holds twice as many at once."""
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
    """Return whether a file is a model file of that name that was quantised."""
    try:
        about = checkpoint.describe(file)
    except CheckpointError:
        return False
    return about.name == name and "quantised" in about.trained
