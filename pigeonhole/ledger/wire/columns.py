"""Encode columns of integers as strings for JSON, and decode them."""

import base64
import sys
from array import array
from collections.abc import Sequence


def packed(values: "array[int]") -> list[str]:
    """Return a column of integers as base64 strings: the lowest byte of each entry, the next byte of each, and so on.

    High bytes that are zero in all entries are left out. The result does not depend on the machine's byte order.

    Args:
        values: an array of an unsigned type.
    """
    data, size = values.tobytes(), values.itemsize
    columns = [data[_offset(byte, size) :: size] for byte in range(size)]
    while len(columns) > 1 and not columns[-1].strip(b"\0"):
        columns.pop()
    return [base64.b64encode(column).decode() for column in columns]


def unpacked(code: str, columns: Sequence[str], count: int) -> "array[int]":
    """Read what `packed` wrote.

    Args:
        code: the type code of the array: an unsigned type of `array`.
        columns: base64 strings from an untrusted message.
        count: the expected number of entries.

    Raises:
        ValueError: the columns do not hold that number of entries of that type.
    """
    values = array(code)
    size = values.itemsize
    # At least one column, so that the memory is bounded by the data and not by `count`.
    if not 0 < len(columns) <= size:
        raise ValueError(f"{len(columns)} byte columns for entries of {size} bytes")
    data = bytearray()
    for byte, column in enumerate(columns):
        found = base64.b64decode(column, validate=True)
        if len(found) != count:
            raise ValueError(f"a column has {len(found)} entries: another number was expected")
        data = data or bytearray(size * count)
        data[_offset(byte, size) :: size] = found
    values.frombytes(data)
    return values


def _offset(byte: int, size: int) -> int:
    """Return the offset within an entry in memory of the byte of this rank, counted from the lowest."""
    return byte if sys.byteorder == "little" else size - 1 - byte
