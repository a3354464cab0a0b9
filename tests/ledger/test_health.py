"""Health of a worker: it announces itself and takes waiting messages."""

from pigeonhole.ledger.health import trouble
from pigeonhole.ledger.workers import Announcement
from tests.messages import check_message

WORKER = Announcement(name="celery@here", model="digits", digest="d", version="1", processes=2, seen=1000.0, busy=990.0)


def test_a_worker_that_takes_waiting_messages_is_healthy() -> None:
    assert trouble(WORKER, waiting=5, now=1000.0) is None


def test_a_worker_without_waiting_messages_is_healthy_however_long_it_is_idle() -> None:
    assert trouble(WORKER, waiting=0, now=5000.0) is None


def test_a_worker_that_is_silent_is_not_healthy() -> None:
    assert "does not announce itself" in str(trouble(None, waiting=0, now=1000.0))


def test_a_worker_whose_processes_load_the_model_is_not_healthy_yet() -> None:
    loading = Announcement(name="celery@here", model="digits", digest="d", version="1", seen=1000.0, busy=1000.0)
    assert "loaded the model" in str(trouble(loading, waiting=0, now=1000.0))


def test_a_live_worker_that_takes_no_waiting_message_is_not_healthy() -> None:
    check_message(trouble(WORKER, waiting=5, now=1030.0), "5 messages", "40 s")
