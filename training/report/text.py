"""The figures of an evaluation as text for a terminal."""

from collections.abc import Sequence

from rich.cells import cell_len

from pigeonhole.text import counted
from training.evaluation.compared import LETTERS, Compared
from training.evaluation.measure import Evaluated, Report
from training.evaluation.outliers import Kind

WORST = 10  # mistakes that are listed
_DISAGREEMENTS = 20  # disagreements that are listed
_CONFUSED = 20  # pairs of classes that are listed if the matrix is too wide
_WIDEST = 120  # columns of a terminal that a matrix may take


def summary(report: Report) -> str:
    """Return one line: "99.55% right of 10,000 images (95% interval 99.40 to 99.66%)"."""
    low, high = report.interval
    return (
        f"{report.accuracy:.2%} right of {report.images:,} images (95% interval {100 * low:.2f} to {100 * high:.2f}%)"
    )


def quality(part: str, report: Report) -> str:
    """Return one line: "Validation accuracy 95.00% (20 images, 95% interval …); 1 image is marked for review."."""
    low, high = report.interval
    marked = "no image is" if not report.reviews else f"{report.reviews:,} ({report.reviews / report.images:.2%}) are"
    return (
        f"{part} accuracy {report.accuracy:.2%} ({counted(report.images, 'image')}, 95% interval {100 * low:.2f} to "
        f"{100 * high:.2f}%); {marked} marked for review."
    )


def text(evaluated: Evaluated) -> str:
    """Return all figures of an evaluation, in several lines."""
    report = evaluated.report
    wrong = report.images - report.right
    unmarked = report.images - report.reviews
    before, after = report.before, report.after
    lines = [
        *filter(None, [evaluated.note]),
        summary(report),
        f"wrong: {wrong:,}; marked for review: {report.reviews:,} ({report.reviews / report.images:.2%}), "
        f"wrong among the {unmarked:,} others: {report.wrong_unmarked:,}",
        f"negative log-likelihood {after.nll:.4f} (before calibration {before.nll:.4f}), "
        f"expected calibration error {after.ece:.2%} (before {before.ece:.2%})",
        "",
        *(_matrix(report) or _pairs(report)),
        *_worst(evaluated),
    ]
    return "\n".join(lines)


def kinds(measured: Sequence[Kind]) -> str:
    """Return a table of out-of-distribution images, a line for each kind."""
    titles = ("kind", "images", "marked", "blank", "caught")
    rows = [
        (each.name, f"{each.images:,}", f"{each.marked:,}", f"{each.blank:,}", f"{each.caught / each.images:.1%}")
        for each in measured
    ]
    return "\n".join(_table([titles, *rows], left=1))


def comparison(compared: Compared) -> str:
    """Return the comparison of two checkpoints, in several lines."""
    pair, found = compared.pair, compared.disagreements
    names = [each.checkpoint.identity() for each in pair]
    lines = [
        *compared.notes,
        *_table([*zip(LETTERS, names, (summary(each.report) for each in pair), strict=True)], left=3),
        f"right: both {compared.both:,}, only A {compared.only[0]:,}, only B {compared.only[1]:,}, "
        f"neither {compared.neither:,}",
        verdict(compared),
    ]
    if found:
        titles = ("true", "A", "B", "image")
        places = found[:_DISAGREEMENTS]
        rows = zip(
            map(compared.truth, places),
            *_predictions(compared, places),
            (pair[0].names[i] for i in places),
            strict=True,
        )
        shown = f" {len(places)} of {len(found):,}," if len(places) < len(found) else ""
        lines += [
            "",
            f"They disagree on these images,{shown} the most confident mistake first:",
            *_table([titles, *rows], left=4),
        ]
    return "\n".join(lines)


def _predictions(compared: Compared, places: Sequence[int]) -> list[list[str]]:
    """Return the labels and confidences of A, and of B, for the images at these indices."""
    columns = []
    for each, names in zip(compared.pair, zip(*map(compared.predicted, places), strict=True), strict=True):
        width = max(map(cell_len, names))
        confidences = [f"{each.report.after.confidence[index]:>7.2%}" for index in places]
        columns.append(
            [f"{_pad(name, width, left=True)} {share}" for name, share in zip(names, confidences, strict=True)]
        )
    return columns


def verdict(compared: Compared) -> str:
    """Return one line: "B is better, p = 0.003 (McNemar's exact test)"."""
    result = f"{compared.better} is better" if compared.better else "no significant difference"
    return f"{result}, p = {compared.p:.2g} (McNemar's exact test)"


def _table(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return the lines of a table; the first `left` columns are aligned to the left, the others to the right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            _pad(cell, width, left=place < left) for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _worst(evaluated: Evaluated) -> list[str]:
    report = evaluated.report
    worst = report.worst(WORST)
    if not worst:
        return []
    rows = [
        f"{report.after.confidence[index]:>7.2%}  {report.classes[report.truths[index]]} read as "
        f"{report.classes[report.predictions[index]]}  {evaluated.names[index]}"
        + ("  (marked for review)" if report.marked[index] else "")
        for index in worst
    ]
    return ["", "The worst mistakes, the most confident first:", *rows]


def _pairs(report: Report) -> list[str]:
    """Return the most often confused pairs, which replace a matrix that is too wide."""
    pairs = [f"{count:>7,}  {truth} read as {predicted}" for truth, predicted, count in report.confused(_CONFUSED)]
    return [f"Most often confused, of {len(report.classes)} classes:", *pairs] if pairs else []


def _matrix(report: Report) -> list[str]:
    """Return the lines of the confusion matrix; none if it is too wide."""
    width = max(len(f"{max(map(max, report.confusion)):,}"), *map(cell_len, report.classes), 2) + 1
    left = max(4, *map(cell_len, report.classes))
    if left + 1 + width * len(report.classes) > _WIDEST:
        return []
    lines = [f"{'true':<{left}}  {'read as':<{width}}", " " * left + " " + _line(report.classes, width)]
    for label, row in zip(report.classes, report.confusion, strict=True):
        # A dot for 0, so that mistakes are easy to see.
        cells = [f"{count:,}" if count else "·" for count in row]
        lines.append(_pad(label, left, left=True) + " " + _line(cells, width))
    return [line.rstrip() for line in lines]


def _line(cells: Sequence[str], width: int) -> str:
    return "".join(_pad(cell, width) for cell in cells)


def _pad(cell: str, width: int, left: bool = False) -> str:
    # A character takes up to two columns on a terminal, or none.
    space = " " * (width - cell_len(cell))
    return cell + space if left else space + cell
