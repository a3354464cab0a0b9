"""A table of the number of images of each class, for people."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

_LISTED = 12  # classes; of more, the largest and the smallest are shown


def table(classes: Sequence[str], parts: Mapping[str, Sequence[int]]) -> str:
    """Return a line for each class with its number of images in each part, and a last line for all classes.

    Args:
        classes: Names of the classes.
        parts: Name of a part → number of images of each class.
    """
    order = list(range(len(classes)))
    left = ""
    if len(order) > _LISTED:
        first = next(iter(parts.values()))
        order = sorted(order, key=lambda label: (-first[label], label))
        order = [*order[: _LISTED // 2], *order[-_LISTED // 2 :]]
        left = f"  ({len(classes) - len(order):,} classes between these are not shown)"
    rows = [("class", *parts)]
    rows += [(classes[label], *(f"{counts[label]:,}" for counts in parts.values())) for label in order]
    rows.append(("all", *(f"{sum(counts):,}" for counts in parts.values())))
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + left
