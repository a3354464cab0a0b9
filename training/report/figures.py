"""The plots of a report as matplotlib figures."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from training.evaluation.measure import Reliability, Report, wilson
from training.report.fonts import drawable, families

DOTS = 150  # per inch
_MOST_NAMES = 100  # classes; of more, not every name is written beside the matrix
_SUREST = 1 - 1e-4  # higher confidences are drawn here, since the scale of log odds has no end

_PERCENT = FuncFormatter(lambda share, _place: f"{100 * share:.6g}%")


@dataclass(frozen=True)
class Theme:
    """Colours of a plot, as in the style of the page.

    Args:
        card: Background.
        ink: Text and axes.
        muted: Secondary text and lines.
        line: Grid.
        good: Right images, and figures after calibration.
        bad: Wrong images, and figures before calibration.
    """

    card: str
    ink: str
    muted: str
    line: str
    good: str
    bad: str


LIGHT = Theme("#ffffff", "#1a212b", "#566072", "#dde2e9", "#1f5cb8", "#c67c12")
DARK = Theme("#1a2029", "#e8ecf1", "#a4afbe", "#2e3744", "#82b4ff", "#e0a040")


@dataclass(frozen=True)
class Curve:
    """The measures of one epoch: number, training loss, and accuracy and loss on the validation split."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float


def render(draw: Callable[[Theme], Figure], theme: Theme, texts: Sequence[str] = ()) -> bytes:
    """Render a figure as a PNG file; the same figure gives the same bytes.

    Args:
        draw: Function that draws the figure.
        theme: Colours.
        texts: Texts in the figure, in any script, which decide on the fonts.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context(
        {
            "figure.facecolor": theme.card,
            "axes.facecolor": theme.card,
            "axes.edgecolor": theme.muted,
            "axes.labelcolor": theme.ink,
            "axes.titlesize": "medium",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.color": theme.ink,
            "xtick.color": theme.muted,
            "ytick.color": theme.muted,
            "grid.color": theme.line,
            "legend.edgecolor": theme.card,
            "legend.framealpha": 0.85,
            "font.family": families(texts),
            "text.parse_math": False,  # a class may be named "$5"
            "savefig.dpi": DOTS,
            "savefig.bbox": "tight",
        }
    ):
        draw(theme).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def curves(epochs: Sequence[Curve], kept: int | None, theme: Theme) -> Figure:
    """Plot loss and accuracy by epoch; `kept` is the number of the chosen epoch, or None if it is unknown."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    numbers = [epoch.number for epoch in epochs]
    marker = "o" if len(epochs) < 40 else ""
    style = {"marker": marker, "markersize": 3.5}
    losses.semilogy(numbers, [each.loss for each in epochs], color=theme.bad, label="training", **style)
    losses.semilogy(
        numbers, [each.validation_loss for each in epochs], color=theme.good, label="validation, nats", **style
    )
    losses.set_title("loss")
    accuracies.plot(numbers, [each.accuracy for each in epochs], color=theme.good, label="validation", **style)
    accuracies.set_title("accuracy on the validation split")
    accuracies.yaxis.set_major_formatter(_PERCENT)
    _label_logarithms(losses, (1, 2, 5))
    for axes in (losses, accuracies):
        if kept is not None:
            axes.axvline(kept, color=theme.muted, linestyle=":", label=f"chosen epoch, {kept}")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.6)
    losses.legend()
    return figure


def confusion(report: Report, theme: Theme) -> Figure:
    """Plot the confusion matrix: shares of each row, wrong ones in another colour and on a log scale."""
    size = len(report.classes)
    cell = max(0.2, min(0.55, 6 / size)) if size <= _MOST_NAMES else 20 / size  # inches
    figure = Figure(figsize=(cell * size + 2.2, cell * size + 1.6), layout="constrained")
    axes = figure.subplots()
    counts = np.array(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # [classes, classes], 0…1
    diagonal = np.eye(size, dtype=bool)
    wrong = np.where(diagonal | (shares == 0), np.nan, shares)
    least = float(np.nanmin(wrong)) if np.isfinite(wrong).any() else 0.01
    scale = LogNorm(min(least, 0.1), 1)
    shown = axes.imshow(wrong, cmap=_ramp(theme.card, theme.bad, 0.2), norm=scale)
    axes.imshow(np.where(diagonal, shares, np.nan), cmap=_ramp(theme.card, theme.good, 0.0), vmin=0, vmax=1)
    bar = figure.colorbar(shown, ax=axes, shrink=0.5, label="wrong: share of the true class")
    bar.ax.yaxis.set_major_formatter(_PERCENT)
    bar.outline.set_visible(False)
    step = -(-size // _MOST_NAMES)  # rounded up
    ticks = range(0, size, step)
    names = [drawable(report.classes[index], index) for index in ticks]
    points = min(10.0, 0.75 * 72 * cell * step)
    upright = max(map(len, names)) > 2
    axes.set_xticks(ticks, names, rotation=90 if upright else 0, fontsize=points)
    axes.set_yticks(ticks, names, fontsize=points)
    axes.tick_params(length=0, colors=theme.ink)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=theme.line, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    _numbers(axes, counts, cell * 72, theme)
    return figure


def _numbers(axes: Axes, counts: NDArray[np.int64], points: float, theme: Theme) -> None:
    """Write each count into its cell, whose side is given in points, if the cell is large enough."""
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:,}"
        size = min(9.0, 0.85 * points / (0.62 * len(text)))
        if count and size >= 4.5:
            ink = theme.card if row == column and count * 2 > counts[row].sum() else theme.ink
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)


