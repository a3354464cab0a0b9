"""Fault 4: connections are cut, or stall without closing, on the producer's side and on the worker's."""

from collections.abc import Callable
from functools import partial

from tests.conftest import wait_for
from tests.faults.conftest import Job
from tests.faults.proxy import Proxy
from tests.faults.site import Site

NewJob = Callable[..., Job]


def test_connections_are_cut_repeatedly_on_both_sides(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    rows = job.follow()
    job.await_claimed()
    for done in (0, 200, 500):
        site.gate.open()
        wait_for(partial(_has_rows, site, job, done), f"{done} rows")
        site.gate.shut()
        # Nothing to cut if nobody has reconnected since the last cut.
        for side, proxy in (("the worker", site.workers["first"].proxy), ("the producer", site.producer)):
            wait_for(partial(_is_cut, proxy), f"a connection of {side}")
    site.gate.open()
    job.assert_complete(rows.result(timeout=60))


def test_stalled_connections_on_both_sides_are_replaced_by_new_ones(site: Site, new_job: NewJob) -> None:
    site.gate.shut()
    job = new_job().submit()
    rows = job.follow()
    job.await_claimed()
    site.workers["first"].proxy.stall(new=False)
    site.producer.stall(new=False, to_server=False)
    site.gate.open()
    job.assert_complete(rows.result(timeout=60))


def _is_cut(proxy: Proxy) -> bool:
    return proxy.cut() > 0


def _has_rows(site: Site, job: Job, wanted: int) -> bool:
    return site.ledger.status(job.id).done >= wanted
