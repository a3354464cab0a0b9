"""The two plots in docs/: images per second by system, and time per image by stage."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.measure import Measured
from benchmarks.stages import OF_THE_WORKER, Stage


def systems(measured: Sequence[Measured], file: Path) -> None:
    """Draw the medians as bars, with whiskers from least to most."""
    figure, axes = _figure(len(measured))
    names = [each.entry.name.replace("`", "") for each in measured]
    rates = [each.rate for each in measured]
    whiskers = [[each.rate - min(each.rates) for each in measured], [max(each.rates) - each.rate for each in measured]]
    bars = axes.barh(names, rates, xerr=whiskers, color=["C0", *["C7"] * (len(names) - 1)], ecolor="black", capsize=3)
    axes.bar_label(bars, [f"  {rate:,.0f}" for rate in rates], padding=4)
    axes.set_title("MNIST PNG files, two processes: images per second, median of the rounds")
    axes.set_xlabel("images/s")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _save(figure, axes, file)


def stages(measured: Sequence[Stage], file: Path) -> None:
    """Draw the time of each stage."""
    figure, axes = _figure(len(measured))
    colours = ["C0" if stage.name in OF_THE_WORKER else "C7" for stage in measured]
    bars = axes.barh([stage.name for stage in measured], [stage.micros for stage in measured], color=colours)
    axes.bar_label(bars, [f"{stage.micros:.1f}" for stage in measured], padding=4)
    axes.set_title("Time per image by stage, each measured alone on one core (blue: in the worker's process)")
    axes.set_xlabel("µs per image")
    _save(figure, axes, file)


def _figure(bars: int) -> tuple[Figure, Axes]:
    matplotlib.rcParams["svg.hashsalt"] = "pigeonhole"  # so that the same figures result in the same file
    figure = Figure(figsize=(9, 1.2 + 0.4 * bars), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, axes: Axes, file: Path) -> None:
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, metadata={"Date": None})
