"""Where the members of an archive lie in it: a worker goes straight to one, and looks through no archive."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

#: Where a system's offsets in files end.
_END = 1 << 63


class ZipSpan(NamedTuple):
    """Where a member of a `.zip` lies.

    `offset` is its local header's in the file; it takes `stored` bytes there, deflated or otherwise (`method`, as the
    format numbers them), and is an image of `size` bytes with the CRC-32 `check`.
    """

    offset: int
    stored: int
    size: int
    method: int
    check: int


class TarSpan(NamedTuple):
    """Where a member of a `.tar` lies, or of a `.tar.gz`.

    `offset` is where its `size` bytes begin: in the file, or in what that inflates to. `check` is the CRC-32 of its
    header, the block before them, since the format has none of the bytes.
    """

    offset: int
    size: int
    check: int


Span = ZipSpan | TarSpan
#: How many numbers there are → what they are.
_KINDS: dict[int, type[Span]] = {len(kind._fields): kind for kind in (ZipSpan, TarSpan)}


def spans(value: object) -> tuple[Span, ...]:
    """Read spans as JSON has them: a list of lists of whole numbers.

    Raises:
        ValueError: it is something else, or no file has such places.
    """
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) in _KINDS for one in value):
        raise ValueError(f"the places of an archive's members are not lists of {' or '.join(map(str, _KINDS))} numbers")
    # All numbers at once: of a batch there may be 10,000.
    numbers = list(chain.from_iterable(value))
    if not {*map(type, numbers)} <= {int} or (numbers and not 0 <= min(numbers) <= max(numbers) < _END):
        raise ValueError(f"the places of an archive's members are not whole numbers from 0 to below {_END}")
    return tuple([_span(one) for one in value])


def is_place(span: Span) -> bool:
    """Tell whether a file can have such a place; `spans` reads no other."""
    return 0 <= min(span) <= max(span) < _END


def _span(numbers: Sequence[int]) -> Span:
    return _KINDS[len(numbers)]._make(numbers)
