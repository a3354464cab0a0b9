"""Numbers and texts as Redis gives them back. Anybody who reaches Redis may have written anything there, even `nan`."""

import math

#: Times are seconds since the epoch, before the year 5138.
_LATEST = 1e11


def number(value: object) -> float:
    """Return a finite number.

    Raises:
        ValueError: it is something else.
    """
    try:
        read = float(value)  # type: ignore[arg-type]  # what it can't read, it says
    except (TypeError, OverflowError) as exc:
        raise ValueError(f"{value!r:.100} is not a number") from exc
    if not math.isfinite(read):
        raise ValueError(f"{value!r:.100} is not a finite number")
    return read


def number_or(value: object, default: float) -> float:
    """Return a finite number, or a default where there is none."""
    try:
        return number(value)
    except ValueError:
        return default


def moment(value: object) -> float:
    """Return a time in seconds since the epoch; ValueError where it is something else."""
    read = number(value)
    if not 0 <= read < _LATEST:
        raise ValueError(f"{read!r} is not a time in seconds since the epoch")
    return read


def moment_or_none(value: object) -> float | None:
    """Return a time in seconds since the epoch; None where there is none."""
    try:
        return moment(value)
    except ValueError:
        return None


def whole(value: str) -> int:
    """Return a count; ValueError where it is something else."""
    read = int(value)
    if not 0 <= read < 1 << 63:
        raise ValueError(f"{read!r:.100} is not a count")
    return read


def text(data: bytes) -> str:
    """Return a text, with a mark in place of each byte that is not UTF-8."""
    return data.decode(errors="replace")
