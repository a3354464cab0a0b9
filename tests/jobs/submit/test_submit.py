"""Cutting references into batches, and submitting them."""

import itertools
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pigeonhole.client import Client
from pigeonhole.errors import BrokerUnreachable, JobCancelled, SourceError, UnknownJob
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.state import State
from pigeonhole.jobs.submit import AHEAD, LARGEST, MOST_BYTES, PER_SIZE, SMALLEST, batch_size, batches, submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.sweep import sweep
from pigeonhole.ledger.wire.messages import Group
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Reference, Root
from tests.jobs.references import references
from tests.sources.conftest import touch

#: Retries without waiting.
AT_ONCE = Retrying(0)


def sizes(count: int, size: int = 0) -> list[int]:
    return [len(batch) for batch in batches(references(count, size))]


@pytest.fixture
def queue(settings: Settings) -> Queue:
    return Queue(settings)


def test_the_first_batches_are_small_and_double_up_to_the_largest() -> None:
    at_most = [batch_size(number) for number in range(8 * PER_SIZE)]
    assert at_most == list(itertools.chain.from_iterable([size] * PER_SIZE for size in (64, 128, 256, 512, 1024))) + (
        [2048] * 3 * PER_SIZE
    )
    assert (at_most[0], at_most[-1]) == (SMALLEST, LARGEST)
    assert batch_size(10**9) == LARGEST
    assert sizes(sum(at_most) + AHEAD * LARGEST)[: len(at_most)] == at_most


def test_the_last_batches_are_decreasing_shares_of_the_remaining_images() -> None:
    cut = sizes(100_000)
    left = [sum(cut[at:]) for at in range(len(cut))]
    last = next(at for at, images in enumerate(left) if images < AHEAD * LARGEST)
    assert cut[last - 1] == LARGEST
    assert all(
        images == min(rest, max(LARGEST // AHEAD, math.ceil(rest / AHEAD)))
        for images, rest in zip(cut[last:], left[last:], strict=True)
    )


def test_a_stream_is_read_only_a_few_batches_ahead() -> None:
    taken = 0

    def stream() -> Iterator[Reference]:
        nonlocal taken
        for reference in references(1_000_000):
            taken += 1
            yield reference

    cut = batches(stream())
    assert (len(next(cut)), taken) == (SMALLEST, SMALLEST)
    cut_off = SMALLEST + sum(len(batch) for batch in itertools.islice(cut, 100))
    assert taken - cut_off < AHEAD * LARGEST


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (64, [64]), (65, [64, 1]), (513, [64] * 8 + [1])])
def test_a_small_job_is_cut_into_as_few_batches_as_possible(count: int, expected: list[int]) -> None:
    assert sizes(count) == expected


