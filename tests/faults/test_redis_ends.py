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
RECOVERED = 10.0


def test_redis_is_killed_and_restarted_twice_during_a_job(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    rows = job.follow()
    job.await_claimed()
    for outage in (0, 3):
        site.redis.kill()
        time.sleep(outage)
        site.redis.start()
        known = site.claimed(job.id)
        site.gate.open()
        assert site.await_claim(job.id, known, RECOVERED) < RECOVERED
        site.gate.shut()
    site.gate.open()
    job.assert_complete(rows.result(timeout=60))


def test_redis_loses_commits_whose_rows_were_read(site: Site, new_job: NewJob) -> None:
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
    assert site.ledger.status(job.id).done < before, "workers can have committed only their claimed batches since"
    site.gate.open()
    job.assert_complete(rows.result(timeout=60))


def test_a_commit_that_a_crash_interrupted_is_restored_completely_or_not_at_all(tmp_path: Path) -> None:
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
        for _ in range(2):  # Redis would execute the incomplete commit at the second start
            redis.start()
            assert ledger.client.hgetall(f"pigeonhole:job:{job}:rows") == {}
            assert ledger.pending(job) == [piece(batch)]
            assert ledger.renew(job, [piece(batch)]) == 1
            redis.kill()


def test_a_commit_for_a_lost_batch_does_not_count_for_another_batch_of_its_number(tmp_path: Path) -> None:
    with closing(RedisServer(tmp_path, fsync="always")) as redis:
        ledger = Ledger(Settings(broker_url=redis.url))
        job, before = ledger.create("digits", ()), redis.size()
        lost = ledger.add(job, 0, batch_of("a.png"))
        assert lost is not None
        assert ledger.claim(job, lost) == batch_of("a.png")
        redis.kill()
        redis.truncate(before)
        redis.start()
        other = ledger.add(job, 0, batch_of("b.png"))  # the folder has changed meanwhile
        assert not ledger.commit(job, lost, answers_for(batch_of("a.png")))
        assert ledger.pending(job) == [other]
        assert ledger.close(job, 1)
        assert not ledger.status(job).submitting


def test_redis_loses_the_last_batches_of_a_running_submission(site: Site, new_job: NewJob) -> None:
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
    job.assert_complete(job.follow().result(timeout=60))
