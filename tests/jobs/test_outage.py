"""Outages: submission and following continue after Redis was down, full, or has lost writes."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pigeonhole.errors import BrokerRefuses, BrokerUnreachable, NoWorker, UnknownJob, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.follow import NO_WORKER_SECONDS, Follower
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.state import State
from pigeonhole.jobs.submit import Submission, batches, submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Reference, Root
from tests.faults.server import RedisServer
from tests.jobs.test_submit import references
from tests.ledger.conftest import Clock, Server, answers_for
from tests.sources.conftest import touch

WORKER = Announcement(name="celery@one", model="digits", digest="d", version="1")


class Shown:
    """Records notices, and calls a function when an outage begins."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.reported: list[str] = []
        self._then = then

    def away(self, exc: BrokerUnreachable) -> None:
        self.reported.append(str(exc))
        self._then()

    def back(self) -> None:
        self.reported.append("back")

    def held(self, why: str) -> None:
        self.reported.append(why)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Yield a Redis for this test, which writes everything to disk at once."""
    server = RedisServer(tmp_path, fsync="always")
    yield server
    server.close()


@pytest.fixture
def own(server: RedisServer) -> Settings:
    return Settings(broker_url=server.url)


def with_event(count: int, at: int, event: Callable[[], object]) -> Iterator[Reference]:
    """Yield references, and call a function in the middle."""
    for number, reference in enumerate(references(count)):
        if number == at:
            event()
        yield reference
    if at == count:
        event()


def complete(settings: Settings, job: str, images: int) -> bool:
    """Return whether all images are on record once, and no others."""
    ledger = Ledger(settings)
    status = ledger.status(job)
    listed = [path for piece in ledger.pending(job) for path in references_of(ledger, job, piece).shown()]
    expected = [f"in/{number}.png" for number in range(images)]
    return (status.submitting, status.images, listed) == (False, images, expected)


def references_of(ledger: Ledger, job: str, piece: Piece) -> Batch:
    batch = ledger.claim(job, piece)
    assert batch is not None
    return batch


def do_all(ledger: Ledger, job: str) -> None:
    """Answer all pending pieces as a worker would."""
    for piece in ledger.pending(job):
        batch = ledger.claim(job, piece)
        assert batch is not None
        ledger.commit(job, piece, answers_for(batch))


def test_a_submission_waits_for_a_redis_that_is_killed_and_is_complete_in_the_end(
    server: RedisServer, own: Settings
) -> None:
    shown = Shown(server.start)
    connection = Connection(own, Retrying(60, shown))
    job = connection.create(["in"])
    connection.submit(job, with_event(1000, 500, server.kill))
    assert shown.reported[0].startswith(f"no answer from Redis at {server.url}: ")
    assert shown.reported[1:] == ["back"]
    assert complete(own, job, 1000)


def test_retries_end(server: RedisServer, own: Settings) -> None:
    connection = Connection(own, Retrying(0))
    job = connection.create(["in"])
    with pytest.raises(BrokerUnreachable, match=r"^no answer from Redis at "):
        connection.submit(job, with_event(1000, 500, server.kill))
    server.start()
    assert connection.ledger.status(job).submitting
    connection.submit(job, references(1000))
    assert complete(own, job, 1000)


class FullAfterAdd(Ledger):
    """A ledger whose Redis becomes full once the last of three batches is on record."""

    def add(self, job: str, number: int, batch: Batch) -> Piece | None:
        added = super().add(job, number, batch)
        if number == 2:
            self.client.config_set("maxmemory", 1)
        return added


@pytest.mark.parametrize("step", ["add", "publish", "close"])
def test_a_submission_waits_for_a_full_redis_and_loses_nothing(start_redis: Callable[..., Server], step: str) -> None:
    settings = Settings(broker_url=start_redis("--maxmemory-policy", "noeviction").url)
    raw = Ledger(settings).client
    shown = Shown(lambda: raw.config_set("maxmemory", 0))
    job = Ledger(settings).create("digits", ("in",))
    ledger = FullAfterAdd(settings) if step == "publish" else Ledger(settings)
    at = {"add": 100, "publish": -1, "close": 64 * 3}[step]
    queue = Queue(settings)
    submit(ledger, queue, job, with_event(64 * 3, at, lambda: raw.config_set("maxmemory", 1)), Retrying(60, shown))
    assert len(shown.reported) == 2
    assert f"Redis at {settings.broker_url} is full: " in shown.reported[0]
    assert shown.reported[1] == "back"
    assert queue.depth("digits") == 3
    assert complete(settings, job, 64 * 3)


def test_a_job_is_created_once_there_is_room(start_redis: Callable[..., Server]) -> None:
    settings = Settings(broker_url=start_redis("--maxmemory", "1").url)
    raw = Ledger(settings).client
    connection = Connection(settings, Retrying(60, Shown(lambda: raw.config_set("maxmemory", 0))))
    job = connection.create(["in"])
    assert [status.job for status in connection.ledger.statuses()] == [job]


def test_what_waiting_does_not_mend_is_told_at_once(start_redis: Callable[..., Server]) -> None:
    settings = Settings(broker_url=start_redis().url)
    shown = Shown()
    connection = Connection(settings, Retrying(60, shown))
    job = connection.create(["in"])
    with pytest.raises(BrokerRefuses):
        connection.submit(
            job, with_event(1000, 100, lambda: connection.ledger.client.acl_setuser("default", commands=["-evalsha"]))
        )
    assert shown.reported == []


def forgets(server: RedisServer, size: Callable[[], int]) -> Callable[[], None]:
    """Make a Redis lose all writes after its file had a given size."""

    def forget() -> None:
        server.kill()
        assert server.truncate(size()) > 0
        server.start()

    return forget


def test_what_redis_forgets_in_mid_submission_is_submitted_again(server: RedisServer, own: Settings) -> None:
    connection = Connection(own, Retrying(60))
    job = connection.create(["in"])
    sizes: list[int] = []

    def walk() -> Iterator[Reference]:
        for number, reference in enumerate(references(1000)):
            if number == 100:
                sizes.append(server.size())
            if number == 250:
                forgets(server, lambda: sizes[0])()
            yield reference

    connection.submit(job, walk())
    assert complete(own, job, 1000)


def test_a_list_on_standard_input_is_read_once_whatever_redis_forgets(
    server: RedisServer, own: Settings, folder: Path
) -> None:
    connection = Connection(own, Retrying(60))
    job = connection.create(["-"])
    size = server.size()
    Path("list").write_text("".join(f"in/{number}.png\n" for number in range(100)))
    with as_standard_input(Path("list")):

        def forgetful() -> Iterator[Reference]:
            yield from expand(["-"], Root(str(folder)))
            forgets(server, lambda: size)()

        connection.submit(job, forgetful())
    assert complete(own, job, 100)


@pytest.mark.parametrize("change", ["renamed", "added", "removed"])
def test_a_change_of_the_sources_after_they_were_walked_does_not_matter_when_redis_forgets(
    server: RedisServer, own: Settings, folder: Path, change: str
) -> None:
    touch(*(f"in/{number:03}.png" for number in range(300)))
    connection = Connection(own, Retrying(60))
    job = connection.create(["in"])
    sizes: list[int] = []

    def changed() -> Iterator[Reference]:
        for number, reference in enumerate(expand(["in"], Root(str(folder)))):
            if number == 100:
                sizes.append(server.size())
            yield reference
        if change == "added":
            touch("in/0000.png")
        elif change == "renamed":
            os.rename("in/010.png", "in/999.png")
        else:
            os.unlink("in/010.png")
        forgets(server, lambda: sizes[0])()

    connection.submit(job, changed())
    do_all(connection.ledger, job)
    rows = [row.path for rows in connection.follow(job) for row in rows]
    assert rows == [f"in/{number:03}.png" for number in range(300)]


@contextmanager
def as_standard_input(file: Path) -> Iterator[None]:
    before = os.dup(0)
    try:
        with file.open() as opened:
            os.dup2(opened.fileno(), 0)
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_submission_whose_end_redis_forgets_is_done_again_by_whoever_follows(
    server: RedisServer, own: Settings
) -> None:
    connection = Connection(own, Retrying(60))
    job = connection.create(["in"])
    sizes: list[int] = []
    submission = connection.submission(job, with_event(1000, 500, lambda: sizes.append(server.size())))
    submission.finish()
    assert not connection.status(job).submitting
    forgets(server, lambda: sizes[0])()
    assert connection.status(job).submitting

    def work() -> None:
        submission.check()
        do_all(connection.ledger, job)

    rows = [row.path for rows in connection.follow(job, on_status=submission.on_status, check=work) for row in rows]
    assert rows == [f"in/{number}.png" for number in range(1000)]
    assert connection.status(job).state == "finished"


def test_a_submission_that_goes_on_is_not_begun_a_second_time(settings: Settings) -> None:
    connection = Connection(settings, Retrying())
    job = connection.create(["in"])
    walks: list[int] = []
    gate = threading.Event()

    def walk() -> Iterator[Reference]:
        walks.append(1)
        gate.wait(60)
        yield from references(10)

    submission = connection.submission(job, walk())
    submission.check()
    open_status = connection.status(job)
    submission.on_status(open_status)
    gate.set()
    submission.finish()
    submission.on_status(open_status)  # this status may be from before the end
    submission.finish()
    assert len(walks) == 1


def test_a_job_that_is_taken_up_is_submitted_only_if_it_is_open(settings: Settings) -> None:
    connection = Connection(settings, Retrying())
    job = connection.create(["in"])
    connection.ledger.add(job, 0, next(batches(references(100))))
    submission = connection.submission(job, references(100), at_once=False)
    submission.check()
    submission.on_status(connection.status(job))
    submission.finish()
    assert complete(settings, job, 100)
    again = Submission(pytest.fail, at_once=False)
    again.check()
    again.on_status(connection.status(job))
    again.finish()
    again.check()


def test_submitting_again_adds_nothing_and_other_sources_are_refused(settings: Settings) -> None:
    connection = Connection(settings, Retrying())
    job = connection.create(["in"])
    connection.submit(job, references(1000))
    depth = connection.queue.depth("digits")
    connection.submit(job, references(1000))
    assert connection.queue.depth("digits") == depth
    for other in (references(900), references(1001), itertools.islice(references(1001), 1, None)):
        with pytest.raises(UsageError):
            connection.submit(job, other)
    assert complete(settings, job, 1000)


# Following


def test_following_goes_on_when_redis_is_back_and_gives_workers_time_to_come_back_too(
    server: RedisServer, own: Settings, clock: Clock
) -> None:
    ledger, workers = Ledger(own), Workers(own, now=clock)
    job = ledger.create("digits", ("in",))
    submit(ledger, Queue(own), job, references(10), Retrying(0))
    workers.announce(WORKER)
    steps = itertools.count()

    def sleep(seconds: float) -> None:
        clock.now += 3
        step = next(steps)
        if step == 3:
            server.kill()
        if step == 5:  # the worker has reconnected, too
            workers.announce(WORKER)
        if step == 10:
            do_all(ledger, job)

    def an_hour_later() -> None:
        clock.now += 3600
        server.start()

    shown = Shown(an_hour_later)
    follower = Follower(ledger, Queue(own), workers, retrying=Retrying(60, shown), clock=clock, sleep=sleep)
    assert [row.path for rows in follower.rows(job) for row in rows] == [f"in/{number}.png" for number in range(10)]
    assert shown.reported[1:] == ["back"]


def test_workers_that_stay_away_when_redis_is_back_are_told_of_after_their_time(
    server: RedisServer, own: Settings, clock: Clock
) -> None:
    ledger = Ledger(own)
    job = ledger.create("digits", ("in",))
    submit(ledger, Queue(own), job, references(10), Retrying(0))
    back: list[float] = []

    def sleep(seconds: float) -> None:
        clock.now += 1
        if not back:
            server.kill()

    def an_hour_later() -> None:
        clock.now += 3600
        back.append(clock.now)
        server.start()

    retrying = Retrying(60, Shown(an_hour_later))
    follower = Follower(ledger, Queue(own), Workers(own, now=clock), retrying=retrying, clock=clock, sleep=sleep)
    with pytest.raises(NoWorker):
        list(follower.rows(job))
    assert NO_WORKER_SECONDS <= clock.now - back[0] <= 2 * NO_WORKER_SECONDS


def test_what_a_check_raises_ends_the_waiting_too(server: RedisServer, own: Settings) -> None:
    shown = Shown()
    connection = Connection(own, Retrying(600, shown))
    job = connection.create(["in"])
    connection.submit(job, references(10))

    def check() -> None:
        if shown.reported:
            raise UsageError("the embedded Redis has ended")
        if server.process.poll() is None:
            server.kill()

    with pytest.raises(UsageError, match=r"^the embedded Redis has ended$"):
        list(connection.follow(job, check=check))
    assert len(shown.reported) == 1
    server.start()


def test_an_outage_that_two_threads_meet_is_told_once() -> None:
    both = threading.Barrier(2)
    shown = Shown()
    retrying = Retrying(60, shown)

    def step() -> Callable[[], None]:
        tries = iter([True, False])

        def once_away() -> None:
            if next(tries):
                raise BrokerUnreachable("away")

        return once_away

    threads = [threading.Thread(target=retrying, args=(step(), both.wait)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert shown.reported == ["away", "back"]


def test_a_job_whose_creation_redis_forgot_is_made_again_under_its_id_from_what_was_recorded(
    settings: Settings,
) -> None:
    connection = Connection(settings, Retrying())
    job = connection.new_job()
    with closing(State.temporary()) as state:
        run = state.begin_run(job)
        assert connection.create(["in"], "digits", job) == job
        submit(connection.ledger, connection.queue, job, references(100), Retrying(), run)
        do_all(connection.ledger, job)
        assert connection.create(["in"], "digits", job) == job, "one that is on record stays as it is"
        assert connection.status(job).state == "finished"
        connection.ledger.client.delete(*connection.ledger.client.keys(f"{settings.prefix}:*"))
        with pytest.raises(UnknownJob):
            connection.status(job)
        connection.create(["in"], "digits", job)
        submit(connection.ledger, connection.queue, job, (), Retrying(), run)
        assert complete(settings, job, 100)
        assert connection.ledger.digests(job, range(run.size)) == run.digests(run.size)
