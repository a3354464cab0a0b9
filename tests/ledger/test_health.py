from pigeonhole.ledger.health import trouble
from pigeonhole.ledger.workers import Announcement

WORKER = Announcement(name="celery@here", model="digits", digest="d", version="1", processes=2, seen=1000.0, busy=990.0)


def test_a_worker_that_takes_what_waits_is_healthy() -> None:
    assert trouble(WORKER, waiting=5, now=1000.0) is None


def test_a_worker_without_work_is_healthy_however_long_it_has_been_idle() -> None:
    assert trouble(WORKER, waiting=0, now=5000.0) is None


def test_a_worker_that_is_silent_is_not_healthy() -> None:
    assert "does not announce itself" in str(trouble(None, waiting=0, now=1000.0))


def test_a_worker_whose_processes_are_loading_is_not_healthy_yet() -> None:
    loading = Announcement(name="celery@here", model="digits", digest="d", version="1", seen=1000.0, busy=1000.0)
    assert "loaded the model" in str(trouble(loading, waiting=0, now=1000.0))


def test_a_worker_that_is_alive_but_deaf_is_not_healthy() -> None:
    assert trouble(WORKER, waiting=5, now=1030.0) == "5 messages wait and it has taken none for 40 s"
