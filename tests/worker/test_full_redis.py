"""If Redis reaches its `maxmemory` (noeviction), workers keep their results until there is room, and lose nothing."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.ledger.workers import GONE_AFTER, Workers
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.conftest import wait_for
from tests.worker.conftest import published


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    """Yield a ledger in the tests' Redis, and remove the memory limit afterwards."""
    ledger = Ledger(settings)
    yield ledger
    ledger.client.config_set("maxmemory", "0")


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, root: Path) -> Settings:
    (tmp_path / "images").mkdir()
    for name, seconds in (("quick.png", 0), ("slow.png", GONE_AFTER + 3)):
        fault = decoder_faults.image(root / "samples" / "003b50.png", f"sleep={seconds}")
        (tmp_path / "images" / name).write_bytes(fault)
    return replace(settings, image_root=str(tmp_path / "images"))


def test_workers_keep_their_results_and_stay_announced_while_redis_is_full(
    settings: Settings, ledger: Ledger, tmp_path: Path, start_worker: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    worker = start_worker(PYTHONPATH=decoder_faults.install(tmp_path))
    batches = [Batch((Group("file", "", "", names),)) for names in (("quick.png",), ("slow.png",), ("quick.png",) * 3)]
    first, *others = [published(settings, batch) for batch in batches]
    wait_for(lambda: ledger.status(first).over, "the first job's end")
    ledger.client.config_set("maxmemory", "1")
    log = tmp_path / "celery@test.log"
    wait_for(lambda: b"; waiting for it" in log.read_bytes(), "the worker's notice")
    assert [ledger.status(job).done for job in others] == [0, 0], "no result fits"
    assert [other.processes for other in Workers(settings).alive()] == [1], "announcements need no more memory"
    assert worker.poll() is None
    ledger.client.config_set("maxmemory", "0")
    for job in others:
        wait_for(lambda job=job: ledger.status(job).over, "the job's end")  # type: ignore[misc]
        status = ledger.status(job)
        assert (status.state, status.done, status.errors) == ("finished", status.images, 0)
    assert log.read_bytes().count(b"; waiting for it") == 1, "one notice"
