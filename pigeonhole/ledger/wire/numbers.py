"""Validation of numbers and texts from Redis, where any program may have written anything, even `nan`."""

import math

#: Times are seconds since the epoch, before the year 5138.
_LATEST = 1e11


def number(value: object) -> float:
    """Return a value as a finite number.

    Raises:
        ValueError: the value is not a finite number.
    """
    try:
        read = float(value)  # type: ignore[arg-type]  # raises for other types
    except (TypeError, OverflowError) as exc:
        raise ValueError(f"{value!r:.100} is not a number") from exc
    if not math.isfinite(read):
        raise ValueError(f"{value!r:.100} is not a finite number")
    return read


def number_or(value: object, default: float) -> float:
    """Return a value as a finite number, or the default if it is not one."""
    try:
        return number(value)
    except ValueError:
        return default


def moment(value: object) -> float:
    """Return a value as a time in seconds since the epoch; raise ValueError if it is not one."""
    read = number(value)
    if not 0 <= read < _LATEST:
        raise ValueError(f"{read!r} is not a time in seconds since the epoch")
    return read


def moment_or_none(value: object) -> float | None:
    """Return a value as a time in seconds since the epoch; None if it is not one."""
    try:
        return moment(value)
    except ValueError:
        return None


def whole(value: str) -> int:
    """Parse a count from 0 to below 2**63; raise ValueError if it is not one."""
    read = int(value)
    if not 0 <= read < 1 << 63:
        raise ValueError(f"{read!r:.100} is not a count")
    return read


def text(data: bytes) -> str:
    """Decode a text, with U+FFFD in place of each byte that is not UTF-8."""
    return data.decode(errors="replace")
