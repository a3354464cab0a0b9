"""A Redis that was away for longer than a worker's record lasts."""

from worker.contract.settings import Settings
from worker.contract.workers import Announcement, Workers

WORKER = Announcement(name="celery@one", model="digits", digest="d", version="1")


def test_a_worker_whose_record_expired_comes_back_with_its_loaded_processes(settings: Settings) -> None:
    workers = Workers(settings)
    assert workers.announce(WORKER) == set()
    workers.ready(WORKER.name, 17)
    loaded = workers.announce(WORKER)
    assert loaded == {17}
    workers.leave(WORKER.name)  # as when it expired
    workers.announce(WORKER, loaded=loaded)
    assert [worker.processes for worker in workers.alive()] == [1]


def test_a_process_that_ended_is_not_counted_any_more(settings: Settings) -> None:
    workers = Workers(settings)
    workers.ready(WORKER.name, 17)
    workers.ready(WORKER.name, 18)
    assert workers.announce(WORKER) == {17, 18}
    assert workers.announce(WORKER, loaded={18}, dead={17}) == {18}
    assert [worker.processes for worker in workers.alive()] == [1]
