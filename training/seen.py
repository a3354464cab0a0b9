"""One picture as a checkpoint sees it: what the preprocessing did with it, and what the network answers."""

import io
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pigeonhole import files
from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.imaging import decode, preprocess
from pigeonhole.imaging.digits.form import Box
from pigeonhole.imaging.digits.normalise import Trace
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Checkpoint
from training.datasets.files.pictures import MAX_PIXELS


@dataclass(frozen=True)
class Seen:
    """What became of a picture.

    Args:
        checkpoint: Of the network.
        image: The picture's file.
        size: Of the picture, upright: width and height in pixels.
        pixels: What the network sees: uint8 [height, width, channels].
        trace: What the normalisation did, in a picture of `trace.size`; None where the preprocessing has none.
        label: The likeliest class.
        confidence: Its calibrated probability, 0…1.
        sureness: What decides whether a person should look, 0…1 (`Calibration.sureness`).
    """

    checkpoint: Checkpoint
    image: Path
    size: tuple[int, int]
    pixels: NDArray[np.uint8]
    trace: Trace | None
    label: str
    confidence: float
    sureness: float

    @property
    def review(self) -> bool:
        """Whether the picture is marked for review."""
        return self.sureness < self.checkpoint.calibration.review_below

    @property
    def box(self) -> Box | None:
        """The part of the upright picture that the digit was found in: left, top, right, bottom in its pixels."""
        if self.trace is None:
            return None
        x, y = (whole / decoded for whole, decoded in zip(self.size, self.trace.size, strict=True))
        left, top, right, bottom = self.trace.box
        return int(left * x), int(top * y), round(right * x), round(bottom * y)

    def to_json(self) -> dict[str, Any]:
        """All but the pixels as plain JSON values."""
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
            "sureness": self.sureness,
            "review": self.review,
        }


def look(path: Path, image: Path) -> Seen:
    """Show a picture to a checkpoint's network.

    Args:
        path: Of the checkpoint.
        image: The picture's file.

    Raises:
        TrainingError: One of them can't be read, or the picture can't be decoded or is blank.
    """
    import torch

    from pigeonhole.models import scores

    described, network = checkpoint.load(path)
    try:
        content = image.read_bytes()
        decoded = preprocess.decode(content, described.preprocessing, MAX_PIXELS)
        pixels, trace = preprocess.traced(described.preprocessing, decoded)
        size = decode.upright_size(content, MAX_PIXELS)
    except OSError as exc:
        raise TrainingError(f"{image}: can't be read ({exc.strerror or exc}); check the path.") from exc
    except ImageError as exc:
        raise TrainingError(f"{image}: {exc}") from exc
    classes = len(described.classes)
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels[None])).numpy()  # float32 [1, logits]
    label = described.classes[int(scores.likeliest(logits, classes)[0])]
    confidence = float(scores.confidences(logits, described.calibration, classes)[0])
    sureness = float(scores.review_scores(logits, described.calibration, classes)[0])
    return Seen(described, image, size, pixels, trace, label, confidence, sureness)


def save(seen: Seen, output: Path | None) -> Path:
    """Write the picture that the network saw as PNG.

    Args:
        seen: Of which.
        output: The file; None: the picture's name with "-seen.png", in the working folder.

    Returns:
        The file.

    Raises:
        TrainingError: It can't be written, or is the picture itself.
    """
    output = output or Path(f"{seen.image.stem}-seen.png")
    if output.exists() and os.path.samefile(output, seen.image):
        raise TrainingError(f"{output} is the picture itself, which is not overwritten; choose another -o.")
    picture = Image.fromarray(seen.pixels[:, :, 0] if seen.pixels.shape[2] == 1 else seen.pixels)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    files.write(output, buffer.getvalue())
    return output


def text(seen: Seen, output: Path) -> str:
    """Say it in lines for a person; `output` is the picture that the network saw."""
    width, height = seen.size
    rows = [("image", f"{seen.image}, {width:,} x {height:,} pixels"), *_done(seen)]
    rows.append(("seen", f"{output}, {seen.pixels.shape[1]} x {seen.pixels.shape[0]} pixels"))
    limit = seen.checkpoint.calibration.review_below
    doubtful = f"marked for review: sureness {seen.sureness:.2%}, below {limit:.2%}"
    doubt = doubtful if seen.review else "not marked for review"
    rows.append(("answer", f"{seen.label}, confidence {seen.confidence:.2%}, {doubt}"))
    return "\n".join(f"{title:<14} {value}" for title, value in rows)


def _done(seen: Seen) -> list[tuple[str, str]]:
    done, box = seen.trace, seen.box
    if done is None or box is None:
        cropped = seen.checkpoint.preprocessing.kind == "crop"
        return [("preprocessing", f"{'the middle, scaled' if cropped else 'stretched'} to the network's size")]
    rows = []
    if done.size != seen.size:
        rows.append(("decoded", f"{done.size[0]:,} x {done.size[1]:,} pixels: a JPEG is shrunk while it is decoded"))
    if done.unchanged:
        return [*rows, ("preprocessing", "none: it has the form of MNIST's images already")]
    ink = "dark ink: inverted" if done.dark else "bright ink: not inverted"
    light = "uneven, by shadow or fog: flattened" if done.flattened else "even"
    rows.append(("paper", f"grey level {done.paper} of 255, {light}; {ink}"))
    specks = [f"{done.specks} speck{'s' if done.specks > 1 else ''}"] if done.specks else []
    away = (["lines"] if done.lines else []) + specks
    rows.append(("taken away", " and ".join(away) or "nothing"))
    left, top, right, bottom = box
    rows.append(("digit", f"columns {left:,} to {right:,}, rows {top:,} to {bottom:,}"))
    return rows
