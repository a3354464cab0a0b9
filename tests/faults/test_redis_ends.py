"""Fault 3: Redis is killed, loses unwritten data, and is down for a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Reference
from tests.conftest import wait_for
from tests.faults.conftest import Job
from tests.faults.server import RedisServer
from tests.faults.site import Site
from tests.ledger.conftest import answers_for, batch_of, piece

NewJob = Callable[..., Job]
#: Seconds after Redis' first reply within which workers must consume again.
BACK = 10.0


def test_redis_is_killed_and_started_again_twice_in_mid_job(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    rows = job.follow()
    job.await_claimed()
    for away in (0, 3):
        site.redis.kill()
        time.sleep(away)
        site.redis.start()
        known = site.claimed(job.id)
        site.gate.open()
        assert site.await_claim(job.id, known, BACK) < BACK
        site.gate.shut()
    site.gate.open()
    job.assert_whole(rows.result(timeout=60))


def test_redis_forgets_commits_whose_rows_were_fetched(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    written = site.redis.size()
    rows = job.follow()
    site.gate.open()
    wait_for(lambda: site.ledger.status(job.id).done > 400, "some rows")
    site.gate.shut()
    before = site.ledger.status(job.id).done
    site.redis.kill()
    assert site.redis.truncate(written) > 0
    site.redis.start()
    assert site.ledger.status(job.id).done < before, "a worker may have committed by now what it had in hand, no more"
    site.gate.open()
    job.assert_whole(rows.result(timeout=60))


def test_a_commit_that_a_crash_cut_in_its_middle_does_not_come_back_by_halves(tmp_path: Path) -> None:
    with closing(RedisServer(tmp_path, fsync="always")) as redis:
        ledger = Ledger(Settings(broker_url=redis.url))
        job, batch = ledger.create("digits", ()), batch_of("a.png")
        ledger.add(job, 0, batch)
        ledger.claim(job, piece(batch))
        before = redis.size()
        ledger.commit(job, piece(batch), answers_for(batch))
        redis.kill()
        redis.truncate(redis.size() - 40)  # after the rows, before the counters
        assert redis.size() > before
        for _ in range(2):  # Redis would execute that half at the second start
            redis.start()
            assert ledger.client.hgetall(f"pigeonhole:job:{job}:rows") == {}
            assert ledger.pending(job) == [piece(batch)]
            assert ledger.renew(job, [piece(batch)]) == 1
            redis.kill()


def test_what_is_done_for_a_batch_that_redis_forgot_does_not_count_for_another_of_its_number(tmp_path: Path) -> None:
    with closing(RedisServer(tmp_path, fsync="always")) as redis:
        ledger = Ledger(Settings(broker_url=redis.url))
        job, before = ledger.create("digits", ()), redis.size()
        forgotten = ledger.add(job, 0, batch_of("a.png"))
        assert forgotten is not None
        assert ledger.claim(job, forgotten) == batch_of("a.png")
        redis.kill()
        redis.truncate(before)
        redis.start()
        other = ledger.add(job, 0, batch_of("b.png"))  # the folder has changed meanwhile
        assert not ledger.commit(job, forgotten, answers_for(batch_of("a.png")))
        assert ledger.pending(job) == [other]
        assert ledger.close(job, 1)
        assert not ledger.status(job).submitting


def test_redis_forgets_the_end_of_a_submission_that_goes_on(site: Site, new_job: NewJob) -> None:
    job = new_job()

    def references() -> Iterator[Reference]:
        stream = job.references()
        yield from islice(stream, 100)
        written = site.redis.size()
        yield from stream
        site.redis.kill()
        assert site.redis.truncate(written) > 0
        site.redis.start()
        assert job.connection.status(job.id).images < len(job.listed)

    job.connection.submit(job.id, references())
    job.assert_whole(job.follow().result(timeout=60))
