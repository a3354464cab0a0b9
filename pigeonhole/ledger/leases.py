"""Work on pieces: claim, renew, commit and release them, and record lost processes."""

from collections.abc import Iterable
from dataclasses import replace

from pigeonhole.errors import ErrorKind, MessageInvalid
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis.client import translates
from pigeonhole.ledger.redis.store import Store
from pigeonhole.ledger.wire.messages import Answers, Batch
from pigeonhole.ledger.wire.numbers import number_or

#: Seconds that a claim lasts unless it is renewed: the time until a lost worker is noticed.
LEASE = 20.0
#: The number of lost processes after which a single image becomes an error row. The worker's isolation run
#: (`worker.processing.isolation`) finds most such images earlier; this limit ends the retries of all others.
LOSSES = 20
#: The number of times that a quarantined image is released because its isolation run can't start; after that it is
#: classified without one. It waits `publish_seconds` (15 s) each time, so short memory has minutes to become free.
UNTRIED = 10


class Leases(Store):
    """The ledger's methods for workers: leases of pieces."""

    @translates
    def claim(self, job: str, piece: Piece) -> Batch | None:
        """Claim a piece and return its references.

        The worker must call `renew` within every `LEASE` seconds until it commits or releases the piece.

        Returns:
            The references; None if the piece is done, split, cancelled or unknown.

        Raises:
            MessageInvalid: the references can't be understood.
        """
        data = self._run("claim", job, str(piece), LEASE)
        return None if data is None else piece.of(_recorded(data, piece))

    @translates
    def renew(self, job: str, pieces: Iterable[Piece]) -> int:
        """Renew the leases of claimed pieces.

        Returns:
            The number of pieces that are still claimed; the others are done, split or waiting again.
        """
        return int(self._run("renew", job, LEASE, *map(str, pieces)))

    @translates
    def commit(self, job: str, piece: Piece, answers: Answers) -> bool:
        """Store the answers to a piece and remove it from the pending ones, in one step.

        Returns:
            False if the piece is not pending any more; then nothing has changed.
        """
        counts = (len(answers), len(answers.errors), len(answers.review))
        ttl = self.settings.result_ttl
        data = replace(answers, batch=piece.digest).encode()
        return bool(self._run("commit", job, str(piece), data, *counts, ttl))

    @translates
    def lose(self, job: str, piece: Piece, model: str) -> list[Piece]:
        """Record that the process with a piece was lost: split the piece, or count the loss of a single image.

        The parts become pending in place of the piece, so a late commit of the whole piece is dropped.

        Args:
            job, piece: the piece that the process had.
            model: the model's name for the row, if a single image becomes an error row.

        Returns:
            The pieces to publish now.

        Raises:
            MessageInvalid: the references can't be understood; then nothing has changed.
        """
        keys = self._keys(job)
        data = self.client.hget(keys[1], str(piece.number))
        if data is None:
            if self.client.zscore(keys[3], str(piece)) is None:
                return []
            raise MessageInvalid(f"batch {piece.number} has no references on record")
        parts = piece.split(len(_recorded(data, piece)))
        losses = self._run("lose", job, str(piece), self.settings.publish_seconds, *map(str, parts))
        if losses is None:
            return []
        if parts:
            return parts
        if losses < LOSSES:
            return [piece]
        blame = (ErrorKind.CRASHED, f"the process that classified this image alone crashed {losses} times")
        self.commit(job, piece, Answers.failed(model, [blame]))
        return []

    @translates
    def divide(self, job: str, piece: Piece, done: int, size: int) -> tuple[Piece, Piece] | None:
        """Divide a claimed piece, so that other workers can take its remaining images.

        Args:
            job, piece: the claimed piece.
            done: the number of images that are classified, from its first.
            size: the number of images in the piece.

        Returns:
            The classified part, to commit, and the rest, to publish; None if the piece is not claimed.
        """
        parts = piece.divided(done, size)
        split = self._run("lose", job, str(piece), self.settings.publish_seconds, *map(str, parts))
        return None if split is None else parts

    @translates
    def losses(self, job: str, piece: Piece) -> int:
        """Return the number of processes that were lost with a quarantined image."""
        return int(number_or(self.client.hget(self._keys(job)[5], f"losses:{piece.key}"), 0))

    @translates
    def untried(self, job: str, piece: Piece) -> int:
        """Return the number of times that a quarantined image's isolation run could not start."""
        return int(number_or(self.client.hget(self._keys(job)[5], f"untried:{piece.key}"), 0))

    @translates
    def release(self, job: str, piece: Piece, untried: bool = False) -> bool:
        """Release a claimed piece, so that another worker can try it.

        Args:
            job, piece: the claimed piece.
            untried: its isolation run could not start; this is counted.

        Returns:
            False if the piece is not claimed.
        """
        return bool(self._run("release", job, str(piece), self.settings.publish_seconds, int(untried)))


def _recorded(data: bytes, piece: Piece) -> Batch:
    """Return the recorded batch to which a piece belongs.

    Raises:
        MessageInvalid: the batch can't be read, is another one, or has fewer images than the piece needs.
    """
    batch = Batch.decode(data)
    if batch.digest != piece.digest:
        raise MessageInvalid(f"the references on record for batch {piece.number} are not those of {piece}")
    if piece.stop is not None and piece.stop > len(batch):
        raise MessageInvalid(f"batch {piece.number} has {len(batch)} images, so {piece} can't be a part of it")
    return batch
