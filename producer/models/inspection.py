"""Inspects one image: the steps of its preprocessing, and the network's result."""

import io
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.filesystem import files
from pigeonhole.filesystem.replacing import check_own
from pigeonhole.imaging import decode, preprocess
from pigeonhole.imaging.digits.form import Box
from pigeonhole.imaging.digits.normalise import Trace
from pigeonhole.ledger.wire.rows import SEPARATOR
from pigeonhole.models import scores
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings

#: The mark of a file that `save` wrote, and the most bytes before its pixels.
_SOFTWARE, _BEFORE_PIXELS = "pigeonhole inspect", 4096


@dataclass(frozen=True)
class Inspection:
    """The result of one image, and the steps to it.

    Args:
        checkpoint: The model's record.
        image: Path of the image.
        size: Width and height of the upright image, in pixels.
        pixels: The network's input: uint8 [height, width, channels].
        trace: The steps of the normalisation, for an image of `trace.size`; None if the preprocessing has no trace.
        label: The most probable class; for a multi-label model all labels, joined by "|", or empty.
        confidence: The calibrated probability of the most probable class, 0…1.
        review_score: Decides whether the image is marked for review, 0…1 (`Calibration.review_score`).
    """

    checkpoint: Checkpoint
    image: Path
    size: tuple[int, int]
    pixels: NDArray[np.uint8]
    trace: Trace | None
    label: str
    confidence: float
    review_score: float

    @property
    def review(self) -> bool:
        """Return True if the image is marked for review."""
        below = self.checkpoint.calibration.review_below
        return bool(scores.marked(np.array([self.review_score]), below)[0])

    @property
    def box(self) -> Box | None:
        """Return the digit's box in the upright image: left, top, right, bottom in pixels."""
        if self.trace is None:
            return None
        x, y = (whole / decoded for whole, decoded in zip(self.size, self.trace.size, strict=True))
        left, top, right, bottom = self.trace.box
        return int(left * x), int(top * y), round(right * x), round(bottom * y)

    def to_json(self) -> dict[str, Any]:
        """Return everything except the pixels as JSON values."""
        done = None
        if self.trace is not None:
            done = {key: value for key, value in asdict(self.trace).items() if key not in ("pixels", "size")}
            done |= {"box": self.box, "decoded": self.trace.size}
        return {
            "checkpoint": {"name": self.checkpoint.name, "digest": self.checkpoint.digest},
            "image": str(self.image),
            "size": self.size,
            "preprocessing": self.checkpoint.preprocessing.to_json(),
            "normalisation": done,
            "label": self.label,
            "confidence": self.confidence,
            "review_score": self.review_score,
            "review": self.review,
        }


def inspect(path: Path, image: Path, settings: Settings) -> Inspection:
    """Classify one image and record its preprocessing.

    Args:
        path: The model file.
        image: Path of the image.
        settings: The limits of an image, and the runtime.

    Raises:
        TrainingError: A file can't be read, or the image can't be decoded or is blank.
    """
    classifier = Classifier.load(path, settings)
    described, max_pixels = classifier.checkpoint, settings.max_pixels
    try:
        content = image.read_bytes()
        decoded = preprocess.decode(content, described.preprocessing, max_pixels)
        pixels, trace = described.preprocessing.traced(decoded)
        size = decode.upright_size(content, max_pixels)
    except OSError as exc:
        raise TrainingError(f"{image}: can't be read ({exc.strerror or exc}); check the path.") from exc
    except ImageError as exc:
        raise TrainingError(f"{image}: {exc}") from exc
    logits = classifier.runtime.logits(pixels[None])  # float32 [1, logits]
    calibration, classes = described.calibration, len(described.classes)
    return Inspection(
        described,
        image,
        size,
        pixels,
        trace,
        label=_label(logits, described),
        confidence=float(scores.confidences(logits, calibration, classes)[0]),
        review_score=float(scores.review_scores(logits, calibration, classes)[0]),
    )


def _label(logits: NDArray[np.float32], described: Checkpoint) -> str:
    names = described.classes
    labels = scores.score(logits, described.calibration, len(names), 1).labels
    if labels is None:
        return names[int(scores.likeliest(logits, len(names))[0])]
    return SEPARATOR.join(names[index] for index in labels.best.tolist())


def save(inspected: Inspection, output: Path | None, overwrite: bool = False) -> Path:
    """Write the network's input as a PNG file.

    Args:
        inspected: The inspection.
        output: Path of the file; None: the image's name with "-seen.png", in the working folder.
        overwrite: Replace the file even if `save` did not write it.

    Returns:
        The path of the file.

    Raises:
        TrainingError: The file can't be written, or is the image itself.
        UsageError: The file exists, and `save` did not write it.
    """
    output = output or Path(f"{inspected.image.stem}-seen.png")
    if output.exists() and os.path.samefile(output, inspected.image):
        raise TrainingError(f"{output} is the image itself and is not overwritten; choose another -o.")
    check_own(output, _is_ours, overwrite)
    pixels = inspected.pixels
    buffer, about = io.BytesIO(), PngInfo()
    about.add_text("Software", _SOFTWARE)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", pnginfo=about)
    files.write(output, buffer.getvalue())
    return output


def _is_ours(file: Path) -> bool:
    with file.open("rb") as content:
        return b"Software\0" + _SOFTWARE.encode() in content.read(_BEFORE_PIXELS)


def text(inspected: Inspection, output: Path) -> str:
    """Return the inspection as lines of text.

    Args:
        inspected: The inspection.
        output: Path of the file with the network's input.
    """
    width, height = inspected.size
    rows = [("image", f"{inspected.image}, {width:,} x {height:,} pixels"), *_steps(inspected)]
    rows.append(("input", f"{output}, {inspected.pixels.shape[1]} x {inspected.pixels.shape[0]} pixels"))
    limit = inspected.checkpoint.calibration.review_below
    marked = f"marked for review: review score {inspected.review_score:.2%}, below {limit:.2%}"
    review = marked if inspected.review else "not marked for review"
    rows.append(("result", f"{inspected.label or 'no label'}, confidence {inspected.confidence:.2%}, {review}"))
    return "\n".join(f"{title:<14} {value}" for title, value in rows)


def _steps(inspected: Inspection) -> list[tuple[str, str]]:
    done, box = inspected.trace, inspected.box
    if done is None or box is None:
        return [("preprocessing", inspected.checkpoint.preprocessing.summary)]
    rows = []
    if done.size != inspected.size:
        rows.append(("decoded", f"{done.size[0]:,} x {done.size[1]:,} pixels: a JPEG is shrunk while it is decoded"))
    if done.unchanged:
        return [*rows, ("preprocessing", "none: the image looks like one of MNIST's already")]
    ink = "dark ink: inverted" if done.dark else "bright ink: not inverted"
    light = "uneven, by shadow or fog: flattened" if done.flattened else "even"
    rows.append(("paper", f"grey level {done.paper} of 255, {light}; {ink}"))
    specks = [f"{done.specks} speck{'s' if done.specks > 1 else ''}"] if done.specks else []
    away = (["lines"] if done.lines else []) + specks
    rows.append(("removed", " and ".join(away) or "nothing"))
    left, top, right, bottom = box
    rows.append(("digit", f"columns {left:,} to {right:,}, rows {top:,} to {bottom:,}"))
    return rows
