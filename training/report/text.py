"""The same figures as text for a terminal."""

from collections.abc import Sequence

from rich.cells import cell_len

from training.report.measure import Evaluated, Report
from training.report.outliers import Kind

WORST = 10  # mistakes that are listed
_CONFUSED = 20  # pairs of classes that are listed where the matrix is too wide
_WIDEST = 120  # columns of a terminal that a matrix may take


def summary(report: Report) -> str:
    """One line: "99.55% right of 10,000 images (95% interval 99.40 to 99.66%)"."""
    low, high = report.interval
    return (
        f"{report.accuracy:.2%} right of {report.images:,} images (95% interval {100 * low:.2f} to {100 * high:.2f}%)"
    )


def text(evaluated: Evaluated) -> str:
    """Everything, several lines."""
    report = evaluated.report
    wrong = report.images - report.right
    kept = report.images - report.reviews
    before, after = report.before, report.after
    lines = [
        summary(report),
        f"wrong: {wrong:,}; marked for review: {report.reviews:,} ({report.reviews / report.images:.2%}), "
        f"wrong among the {kept:,} others: {report.wrong_unmarked:,}",
        f"negative log-likelihood {after.nll:.4f} (before calibration {before.nll:.4f}), "
        f"expected calibration error {after.ece:.2%} (before {before.ece:.2%})",
        "",
        *(_matrix(report) or _pairs(report)),
        *_worst(evaluated),
    ]
    return "\n".join(lines)


def kinds(measured: Sequence[Kind]) -> str:
    """A table of what became of pictures that are none of the classes, a line for each kind."""
    titles = ("kind", "images", "marked", "blank", "caught")
    rows = [
        (each.name, f"{each.images:,}", f"{each.marked:,}", f"{each.blank:,}", f"{each.caught / each.images:.1%}")
        for each in measured
    ]
    widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    return "\n".join(
        _pad(row[0], widths[0], left=True)
        + "".join("  " + _pad(cell, width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in (titles, *rows)
    )


def _worst(evaluated: Evaluated) -> list[str]:
    report = evaluated.report
    worst = report.worst(WORST)
    if not worst:
        return []
    rows = [
        f"{report.after.confidence[index]:>7.2%}  {report.classes[report.truths[index]]} read as "
        f"{report.classes[report.answers[index]]}  {evaluated.names[index]}"
        + ("  (marked for review)" if report.marked[index] else "")
        for index in worst
    ]
    return ["", "The worst mistakes, the surest first:", *rows]


def _pairs(report: Report) -> list[str]:
    """What stands for the matrix where it is too wide."""
    pairs = [f"{count:>7,}  {truth} read as {given}" for truth, given, count in report.confused(_CONFUSED)]
    return [f"Most often confused, of {len(report.classes)} classes:", *pairs] if pairs else []


def _matrix(report: Report) -> list[str]:
    """The confusion matrix, or nothing where it is too wide."""
    width = max(len(f"{max(map(max, report.confusion)):,}"), *map(cell_len, report.classes), 2) + 1
    left = max(4, *map(cell_len, report.classes))
    if left + 1 + width * len(report.classes) > _WIDEST:
        return []
    lines = [f"{'true':<{left}}  {'read as':<{width}}", " " * left + " " + _line(report.classes, width)]
    for label, row in zip(report.classes, report.confusion, strict=True):
        # A dot for 0, so that what is off the diagonal stands out.
        cells = [f"{count:,}" if count else "·" for count in row]
        lines.append(_pad(label, left, left=True) + " " + _line(cells, width))
    return [line.rstrip() for line in lines]


def _line(cells: Sequence[str], width: int) -> str:
    return "".join(_pad(cell, width) for cell in cells)


def _pad(cell: str, width: int, left: bool = False) -> str:
    # By columns on a terminal, of which some scripts' characters take two and others none.
    space = " " * (width - cell_len(cell))
    return cell + space if left else space + cell
