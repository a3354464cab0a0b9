"""Tables in Markdown: of compared systems, and of other figures."""

import statistics
from collections.abc import Sequence

from benchmarks.common.measure import Measured, differing


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a table whose first `words` columns are text, and the others are numbers."""
    rules = ["---" if column < words else "---:" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows)) + "\n"


def spread(values: Sequence[float], form: str = ",.0f") -> list[str]:
    """Return the median, the smallest and the largest value as text."""
    return [format(value, form) for value in (statistics.median(values), min(values), max(values))]


def systems(measured: Sequence[Measured]) -> str:
    """Return the table of a comparison of the first system with each of the others."""
    first = measured[0]
    heads = ["system", "images/s", "least", "most", "images a round", "Pigeonhole is", "wanted", "labels that differ"]
    return table(heads, [_row(first, each) for each in measured])


def _row(first: Measured, each: Measured) -> list[str]:
    entry = each.entry
    cells = [entry.name, *spread(each.rates), f"{len(entry.images):,}"]
    if each is first:
        return [*cells, "", "", ""]
    ratio = first.rate / each.rate
    cells.append(f"{ratio:.{2 if ratio < 2 else 1}f}x")
    cells.append(f"≥ {entry.wanted[0]:g}x, go for {entry.wanted[1]:g}x" if entry.wanted else "")
    return [*cells, labels(first, each)]


def labels(first: Measured, other: Measured) -> str:
    """Return the number of labels that differ between two systems, in words."""
    if not other.entry.comparable:
        return "another network"
    different, both = differing(first, other)
    return f"{different:,} of {both:,}"


def not_ready(measured: Sequence[Measured]) -> str:
    """Return a note on each system that can't get ready before it gets the images, with its rate including that."""
    first, lines = measured[0], []
    for each in measured:
        whole = statistics.median(each.whole)
        if whole < 0.99 * each.rate:
            lines.append(
                f"{each.entry.name} can't get ready before it gets the images. Including the start of its processes, "
                f"with {len(each.entry.images):,} images, it classifies {whole:,.0f} images/s. Pigeonhole, which is "
                f"ready before, is {first.rate / whole:.1f}x as fast.\n"
            )
    return "\n".join(lines)


def settings(measured: Sequence[Measured]) -> str:
    """Return each system's settings as a list."""
    return "\n".join(f"- {each.entry.name}: {each.entry.settings}." for each in measured)
