"""A piece: what one task works off. A batch, or after a death a part of one."""

import re
from dataclasses import dataclass

from worker.contract.errors import MessageInvalid
from worker.contract.messages import Batch

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

    def halves(self, size: int) -> "tuple[Piece, Piece] | None":
        """Give the two halves, or None where it is one image.

        Args:
            size: how many images the whole batch has.
        """
        stop = size if self.stop is None else self.stop
        if stop - self.start < 2:
            return None
        middle = (self.start + stop) // 2
        return Piece(self.number, self.start, middle), Piece(self.number, middle, stop)