def reliability(report: Report, theme: Theme) -> Figure:
    """Plot accuracy by confidence in bins of equally many images, and a histogram of confidence below."""
    figure = Figure(figsize=(6, 6.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    both = (
        (report.before, theme.bad, f"before calibration: error {report.before.ece:.2%}, nll {report.before.nll:.4f}"),
        (report.after, theme.good, f"after calibration: error {report.after.ece:.2%}, nll {report.after.nll:.4f}"),
    )
    lowest = min(min(part.confidence, part.accuracy) for sides in both for part in sides[0].bins)
    low, high = (float(end) for end in _nines(np.array([max(0.01, 0.8 * lowest), 1.0])))
    edges = np.linspace(low, high, 41)
    top.plot([low, high], [low, high], color=theme.muted, linestyle="--", linewidth=1)
    for found, colour, label in both:
        middles, whiskers = (
            ends.clip(low, high) for ends in _points(found)
        )  # bins without a right image are at the lower edge
        # Paler than the points: intervals of bins without mistakes are long, and there may be many.
        top.vlines(middles[0], *whiskers, color=colour, alpha=0.3, linewidth=3)
        top.plot(*middles, "o", color=colour, markersize=5, clip_on=False, label=label)
        confidence = _nines(found.confidence.numpy()).clip(low, high)
        bottom.hist(confidence, edges, histtype="step", color=colour, linewidth=1.5)
    top.set_ylabel("accuracy of a bin")
    figure.legend(loc="outside upper left")
    bottom.set_yscale("log")
    _label_logarithms(bottom, (1,))
    bottom.set_ylabel("images")
    bottom.set_xlabel("confidence")
    ticks = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999, 1.0)
    places = _nines(np.array(ticks))
    shown = [index for index, place in enumerate(places) if low <= place <= high]
    names = [f"{100 * ticks[index]:g}%" for index in shown]
    bottom.set_xticks(places[shown], names)
    top.set_yticks(places[shown], names)
    margin = 0.03 * (high - low)
    top.set_xlim(low - margin, high + margin)
    top.set_ylim(low - margin, high + margin)
    for axes in (top, bottom):
        axes.grid(alpha=0.6)
    return figure


def _label_logarithms(axes: Axes, steps: Sequence[float]) -> None:
    """Label a log scale with plain numbers: matplotlib writes powers of ten as formulas, which are disabled."""
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _points(found: Reliability) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of the bins [2, B], and both ends of their 95% intervals [2, B]."""
    middles = _nines(np.array([[part.confidence, part.accuracy] for part in found.bins]).T)
    ends = _nines(np.array([wilson(round(part.accuracy * part.images), part.images) for part in found.bins]).T)
    return middles, ends


def _nines(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the odds, a scale on which 90%, 99% and 99.9% have about equal distances."""
    clipped = shares.clip(1 - _SUREST, _SUREST)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def review(report: Report, theme: Theme) -> Figure:
    """Plot the accuracy of the unmarked images by the share of images that is marked for review."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    order = report.review_scores.argsort(stable=True)
    wrong: NDArray[np.int64] = report.wrong[order].long().numpy()
    left = (
        wrong.sum() - np.concatenate([[0], wrong.cumsum()])[:-1]
    )  # number of wrong images among the rest, by the number of marked images
    accuracy = 1 - left / np.arange(report.images, 0, -1)
    marked = np.arange(report.images) / report.images
    # Up to the share at which all wrong images are marked, but not so far that the start is too small to see.
    clean = float(marked[(left == 0).argmax()]) if (left == 0).any() else 1.0
    here = report.reviews / report.images
    most = min(1.0, max(0.02, min(1.3 * clean, max(0.1, 5 * here))))
    visible = accuracy[marked <= most]
    margin = 0.05 * float(np.ptp(visible)) or 0.005
    axes.set_xlim(0, most)
    axes.set_ylim(visible.min() - margin, min(1.0, visible.max() + margin))  # no share is above 100 %
    axes.step(marked, accuracy, where="post", color=theme.good)
    if report.reviews < report.images:
        rest = 1 - report.wrong_unmarked / (report.images - report.reviews)
        axes.plot([here], [rest], "o", color=theme.bad, clip_on=False)
        axes.annotate(
            f"the checkpoint's threshold:\n{here:.2%} marked, accuracy of the rest {rest:.2%}",
            (here, rest), (0.98, 0.06), textcoords="axes fraction", ha="right", va="bottom",  # free below the curve
            arrowprops={"arrowstyle": "-", "color": theme.muted, "shrinkB": 5},
        )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_PERCENT)
    axes.set_xlabel("share marked for review, lowest scores first")
    axes.set_ylabel("accuracy of the rest")
    axes.grid(alpha=0.6)
    return figure


def _ramp(paper: str, ink: str, least: float) -> LinearSegmentedColormap:
    """Return a colour map from paper to ink, starting at `least` of the way so that it is visible on paper."""
    whole = LinearSegmentedColormap.from_list("whole", [paper, ink])
    return LinearSegmentedColormap.from_list("ramp", [whole(least), whole(1.0)])
