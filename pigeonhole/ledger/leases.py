"""Work on pieces: claim, renew, commit, release, and the loss of a process that has a piece in hand."""

from collections.abc import Iterable
from dataclasses import replace

from pigeonhole.errors import ErrorKind, MessageInvalid
from pigeonhole.ledger.messages import Answers, Batch
from pigeonhole.ledger.numbers import number_or
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import translates
from pigeonhole.ledger.store import Store

#: Seconds that a claim lasts unless it is renewed: so long a worker that vanished goes unnoticed.
LEASE = 20.0
#: How often a single image may be lost with its process before it is blamed. One that kills its reader is found by
#: the worker (`worker.isolation`) long before; this only keeps any other from going round for ever.
LOSSES = 20
#: How often a quarantined image is released because its isolation run can't start, before it is classified without
#: one. Each time it waits `publish_seconds` (15 s): memory that is short has minutes to become free.
UNTRIED = 10


class Leases(Store):
    """What workers do with the pieces of a job."""

    @translates
    def claim(self, job: str, piece: Piece) -> Batch | None:
        """Claim a piece, and return its references.

        It must be renewed within `LEASE` seconds, and again, for as long as it is in hand.

        Returns:
            None where it is done, split, cancelled or unknown: there is nothing to do.

        Raises:
            MessageInvalid: the references can't be understood.
        """
        data = self._run("claim", job, str(piece), LEASE)
        return None if data is None else piece.of(_recorded(data, piece))

    @translates
    def renew(self, job: str, pieces: Iterable[Piece]) -> int:
        """Renew the leases of pieces that are in hand.

        Returns:
            How many of them are claimed; the others are done or split, or wait again.
        """
        return int(self._run("renew", job, LEASE, *map(str, pieces)))

    @translates
    def commit(self, job: str, piece: Piece, answers: Answers) -> bool:
        """Store the answers to a piece and remove it from the pending ones, in one step.

        Returns:
            False where it is not pending any more; then nothing has changed.
        """
        counts = (len(answers), len(answers.errors), len(answers.review))
        ttl = self.settings.result_ttl
        data = replace(answers, batch=piece.digest).encode()
        return bool(self._run("commit", job, str(piece), data, *counts, ttl))

    @translates
    def lose(self, job: str, piece: Piece, model: str) -> list[Piece]:
        """Note that the process with a piece in hand was lost: split the piece, or count the loss of a single image.

        A piece that is split is not pending any more, only its parts are: what its late owner may commit is dropped.

        Args:
            job, piece: what was in hand.
            model: what the error row names, should the one image be blamed.

        Returns:
            What should be published now.

        Raises:
            MessageInvalid: the references can't be understood; then nothing has changed.
        """
        keys = self._keys(job)
        data = self.client.hget(keys[1], str(piece.number))
        if data is None:
            if self.client.zscore(keys[3], str(piece)) is None:
                return []
            raise MessageInvalid(f"no references are on record as batch {piece.number}")
        parts = piece.split(len(_recorded(data, piece)))
        losses = self._run("lose", job, str(piece), self.settings.publish_seconds, *map(str, parts))
        if losses is None:
            return []
        if parts:
            return parts
        if losses < LOSSES:
            return [piece]
        blame = (ErrorKind.CRASHED, f"the process that had it, and nothing else, in hand ended {losses} times")
        self.commit(job, piece, Answers.failed(model, [blame]))
        return []

    @translates
    def divide(self, job: str, piece: Piece, done: int, size: int) -> tuple[Piece, Piece] | None:
        """Divide a piece that is in hand, so that other workers may take what is left of it.

        Args:
            job, piece: what is in hand.
            done: how many of its images are classified: its first ones.
            size: how many it has.

        Returns:
            What is done, to be committed, and the others, to be published; None where nobody has it in hand.
        """
        parts = piece.divided(done, size)
        split = self._run("lose", job, str(piece), self.settings.publish_seconds, *map(str, parts))
        return None if split is None else parts

    @translates
    def losses(self, job: str, piece: Piece) -> int:
        """Return how often a quarantined image was lost with its process."""
        return int(number_or(self.client.hget(self._keys(job)[5], f"losses:{piece.key}"), 0))

    @translates
    def untried(self, job: str, piece: Piece) -> int:
        """Return how often a quarantined image was released because its isolation run could not start."""
        return int(number_or(self.client.hget(self._keys(job)[5], f"untried:{piece.key}"), 0))

    @translates
    def release(self, job: str, piece: Piece, untried: bool = False) -> bool:
        """Return a claimed piece to those that wait: another worker may be able to read it.

        Args:
            job, piece: what is in hand.
            untried: whether its isolation run could not start, which is counted.

        Returns:
            False where nobody has it in hand.
        """
        return bool(self._run("release", job, str(piece), self.settings.publish_seconds, int(untried)))


def _recorded(data: bytes, piece: Piece) -> Batch:
    """Return the batch on record that a piece is of.

    Raises:
        MessageInvalid: it can't be understood, is another, or has fewer images than the piece says.
    """
    batch = Batch.decode(data)
    if batch.digest != piece.digest:
        raise MessageInvalid(f"the references on record as batch {piece.number} are not those of {piece}")
    if piece.stop is not None and piece.stop > len(batch):
        raise MessageInvalid(f"batch {piece.number} has {len(batch)} images: {piece} is no part of it")
    return batch
