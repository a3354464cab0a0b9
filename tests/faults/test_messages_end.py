"""Fault 6: messages are duplicated or lost."""

from collections.abc import Callable

from tests.faults.conftest import Job
from tests.faults.site import Site

NewJob = Callable[..., Job]


def test_every_message_is_delivered_twice(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    job.await_claimed()
    assert site.double_messages() > 0
    site.gate.open()
    job.assert_complete(job.follow().result(timeout=60))


def test_messages_that_are_deleted_are_published_again_within_30_seconds(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    job.await_claimed()
    assert site.delete_messages() > 0
    site.gate.open()
    job.assert_complete(job.follow().result(timeout=30))
