"""Fault 1 and 2: worker processes, and whole workers, end in the middle of a batch."""

import os
import signal
from collections.abc import Callable

from pigeonhole.ledger.pieces import Piece
from tests.conftest import wait_for
from tests.faults.conftest import Job
from tests.faults.site import Site

NewJob = Callable[..., Job]


def test_a_batch_whose_process_is_killed_is_taken_up_again_within_two_seconds(site: Site, new_job: NewJob) -> None:
    for _ in range(3):
        site.wait_ready("first", 2)
        site.gate.shut()
        job = new_job(64).submit()
        (piece,) = job.await_claimed()
        assert Piece.parse(piece).key == "0"
        wait_for(lambda: bool(site.gate.held()), "a process with the claimed batch")
        (holder,) = site.gate.held()
        os.kill(holder, signal.SIGKILL)
        assert site.await_claim(job.id, {piece}, within=2) < 2
        site.gate.open()
        job.assert_complete(job.follow().result(timeout=60))


def test_a_terminated_worker_finishes_its_batches_and_takes_no_new_ones(site: Site, new_job: NewJob) -> None:
    site.wait_ready("first", 2)
    worker = site.start_worker("stopped", processes=1)
    site.gate.shut()
    job = new_job().submit()
    rows = job.follow()
    wait_for(lambda: len(site.gate.held()) == 3, "all three processes with a claimed batch")
    worker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "Warm shutdown" in site.log("stopped").read_text(), "the warm shutdown of the worker")
    site.gate.open()
    assert worker.process.wait(timeout=30) == 0
    assert site.log("stopped").read_text().count(f"job {job.id}: batch ") == 1
    job.assert_complete(rows.result(timeout=60))


def test_another_worker_takes_over_the_batches_of_a_lost_worker(site: Site, new_job: NewJob) -> None:
    site.wait_ready("first", 2)
    worker = site.start_worker("vanishing", processes=1)
    site.gate.shut()
    job = new_job(64 * 3).submit()
    rows = job.follow()
    wait_for(lambda: len(site.gate.held()) == 3, "all three processes with a claimed batch")
    worker.kill()
    site.gate.open()
    # Not at once: until its lease expires, the worker may just be slow.
    job.assert_complete(rows.result(timeout=60))
