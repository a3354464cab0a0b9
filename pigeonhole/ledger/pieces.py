"""Pieces: the work of one task, which is a batch or, after a worker loss, a part of one."""

import re
from dataclasses import dataclass
from itertools import pairwise

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.wire.messages import Batch

#: The largest number of parts into which a piece is split after a worker loss. To isolate one image in a batch of
#: 2,048 then costs 3 processes; halving would cost 11.
PARTS = 16
_SPELLED = re.compile(r"(\d{1,12})-([0-9a-f]{32})(?::(\d{1,6}):(\d{1,6}))?")


@dataclass(frozen=True)
class Piece:
    """Some of a batch's images: from `start` to before `stop`; None: to its end.

    Its text form is `17-DIGEST`, or `17-DIGEST:32:64` for a part of the batch. The digest is that of the batch's stored
    references. If Redis loses a batch and another gets its number, pieces of the old batch are therefore invalid.
    """

    number: int
    digest: str
    start: int = 0
    stop: int | None = None

    def __lt__(self, other: "Piece") -> bool:
        return self._place < other._place

    @property
    def _place(self) -> tuple[int, str, int, int]:
        return self.number, self.digest, self.start, self.stop or 0

    def __str__(self) -> str:
        return f"{self.number}-{self.digest}{self._part}"

    @property
    def key(self) -> str:
        """The text form without the digest, for people and for the job's rows: `17`, or `17:32:64`."""
        return f"{self.number}{self._part}"

    @property
    def _part(self) -> str:
        return "" if self.stop is None else f":{self.start}:{self.stop}"

    @classmethod
    def parse(cls, text: str) -> "Piece":
        """Parse the text form of a piece.

        Raises:
            MessageInvalid: the text is not that of a piece.
        """
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise MessageInvalid(f"{text[:100]!r} is not the name of a batch or a part of one")
        number, digest, start, stop = match.groups()
        if stop is None:
            return cls(int(number), digest)
        if int(start) >= int(stop):
            raise MessageInvalid(f"{text[:100]!r} names no image: its end is not after its start")
        return cls(int(number), digest, int(start), int(stop))

    @classmethod
    def parse_key(cls, key: str, digest: str) -> "Piece":
        """Return the piece with this `key` of the batch with this digest; raise what `parse` raises."""
        number, colon, part = key.partition(":")
        return cls.parse(f"{number}-{digest}{colon}{part}")

    def of(self, batch: Batch) -> Batch:
        """Return the references of the piece.

        Args:
            batch: the whole batch.
        """
        return batch if self.stop is None else batch.part(self.start, self.stop)

    @property
    def quarantined(self) -> bool:
        """True for a single image, which is quarantined: a process was lost with a piece that contained it."""
        return self.stop is not None and self.stop - self.start == 1

    def divided(self, at: int, size: int) -> "tuple[Piece, Piece]":
        """Return two parts: the first `at` images, and the rest of the piece's `size` images."""
        middle = self.start + at
        rest = Piece(self.number, self.digest, middle, self.start + size)
        return Piece(self.number, self.digest, self.start, middle), rest

    def split(self, size: int) -> "list[Piece]":
        """Return up to `PARTS` parts of about the same size; an empty list for a single image.

        Args:
            size: the number of images in the whole batch.
        """
        if self.quarantined:
            return []
        stop = size if self.stop is None else self.stop
        count = min(PARTS, stop - self.start)
        ends = [self.start + (stop - self.start) * part // count for part in range(count + 1)]
        return [Piece(self.number, self.digest, start, end) for start, end in pairwise(ends)]