def test_a_batch_of_large_files_has_fewer_images() -> None:
    assert sizes(100, size=MOST_BYTES // 10) == [10] * 10
    assert sizes(100, size=MOST_BYTES // 10 + 1) == [9] * 11 + [1]
    assert sizes(3, size=MOST_BYTES * 5) == [1, 1, 1], "a larger file has a batch of its own"


def test_a_large_file_has_a_batch_of_its_own_and_no_image_is_lost() -> None:
    mixed = [Reference("file", "", "", str(at), size=MOST_BYTES if at == 3 else 1) for at in range(6)]
    assert [list(batch.shown()) for batch in batches(mixed)] == [["0", "1", "2"], ["3"], ["4", "5"]]


def test_references_keep_their_order_and_share_their_prefixes() -> None:
    given = [
        Reference("file", "in/", "r/in/", "a"),
        Reference("file", "in/", "r/in/", "b"),
        Reference("file", "x/", "r/x/", "c"),
        Reference("file", "in/", "r/in/", "d"),
    ]
    [batch] = batches(given)
    assert batch.groups == (
        Group("file", "in/", "r/in/", ("a", "b")),
        Group("file", "x/", "r/x/", ("c",)),
        Group("file", "in/", "r/in/", ("d",)),
    )
    many = [path for batch in batches(references(5000)) for path in batch.shown()]
    assert many == [f"in/{number}.png" for number in range(5000)]


def test_a_submitted_job_is_closed_and_each_pending_batch_has_a_message(ledger: Ledger, queue: Queue) -> None:
    job = ledger.create("digits", ("in",))
    submit(ledger, queue, job, references(1000), AT_ONCE)
    status = ledger.status(job)
    assert (status.submitting, status.images, status.batches, status.batches_waiting) == (False, 1000, 11, 11)
    assert queue.depth("digits") == 11
    first = ledger.claim(job, ledger.pending(job)[0])
    assert first is not None
    assert list(first.shown()) == [f"in/{number}.png" for number in range(64)]


def test_a_job_without_references_is_finished_at_once(ledger: Ledger, queue: Queue) -> None:
    job = ledger.create("digits", ("in",))
    submit(ledger, queue, job, [], AT_ONCE)
    assert ledger.status(job).state == "finished"
    assert queue.depth("digits") == 0


class Fails(Queue):
    """A queue that publishes some messages before Redis goes down."""

    def __init__(self, settings: Settings, after: int) -> None:
        super().__init__(settings)
        self.left = after

    def publish(self, model: str, job: str, piece: Piece, first: bool = False) -> None:
        if self.left == 0:
            raise BrokerUnreachable("gone")
        self.left -= 1
        super().publish(model, job, piece)


def test_a_batch_is_on_record_before_its_message_is_published(settings: Settings, ledger: Ledger, queue: Queue) -> None:
    job = ledger.create("digits", ("in",))
    with pytest.raises(BrokerUnreachable):
        submit(ledger, Fails(settings, after=2), job, references(64 * 3), AT_ONCE)
    status = ledger.status(job)
    assert (status.submitting, status.batches, status.batches_waiting) == (True, 3, 3)
    assert queue.depth("digits") == 2
    later = Ledger(settings, now=lambda: status.created + 3600)
    assert sweep(later, queue) == 1
    assert queue.depth("digits") == 3


def test_a_source_that_fails_leaves_the_job_open_with_the_submitted_images(
    folder: Path, ledger: Ledger, queue: Queue
) -> None:
    touch(*(f"in/{number:03}.png" for number in range(100)), "in/sub/last.png")
    walk = expand(["in"], Root("/"))
    (folder / "in/sub/last.png").unlink()
    (folder / "in/sub").rmdir()
    job = ledger.create("digits", ("in",))
    with pytest.raises(SourceError, match=r"'in/sub/'.*: No such file or directory"):
        submit(ledger, queue, job, walk, AT_ONCE)
    status = ledger.status(job)
    assert (status.submitting, status.images) == (True, 64)


def test_batches_of_the_longest_paths_can_be_claimed(folder: Path, ledger: Ledger, queue: Queue) -> None:
    job = ledger.create("digits", ("@list",))
    (folder / "list").write_bytes((b"\xff" * 4096 + b"\n") * 3000)  # six characters of JSON for each byte
    submit(ledger, queue, job, expand(["@list"], Root("/")), AT_ONCE)
    claimed = [ledger.claim(job, piece) for piece in ledger.pending(job)]
    assert sum(len(batch) for batch in claimed if batch) == 3000
    job = ledger.create("digits", ("@list",))
    (folder / "list").write_bytes((b"x" * 1_000_000 + b"\n") * 64)  # more than the limit of a message
    with pytest.raises(SourceError, match=r"line 1 .*'@list'.* 4,096 bytes"):
        submit(ledger, queue, job, expand(["@list"], Root("/")), AT_ONCE)
    assert ledger.pending(job) == []


def test_cancelling_or_deleting_a_job_ends_its_submission(ledger: Ledger, queue: Queue) -> None:
    def interrupted(job: str, step: str) -> Iterator[Reference]:
        yield from references(65)
        getattr(ledger, step)(job)
        yield from references(1000)

    for step, error in (("cancel", JobCancelled), ("delete", UnknownJob)):
        job = ledger.create("digits", ("in",))
        with pytest.raises(error):
            submit(ledger, queue, job, interrupted(job, step), AT_ONCE)


def test_the_queue_is_named_after_the_model(connection: Connection) -> None:
    assert Connection.model_name("digits") == "digits"
    assert Connection.model_name("/models/letters-v2.safetensors") == "letters-v2"
    assert connection.status(connection.create(["in"])).model == "digits"
    assert connection.status(connection.create(["in", "b\udcff"], "letters")).model == "letters"


def test_a_job_can_be_resumed_if_it_exists_and_has_the_same_model_and_images(
    connection: Connection,
) -> None:
    job = connection.create(["in"])
    with closing(State.temporary()) as state:
        run = state.begin_run(job)
        submit(connection.ledger, connection.queue, job, references(100), AT_ONCE, run)
        assert connection.can_resume(run, "digits")
        assert not connection.can_resume(run, "letters")
        assert not connection.can_resume(state.begin_run(""), "digits"), "the run had an embedded Redis"
        other = state.begin_run(job)
        for batch in batches(references(99)):
            other.add(batch)
        assert not connection.can_resume(other, "digits"), "the job has other images"
        connection.cancel(job)
        assert not connection.can_resume(run, "digits")
        connection.delete(job)
        assert not connection.can_resume(run, "digits")
    connection.delete(job, missing_ok=True)
    with pytest.raises(UnknownJob):
        connection.delete(job)


def test_a_client_without_a_redis_raises_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnreachable, match=f"unix://{tmp_path}/no.sock"):
        Client(settings=Settings(broker_url=f"unix://{tmp_path}/no.sock"))


def test_an_error_of_a_background_submission_is_raised_by_the_follower(
    connection: Connection,
) -> None:
    job = connection.create(["in"])

    def failing() -> Iterator[Reference]:
        yield from references(65)
        raise SourceError("gone")

    submission = connection.submission(job, failing())
    with pytest.raises(SourceError, match=r"^gone$"):
        list(connection.follow(job, on_status=submission.on_status, check=submission.check))
    assert connection.status(job).images == 64


def test_resuming_publishes_all_pending_batches_and_no_others(connection: Connection) -> None:
    job = connection.create(["in"])
    connection.submit(job, references(64 * 3))
    connection.ledger.claim(job, connection.ledger.pending(job)[0])
    before = connection.queue.depth("digits")
    assert connection.resume(job) == 3
    assert connection.queue.depth("digits") == before + 3
    connection.cancel(job)
    assert connection.resume(job) == 0
    with pytest.raises(UnknownJob):
        connection.resume("no-such-job")
