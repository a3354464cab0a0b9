"""References → batches → ledger and queue."""

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
from pigeonhole.ledger.messages import Batch, Group
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.task_queue import Queue
from pigeonhole.limits import TOP
from pigeonhole.sources.reference import Reference

#: The first batches are small, so that a small job spreads over all workers; they double up to the largest, so that
#: a large job costs few messages. At each size there are this many: beside its images, a batch costs 2 ms of processor
#: time, as much as 50 digits.
SMALLEST, LARGEST = 64, 2048
PER_SIZE = 2
#: The references of this many batches are known when one is cut: where fewer are left, it is that share of them, so
#: that towards the end batches get small again, and of a handful of workers nobody has much left to do when others are
#: done. Nor is any a smaller share of the size that they have come to: for 2,048 that is a chunk, which a network takes
#: at once, and less of it costs more.
AHEAD = 8
#: A batch holds no more bytes of files than this (but at least one file): about a second's work of photos.
MOST_BYTES = 64_000_000
#: A batch has no more classes in its rows than this: some 20 MB of memory where the rows are read.
MOST_SCORES = 200_000
#: What the references of a group share.
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
    """Put all references on record and publish their batches, then close the job.

    Each batch is recorded in the run, then in the ledger, before its message is published, so no message that gets lost
    loses a batch. The batches that the run has already are submitted again first, and whenever Redis has forgotten a
    part of what it had acknowledged: a batch that is on record stays as it is. The sources are walked once, so what
    changes in them meanwhile cannot break the job.

    Args:
        ledger, queue: of one Redis.
        job: an open one; of one that is complete it is only checked that these are its references.
        references: that follow those of the run.
        retrying: how a Redis that is away or full is waited for.
        run: of a command that may be resumed; None: the batches are kept in a temporary file.
        top: how many of its most probable classes each row shall have.

    Raises:
        SourceError: a source can't be read to its end; the job stays open, with what was submitted.
        UsageError: it was begun with other references.
        OutputFailed: there is no room to record a batch.
        BrokerUnreachable: Redis is away for longer than the policy allows.
        JobCancelled, UnknownJob: somebody else cancelled or deleted it.
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
            new = ((run.add(batch), batch) for batch in following)  # none, the second time
            for number, batch in chain(recorded, new):
                piece = retrying(partial(ledger.add, job, number, batch))
                if piece:
                    retrying(partial(queue.publish, model, job, piece))
            complete = retrying(partial(ledger.close, job, run.size))


class Submission:
    """Submits from a thread of its own, so that rows can be followed from the beginning.

    Args:
        submit: does it; called once more where Redis has forgotten, after the end, that there was one.
        at_once: or only when a look at the job shows that it is open.

    Attributes:
        reported: whether `check` has raised what went wrong.
    """

    def __init__(self, submit: Callable[[], None], at_once: bool = True) -> None:
        self.reported = False
        self._submit = submit
        self._wrong: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="submit", daemon=True)
        self._was_over = not at_once
        if at_once:
            self._thread.start()

    @property
    def settled(self) -> bool:
        """True if it is over, and its error, if there is one, was raised."""
        return not self._thread.is_alive() and (self.reported or self._wrong is None)

    def check(self) -> None:
        """Raise what went wrong with it, if something did; called before each look at the job."""
        over = not self._thread.is_alive()  # first: what went wrong is set before the thread ends
        if self._wrong:
            self.reported = True
            raise self._wrong
        self._was_over = over

    def on_status(self, status: JobStatus) -> None:
        """Submit again if the job is open though no submission was going on before this look."""
        if self._was_over and status.submitting:
            self._was_over = False
            self._thread = threading.Thread(target=self._run, name="submit", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait for the end of what is going on, whether it goes well or not."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._submit()
        except Exception as exc:  # noqa: BLE001  # raised again where the job is followed
            self._wrong = exc


def batches(references: Iterable[Reference], top: int = TOP) -> Iterator[Batch]:
    """Cut a stream into batches: small ones first and last, and fewer images in each where files or rows are large."""
    stream = iter(references)
    held = list[Reference]()
    for number in count():
        most = min(batch_size(number), MOST_SCORES // top)
        # The first go out as they come: a list on standard input may come slowly.
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
    """Return the number of images that the batch of this number holds at most."""
    return min(LARGEST, SMALLEST << (number // PER_SIZE))


def _batch(references: list[Reference], top: int) -> Batch:
    return Batch(tuple([_group(list(group)) for _, group in groupby(references, key=_FROM)]), top)


def _group(references: list[Reference]) -> Group:
    scheme, shown, root, *_ = references[0]
    places = tuple([reference.place for reference in references if reference.place])
    return Group(scheme, shown, root, tuple([reference.path for reference in references]), places)
