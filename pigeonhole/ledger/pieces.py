"""A piece: what one task works off. A batch, or after a death a part of one."""

import re
from dataclasses import dataclass
from itertools import pairwise

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.messages import Batch

#: A piece whose process died is split into so many parts at the most: a batch of 2,048 images costs three processes
#: until a single image is set apart, where halving it would cost eleven.
PARTS = 16
_SPELLED = re.compile(r"(\d{1,12})(?::(\d{1,6}):(\d{1,6}))?")


@dataclass(frozen=True, order=True)
class Piece:
    """A batch's number, and which of its images: from `start` to before `stop`; None: to its end.

    It is spelled `17`, or `17:32:64` for a part.
    """

    number: int
    start: int = 0
    stop: int | None = None

    def __str__(self) -> str:
        return str(self.number) if self.stop is None else f"{self.number}:{self.start}:{self.stop}"

    @classmethod
    def parse(cls, text: str) -> "Piece":
        """Read what `str` wrote.

        Raises:
            MessageInvalid: it is something else.
        """
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise MessageInvalid(f"{text[:100]!r} is not the number of a batch, nor of a part of one")
        number, start, stop = match.groups()
        return cls(int(number)) if stop is None else cls(int(number), int(start), int(stop))

    def of(self, batch: Batch) -> Batch:
        """Give its references.

        Args:
            batch: the whole batch of that number.
        """
        return batch if self.stop is None else batch.part(self.start, self.stop)

    @property
    def suspect(self) -> bool:
        """Whether it is one image that was set apart, since a process died with a piece in hand that held it."""
        return self.stop is not None and self.stop - self.start == 1

    def split(self, size: int) -> "list[Piece]":
        """Give up to `PARTS` parts of about the same size; none where it is a suspect, which can't be split.

        Args:
            size: how many images the whole batch has.
        """
        if self.suspect:
            return []
        stop = size if self.stop is None else self.stop
        count = min(PARTS, stop - self.start)
        ends = [self.start + (stop - self.start) * part // count for part in range(count + 1)]
        return [Piece(self.number, start, end) for start, end in pairwise(ends)]
