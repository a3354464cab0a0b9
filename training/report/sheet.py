"""The contact sheet of a report as a matplotlib figure: the worst mistakes with their images."""

import math

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from training.evaluation.measure import Evaluated
from training.report.figures import Theme
from training.report.fonts import drawable

SHEET = 40  # mistakes
_COLUMNS = 8
_WIDTH = 1.35  # inches of a column
_LONGEST = 16  # characters of a class name that fit into a column
_LINE = 0.135  # inches of a line of text


def sheet(evaluated: Evaluated, theme: Theme) -> Figure:
    """Plot the worst mistakes: each image with its true label, predicted label and confidence."""
    report = evaluated.report
    worst = report.worst(SHEET)
    titles = [_title(evaluated, index) for index in worst]
    rows = max(1, math.ceil(len(worst) / _COLUMNS))
    lines = 2 + max((title.count("\n") for title in titles), default=0)  # with the image's name below it
    height, width = evaluated.images.shape[1:3]
    figure = Figure(
        figsize=(_WIDTH * _COLUMNS, (0.9 * _WIDTH * height / width + lines * _LINE + 0.25) * rows), layout="constrained"
    )
    cells = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for axes, index, title in zip(cells.flat, worst, titles, strict=False):
        axes.imshow(picture(evaluated.images[index]), cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=8, color=theme.muted if report.marked[index] else theme.ink)
        axes.text(
            0.5, -0.04, drawable(evaluated.names[index], index), fontsize=6, ha="center", va="top",
            transform=axes.transAxes, color=theme.muted,
        )  # fmt: skip
    return figure


def _title(evaluated: Evaluated, index: int) -> str:
    report = evaluated.report
    truth, predicted = (
        drawable(report.classes[which[index]], int(which[index]), _LONGEST)
        for which in (report.truths, report.predictions)
    )
    apart = " " if len(truth + predicted) <= 10 else "\n"
    return f"{truth}{apart}read as{apart}{predicted}\n{report.after.confidence[index]:.2%}"


def picture(pixels: Tensor) -> NDArray[np.uint8]:
    """Return an image for matplotlib: uint8 [H, W, C] → [H, W] for grey, [H, W, 3] for colour."""
    picture: NDArray[np.uint8] = pixels.numpy()
    return picture[:, :, 0] if picture.shape[2] == 1 else picture
