"""References → batches → ledger and queue."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from producer.sources import Reference
from worker.contract.ledger import Ledger
from worker.contract.messages import Batch, Group
from worker.contract.pieces import Piece
from worker.contract.queue import Queue

#: The first batches are small, so that a small job spreads over all workers; they double up to the largest, so that
#: a large job costs few messages.
SMALLEST, LARGEST = 64, 2048
#: At each size there are this many batches before the next: enough to keep a handful of workers alike busy.
PER_SIZE = 8
#: A batch holds no more bytes of files than this (but at least one file): about a second's work of photos.
MOST_BYTES = 64_000_000


def submit(ledger: Ledger, queue: Queue, job: str, references: Iterable[Reference]) -> None:
    """Put all references on record and publish their batches, then close the job.

    Each batch is in the ledger before its message is published, so what is owed is known whatever gets lost.

    Args:
        job: an open one.

    Raises:
        SourceError: a source can't be read to its end; the job stays open, with what was submitted.
        BrokerUnreachable: Redis is away for longer than we wait.
        JobCancelled, UnknownJob: somebody else cancelled or deleted it.
    """
    model = ledger.status(job).model
    count = 0
    for number, batch in enumerate(batches(references)):
        if ledger.add(job, number, batch):
            queue.publish(model, job, Piece(number))
        count += 1
    ledger.close(job, count)


def batches(references: Iterable[Reference]) -> Iterator[Batch]:
    """Cut a stream into batches: small ones first, and fewer images in each where files are large."""
    number, held, size = 0, list[Reference](), 0
    for reference in references:
        if held and (len(held) >= batch_size(number) or size + reference.size > MOST_BYTES):
            yield _batch(held)
            number, held, size = number + 1, [], 0
        held.append(reference)
        size += reference.size
    if held:
        yield _batch(held)


def batch_size(number: int) -> int:
    """Give the number of images that the batch of this number holds at most."""
    return min(LARGEST, SMALLEST << (number // PER_SIZE))


def _batch(references: list[Reference]) -> Batch:
    return Batch(
        tuple(
            Group(shown, rooted, tuple(reference.path for reference in group))
            for (shown, rooted), group in groupby(references, key=lambda reference: reference[:2])
        )
    )
