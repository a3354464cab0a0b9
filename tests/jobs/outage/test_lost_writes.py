"""A submission is complete even if Redis loses its last writes."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pigeonhole.errors import UnknownJob
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.state import State
from pigeonhole.jobs.submit import submit
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Reference, Root
from tests.faults.server import RedisServer
from tests.jobs.outage.outages import complete, do_all, with_event
from tests.jobs.references import references
from tests.sources.conftest import touch


def forgets(server: RedisServer, size: Callable[[], int]) -> Callable[[], None]:
    """Make a Redis lose all writes after its file had a given size."""

    def forget() -> None:
        server.kill()
        assert server.truncate(size()) > 0
        server.start()

    return forget


def test_batches_that_redis_loses_during_the_submission_are_submitted_again(server: RedisServer, own: Settings) -> None:
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


def test_a_list_on_standard_input_is_read_once_even_if_redis_loses_the_batches(
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
def test_lost_batches_are_submitted_again_as_listed_even_if_the_sources_have_changed(
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


def test_a_follower_repeats_a_submission_whose_end_redis_loses(server: RedisServer, own: Settings) -> None:
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


def test_a_job_that_redis_lost_is_created_again_under_its_id_from_the_resume_state(
    settings: Settings,
) -> None:
    connection = Connection(settings, Retrying())
    job = connection.new_job()
    with closing(State.temporary()) as state:
        run = state.begin_run(job)
        assert connection.create(["in"], "digits", job) == job
        submit(connection.ledger, connection.queue, job, references(100), Retrying(), run)
        do_all(connection.ledger, job)
        assert connection.create(["in"], "digits", job) == job, "an existing job is not changed"
        assert connection.status(job).state == "finished"
        connection.ledger.client.delete(*connection.ledger.client.keys(f"{settings.prefix}:*"))
        with pytest.raises(UnknownJob):
            connection.status(job)
        connection.create(["in"], "digits", job)
        submit(connection.ledger, connection.queue, job, (), Retrying(), run)
        assert complete(settings, job, 100)
        assert connection.ledger.digests(job, range(run.size)) == run.digests(run.size)
