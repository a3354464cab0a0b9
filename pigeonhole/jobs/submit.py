"""Submission: divide references into batches, record these in the ledger, and publish their messages."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import accumulate, chain, count, groupby, islice, takewhile
from operator import attrgetter

from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.state import Run, State
from pigeonhole.jobs.submitter import heartbeat
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.limits import TOP
from pigeonhole.sources.reference import Reference

#: The sizes of batches, and the number of batches of each size before it doubles. The first ones are small, so that a
#: small job uses all workers. The last are large, since a batch costs 2 ms of processor time, as 50 digits do.
SMALLEST, LARGEST = 64, 2048
PER_SIZE = 2
#: The number of batches for which references are read ahead. Near the end a batch gets 1/8 of the remaining references,
#: so batches shrink and workers finish at about the same time. A batch has at least 1/8 of its regular size: of 2,048
#: that is one chunk for the network, and a smaller chunk costs more per image.
AHEAD = 8
#: The largest total size of a batch's files in bytes, unless it has one file: photos for about a second of work.
MOST_BYTES = 64_000_000
#: The largest number of probabilities in the rows of a batch: some 20 MB of memory in the producer.
MOST_SCORES = 200_000
#: The fields that all references of a group share.
_FROM = attrgetter("scheme", "shown", "root")


def submit(
    ledger: Ledger,
    queue: Queue,
    job: str,
    references: Iterable[Reference],
    retrying: Retrying,
    run: Run | None = None,
    top: int = TOP,
) -> None:
    """Record all references in batches and publish these, then close the job.

    Each batch is recorded in the run, then in the ledger, and then its message is published. So a lost message loses no
    batch. Batches that the run has already are submitted first, and again if Redis has lost a part of the job; a batch
    that is on record is not changed. The sources are read once, so changes to them meanwhile do no harm.

    Args:
        ledger, queue: the ledger and the queue of one Redis.
        job: the id of an open job; for a complete job, only the references are compared.
        references: the references that follow those of the run.
        retrying: the retries while Redis is down or full.
        run: the run of a command that may be resumed; None: batches are recorded in a temporary file.
        top: the number of most probable classes in each row.

    Raises:
        SourceError: a source can't be read to its end; the job stays open, with the batches so far.
        UsageError: the job was started with other references.
        OutputFailed: the disk has no room to record a batch.
        BrokerUnreachable: Redis is down for longer than the retry policy allows.
        JobCancelled, UnknownJob: the job was cancelled or deleted meanwhile.
    """
    if run is None:
        with closing(State.temporary()) as state:
            submit(ledger, queue, job, references, retrying, state.begin_run(job), top)
        return
    model = retrying(lambda: ledger.status(job)).model
    following = batches(references, top)
    complete = False
    with heartbeat(ledger, job):
        while not complete:
            recorded = run.batches()
            new = ((run.add(batch), batch) for batch in following)  # empty in the second round
            for number, batch in chain(recorded, new):
                piece = retrying(partial(ledger.add, job, number, batch))
                if piece:
                    retrying(partial(queue.publish, model, job, piece))
            complete = retrying(partial(ledger.close, job, run.size))


class Submission:
    """Submits in a thread, so that rows can be read while images are submitted.

    Args:
        submit: submits everything; called again if Redis has lost a part of the job after its end.
        at_once: start now; False: only when `on_status` shows that the job is open.

    Attributes:
        reported: whether `check` has raised the error of the submission.
    """

    def __init__(self, submit: Callable[[], None], at_once: bool = True) -> None:
        self.reported = False
        self._submit = submit
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="submit", daemon=True)
        self._was_over = not at_once
        if at_once:
            self._thread.start()

    @property
    def settled(self) -> bool:
        """True if the submission is over, and its error, if there is one, was raised."""
        return not self._thread.is_alive() and (self.reported or self._error is None)

    def check(self) -> None:
        """Raise the error of the submission, if there is one; called before each poll of the job."""
        over = not self._thread.is_alive()  # first: the error is set before the thread ends
        if self._error:
            self.reported = True
            raise self._error
        self._was_over = over

    def on_status(self, status: JobStatus) -> None:
        """Submit again if the job is open although the submission was over before this poll."""
        if self._was_over and status.submitting:
            self._was_over = False
            self._thread = threading.Thread(target=self._run, name="submit", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait for the end of the submission, whether it succeeds or not."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._submit()
        except Exception as exc:  # noqa: BLE001  # raised again where the job is followed
            self._error = exc


def batches(references: Iterable[Reference], top: int = TOP) -> Iterator[Batch]:
    """Divide a stream into batches: small ones first and last, with fewer images if files or rows are large."""
    stream = iter(references)
    held = list[Reference]()
    for number in count():
        most = min(batch_size(number), MOST_SCORES // top)
        # The first batches do not wait for references ahead: a list on standard input may come slowly.
        known = most if number < PER_SIZE else AHEAD * most
        held.extend(islice(stream, known - len(held)))
        if not held:
            return
        most = max(SMALLEST, most // AHEAD, -(-len(held) // AHEAD))
        size = accumulate(reference.size for reference in islice(held, most))
        images = max(1, sum(1 for _ in takewhile(lambda size: size <= MOST_BYTES, size)))
        yield _batch(held[:images], top)
        del held[:images]


def batch_size(number: int) -> int:
    """Return the largest number of images in the batch with this number."""
    return min(LARGEST, SMALLEST << (number // PER_SIZE))


def _batch(references: list[Reference], top: int) -> Batch:
    return Batch(tuple([_group(list(group)) for _, group in groupby(references, key=_FROM)]), top)


def _group(references: list[Reference]) -> Group:
    scheme, shown, root, *_ = references[0]
    places = tuple([reference.place for reference in references if reference.place])
    return Group(scheme, shown, root, tuple([reference.path for reference in references]), places)
