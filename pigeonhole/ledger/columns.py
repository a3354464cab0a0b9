"""Columns of whole numbers ↔ texts that JSON can hold."""

import base64
import sys
from array import array
from collections.abc import Sequence


def packed(values: "array[int]") -> list[str]:
    """Return the lowest byte of each entry, then the second of each, and so on, each of these columns as base64.

    The highest are left out where all are zero: a byte that no number needs costs nothing. And the byte order of the
    machine does not matter.

    Args:
        values: entries without a sign.
    """
    data, size = values.tobytes(), values.itemsize
    columns = [data[_offset(byte, size) :: size] for byte in range(size)]
    while len(columns) > 1 and not columns[-1].strip(b"\0"):
        columns.pop()
    return [base64.b64encode(column).decode() for column in columns]


def unpacked(code: str, columns: Sequence[str], count: int) -> "array[int]":
    """Read what `packed` wrote.

    Args:
        code: the array's type, as `array` has it: without a sign.
        columns: whatever somebody else says they are.
        count: how many entries there must be.

    Raises:
        ValueError: they are not that many entries of that type.
    """
    values = array(code)
    size = values.itemsize
    # At least one, so that nothing but what is there says how much memory it takes.
    if not 0 < len(columns) <= size:
        raise ValueError(f"{len(columns)} bytes for each entry of {size}")
    data = bytearray()
    for byte, column in enumerate(columns):
        found = base64.b64decode(column, validate=True)
        if len(found) != count:
            raise ValueError(f"there are {len(found)} entries where others are expected")
        data = data or bytearray(size * count)
        data[_offset(byte, size) :: size] = found
    values.frombytes(data)
    return values


def _offset(byte: int, size: int) -> int:
    """Return the offset within an entry in memory of the byte of this rank, counted from the lowest."""
    return byte if sys.byteorder == "little" else size - 1 - byte
