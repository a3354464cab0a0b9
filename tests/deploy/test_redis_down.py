"""Redis was down for longer than the record of a worker lasts."""

from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings

WORKER = Announcement(name="celery@one", model="digits", digest="d", version="1", processes=2)


def test_a_worker_whose_record_expired_is_listed_again_with_its_ready_processes(settings: Settings) -> None:
    workers = Workers(settings)
    workers.announce(WORKER)
    workers.leave(WORKER.name)  # removes the record, as its expiry does
    workers.announce(WORKER)
    assert [worker.processes for worker in workers.alive()] == [2]
