"""Redis was away for longer than the announcement of a worker lasts."""

from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings

WORKER = Announcement(name="celery@one", model="digits", digest="d", version="1", processes=2)


def test_a_worker_whose_record_expired_comes_back_with_its_ready_processes(settings: Settings) -> None:
    workers = Workers(settings)
    workers.announce(WORKER)
    workers.leave(WORKER.name)  # as when it expired
    workers.announce(WORKER)
    assert [worker.processes for worker in workers.alive()] == [2]
