"""A finished batch as the ledger stores it: its references, and the answers to its pieces."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import NamedTuple

from pigeonhole.errors import JobDamaged
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.wire.messages import Answers, Batch, Row
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.sources.reference import Identity, Location


class Origin(NamedTuple):
    """The image from which a row was computed.

    Args:
        location: the location of the image.
        identity: the identity of its file when a worker read it; 0 if it was not read or its times are too recent.
    """

    location: Location
    identity: Identity


@dataclass(frozen=True)
class DoneBatch:
    """A batch whose images all have an answer.

    Args:
        number: its number in the job.
        references: the batch, as `Batch.encode` wrote it.
        answers: the key and the answers of each piece, as `Answers.encode` wrote them, in the batch's order. A batch
            that was not split has one piece.

    Raises:
        MessageInvalid: the answers are damaged, or belong to other references; raised by all methods but `__init__`.
    """

    number: int
    references: bytes
    answers: tuple[tuple[str, bytes], ...]

    @cached_property
    def batch(self) -> Batch:
        """The references of the whole batch."""
        return Batch.decode(self.references)

    @cached_property
    def pieces(self) -> list[tuple[Batch, Answers]]:
        """The references and the answers of each piece."""
        return [self._piece(key, Answers.decode(data)) for key, data in self.answers]

    def rows(self, options: RowOptions = DEFAULT) -> list[Row]:
        """Return one row for each reference, in their order; see `Answers.rows`."""
        return [row for batch, answers in self.pieces for row in answers.rows(batch, options)]

    def origins(self) -> Iterator[Origin]:
        """Yield the origin of each row, in the order of `rows`."""
        for batch, answers in self.pieces:
            yield from map(Origin, batch.located(), answers.identities or repeat(0))

    def _piece(self, key: str, answers: Answers) -> tuple[Batch, Answers]:
        if answers.batch != self.batch.digest:
            raise JobDamaged(
                f"the answers to batch {key} belong to other references than those on record: delete the job, then "
                "submit it again"
            )
        return Piece.parse_key(key, self.batch.digest).of(self.batch), answers
