"""The report of an evaluation: a page, and its plots as PNG files."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from training.evaluation.measure import Evaluated, Report
from training.report import figures, markup
from training.report.figures import DARK, LIGHT, Curve, Theme
from training.report.fonts import drawable
from training.report.sheet import SHEET, sheet

_CONFUSED = 10  # pairs of classes that are listed
_READABLE = 20  # classes; a larger matrix is as wide as the page


def write(folder: Path, evaluated: Evaluated) -> Path:
    """Write a report: `report.html`, and each plot as a PNG file beside it.

    Args:
        folder: Folder that `markup.make_folder` made; files of these names are replaced.
        evaluated: Evaluation that the report shows; the epochs of training come from its checkpoint.

    Returns:
        Path of the page.

    Raises:
        TrainingError: A file can't be written.
    """
    texts = [*evaluated.report.classes, *(evaluated.names[index] for index in evaluated.report.worst(SHEET))]
    plots = {name: _both(draw, texts) for name, draw in _plots(evaluated).items()}
    try:
        for name, (light, _dark) in plots.items():
            (folder / f"{name}.png").write_bytes(light)
        (folder / markup.PAGE).write_bytes(_page(evaluated, plots))
    except OSError as exc:
        raise markup.unwritable(folder, exc) from exc
    return folder / markup.PAGE


def _plots(evaluated: Evaluated) -> dict[str, Callable[[Theme], Figure]]:
    report = evaluated.report
    plots: dict[str, Callable[[Theme], Figure]] = {}
    epochs = _epochs(evaluated.checkpoint.trained)
    if epochs:
        trained = evaluated.checkpoint.trained
        kept = trained.get("kept_epoch", trained.get("best_epoch"))  # its name in older checkpoints
        plots["curves"] = partial(figures.curves, epochs, kept if isinstance(kept, int) else None)
    plots["confusion"] = partial(figures.confusion, report)
    plots["reliability"] = partial(figures.reliability, report)
    plots["review"] = partial(figures.review, report)
    if report.right < report.images:
        plots["mistakes"] = partial(sheet, evaluated)
    return plots


def _epochs(trained: Mapping[str, Any]) -> list[Curve]:
    """Return the epochs that a checkpoint records; none if it was imported and has another record."""
    try:
        epochs = [Curve(**{key: each[key] for key in Curve.__annotations__}) for each in trained.get("epochs", [])]
        return epochs if all(math.isfinite(value) for each in epochs for value in vars(each).values()) else []
    except (TypeError, KeyError):
        return []


def _both(draw: Callable[[Theme], Figure], texts: Sequence[str]) -> tuple[bytes, bytes]:
    return figures.render(draw, LIGHT, texts), figures.render(draw, DARK, texts)


def _page(evaluated: Evaluated, plots: Mapping[str, tuple[bytes, bytes]]) -> bytes:
    report, about = evaluated.report, evaluated.checkpoint
    wide = len(report.classes) > _READABLE
    cards = [
        _plot_card(plots, "curves", "Training", "", least=640, whole=True),
        _plot_card(plots, "confusion", "Confusion matrix", _matrix_note(report), least=900 if wide else 0, whole=wide),
        _plot_card(
            plots,
            "reliability",
            "Reliability",
            f"Accuracy by confidence, in {len(report.after.bins)} bins of equally many images, with 95% intervals. On "
            "the dashed line, accuracy equals confidence. The scale is stretched towards 100%. Below, a histogram of "
            "confidence.",
        ),
        _plot_card(
            plots,
            "review",
            "Review",
            "The more images a person reviews, lowest review score first, the higher the accuracy of the rest.",
        ),
        markup.card("By class", _classes(report), whole=wide),
        markup.card("The worst mistakes", _mistakes(evaluated), whole=True) if report.right < report.images else "",
    ]
    title = f"{about.name}: {report.accuracy:.2%} right of {report.images:,} images"
    note = f"; {evaluated.note}" if evaluated.note else ""
    failed = f"; {len(evaluated.failed):,} files could not be read" if evaluated.failed else ""
    content = f'{_tiles(report)}{markup.facts(about)}<main class="cards">\n{"".join(cards)}</main>\n'
    return markup.document(title, evaluated.source + note + failed, content)


def _tiles(report: Report) -> str:
    low, high = report.interval
    before, after = report.before, report.after
    return markup.tiles(
        (
            (f"{report.accuracy:.2%}", f"right; 95% interval {100 * low:.2f} to {100 * high:.2f}%"),
            (f"{report.images - report.right:,}", "wrong"),
            (f"{report.reviews:,}", f"marked for review ({report.reviews / report.images:.2%})"),
            (f"{report.wrong_unmarked:,}", "wrong and not marked"),
            (f"{after.nll:.4f}", f"negative log-likelihood; {before.nll:.4f} before calibration"),
            (f"{after.ece:.2%}", f"calibration error; {before.ece:.2%} before calibration"),
        )
    )


def _plot_card(
    plots: Mapping[str, tuple[bytes, bytes]],
    name: str,
    title: str,
    note: str,
    least: int = 0,
    whole: bool = False,
) -> str:
    """Return a section with a plot; on a screen of fewer than `least` pixels it scrolls instead of shrinking."""
    if name not in plots:
        return ""
    light, dark = plots[name]
    # CSS pixels are 1/96 inch.
    width, height = (side * 96 // figures.DOTS for side in Image.open(io.BytesIO(light)).size)
    picture = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{markup.url(dark)}">'
        f'<img class="plot" src="{markup.url(light)}" alt="{escape(title)}" width="{width}" height="{height}">'
        "</picture>"
    )
    note = f"<p>{escape(note)}</p>" if note else ""
    return markup.card(
        title, note + (f'<div class="scroll least-{least}">{picture}</div>' if least else picture), whole
    )


def _matrix_note(report: Report) -> str:
    # Each name is isolated: a right-to-left name would reorder the text around it.
    pairs = [
        f"\u2068{truth}\u2069 read as \u2068{predicted}\u2069 ({count:,})"
        for truth, predicted, count in report.confused(_CONFUSED)
    ]
    note = f"Most often confused: {', '.join(pairs)}." if pairs else "Nothing is wrong."
    if _undrawable(report):
        note += " A number stands for a class whose name could not be drawn with the installed fonts; see the table."
    return note


def _undrawable(report: Report) -> bool:
    return any(drawable(name, index) == f"#{index}" for index, name in enumerate(report.classes))


def _classes(report: Report) -> str:
    numbered = _undrawable(report)
    predicted = [sum(column) for column in zip(*report.confusion, strict=True)]
    rows = []
    for index, (name, row) in enumerate(zip(report.classes, report.confusion, strict=True)):
        right, count = row[index], sum(row)
        shares = (_share(right, count), _share(right, predicted[index]))
        rows.append((f"#{index} {name}" if numbered else name, [f"{count:,}", f"{count - right:,}", *shares]))
    titles = ["images", "wrong", "recall", "precision"]
    half = -(-len(rows) // 2) if len(rows) > _READABLE else len(rows)  # rounded up
    parts = [part for part in (rows[:half], rows[half:]) if part]
    return f'<div class="beside">{"".join(markup.table("class", titles, part) for part in parts)}</div>'


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


def _mistakes(evaluated: Evaluated) -> str:
    report = evaluated.report
    shown = []
    for index in report.worst(SHEET):
        truth, predicted = report.classes[report.truths[index]], report.classes[report.predictions[index]]
        marked = ' <span class="doubt">(marked)</span>' if report.marked[index] else ""
        shown.append(
            f"<figure>{markup.image(evaluated.images[index])}"
            f"<figcaption><b><bdi>{escape(truth)}</bdi> read as <bdi>{escape(predicted)}</bdi></b>"
            f"{report.after.confidence[index]:.2%}{marked}<br><bdi>{escape(evaluated.names[index])}</bdi>"
            "</figcaption></figure>"
        )
    note = "The input of the network, the most confident mistake first"
    note += f"; {len(shown)} of {report.images - report.right:,}." if len(shown) < report.images - report.right else "."
    return f'<p>{note}</p><div class="sheet">{"".join(shown)}</div>'
