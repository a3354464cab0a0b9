"""Tables in Markdown: of systems, and of anything."""

import statistics
from collections.abc import Sequence

from benchmarks.measure import Measured, differing


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Give a table; the first columns hold words, the others numbers."""
    rules = ["---" if column < words else "---:" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows)) + "\n"


def spread(values: Sequence[float], form: str = ",.0f") -> list[str]:
    """Give the median, the least and the most."""
    return [format(value, form) for value in (statistics.median(values), min(values), max(values))]


def systems(measured: Sequence[Measured]) -> str:
    """Give the table of a comparison: the first of them against each other."""
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
    """Say how many labels of two systems differ."""
    if not other.entry.comparable:
        return "other network"
    different, both = differing(first, other)
    return f"{different:,} of {both:,}"


def not_ready(measured: Sequence[Measured]) -> str:
    """Say how fast they are whose time begins late because they can't get ready before they are given the images."""
    first, lines = measured[0], []
    for each in measured:
        whole = statistics.median(each.whole)
        if whole < 0.99 * each.rate:
            lines.append(
                f"{each.entry.name} can't get ready before it is given the images. From then on, with the start of its "
                f"processes and {len(each.entry.images):,} images, it does {whole:,.0f} images/s, and Pigeonhole, "
                f"ready, is {first.rate / whole:.1f}x.\n"
            )
    return "\n".join(lines)


def settings(measured: Sequence[Measured]) -> str:
    """Give each system's settings."""
    return "\n".join(f"- {each.entry.name}: {each.entry.settings}." for each in measured)
