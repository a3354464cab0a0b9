"""Text for a terminal that describes a model file's record."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.record import Calibration


def text(described: Checkpoint, path: Path) -> str:
    """Return a record as lines of text.

    Args:
        described: The record.
        path: The path of the model file.
    """
    preprocessing, cost, trained = described.preprocessing, described.cost, described.trained
    others = '; and one logit for "unknown"' if described.calibration.outlier else ""
    rows = [
        ("checkpoint", f"{described.name}, {path.stat().st_size:,} bytes, {path}"),
        ("digest", described.digest),
        ("network", described.network),
        ("cost", f"{cost.multiply_adds:,} multiply-adds per image, {cost.parameters:,} parameters"),
        ("classes", f"{len(described.classes)}: {', '.join(described.classes)}{others}"),
        (
            "preprocessing",
            f"{preprocessing.kind}, {preprocessing.width} x {preprocessing.height} pixels, "
            f"{'grey' if preprocessing.channels == 1 else 'RGB'}",
        ),
        ("runtimes", _runtimes_line(described)),
        ("temperature", f"{described.calibration.temperature:g}"),
        *_thresholds(described.calibration),
        ("review", review_line(described)),
        ("trained", _training_line(trained)),
        *_recipe(trained),
    ]
    rows += [(where, _measured_line(figures)) for where, figures in described.measured.items()]
    if "validation" in described.measured and "test" not in described.measured:
        rows.append(("test", "there were no test images; the validation split chose the epoch and the calibration"))
    return "\n".join(f"{title:<14} {value}" for title, value in rows)


def review_line(described: Checkpoint) -> str:
    """Return, in words, the condition for marking an image for review, and the share of marked images."""
    calibration = described.calibration
    if not calibration.review_below:
        return "no image is marked, because the model is not calibrated"
    limit = f"{calibration.review_below:.4f}"
    if calibration.thresholds is not None:
        return f"images with a probability within {limit} of its threshold are marked"
    score = "confidence" if calibration.outlier_in_review == calibration.outlier_in_confidence else "review score"
    return f"{_share(described)} ({score} below {limit})"


def _share(described: Checkpoint) -> str:
    """Return the share of marked images: as measured on the validation images, or as requested in training."""
    figures: Any = described.measured.get("validation")
    budget = described.trained.get("review_budget")
    try:
        marked, images = int(figures["reviews"]), int(figures["images"])
        # If none is marked, the threshold is the lowest of n scores; a new one is lower with probability 1 / (n + 1).
        share = marked / images if marked else 1 / (images + 1)
        of_these = f"{marked:,} of {images:,}" if marked else f"but none of those {images:,}"
        return f"about {share:.1%} of images like the validation images are marked, {of_these}"
    except (KeyError, TypeError, ValueError, ZeroDivisionError):  # another program may have written the record
        if isinstance(budget, int | float):
            return f"at most {budget:.0%} of images like the training images are marked"
        return "uncertain images are marked"


def _recipe(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the line about the recipe's values that differ from the defaults; no line if there are none."""
    overrides = values.get("overrides")
    if not isinstance(overrides, Mapping) or not overrides:
        return []
    return [
        ("recipe", ", ".join(f"{name} {json.dumps(value)}" for name, value in overrides.items()) + "; else the default")
    ]


def _runtimes_line(described: Checkpoint) -> str:
    precision = "" if described.precision == "f32" else f", in {described.precision}"
    why = described.trained.get("onnx")
    return " or ".join(described.runtimes) + precision + (f"; no ONNX graph: {why}" if why else "")


def _thresholds(calibration: Calibration) -> list[tuple[str, str]]:
    """Return the line about the thresholds of a multi-label model; no line for other models."""
    if calibration.thresholds is None:
        return []
    least, most = min(calibration.thresholds), max(calibration.thresholds)
    each = f"{least:g} for each class" if least == most else f"from {least:g} to {most:g}, one for each class"
    return [("labels", f"every class that reaches its threshold: {each}")]


def _measured_line(figures: Any) -> str:  # noqa: ANN401 - JSON of any form, perhaps of another program
    try:
        low, high = figures["interval"]
        return f"{figures['accuracy']:.2%} right of {figures['images']:,} images (95% interval {low:.2%} to {high:.2%})"
    except (KeyError, TypeError, ValueError):
        return json.dumps(figures, ensure_ascii=False)


def _training_line(values: Mapping[str, Any]) -> str:
    try:
        if "imported" in values:
            return f"elsewhere; imported from {values['imported']} at {values['finished']}"
        versions = ", ".join(f"{program} {version}" for program, version in values["versions"].items())
        return (
            f"on {values['training_images']:,} images of {values['dataset']}, {len(values['epochs'])} epochs, "
            + (f"corrected by {', '.join(values['corrections'])}, " if "corrections" in values else "")
            + f"seed {values['seed']}, {values['seconds']:.0f} s on {values['device']}, "
            + f"{values['finished']} ({versions})"
        )
    except (KeyError, TypeError, ValueError, AttributeError):  # another program may have written the JSON
        return "unknown"
