"""A worker logs the error replies of Redis, waits, and consumes messages again afterwards."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.redis_users import BOTH, line
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import connect
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.conftest import ROOT, children, wait_for
from tests.ledger.conftest import Server
from tests.worker.conftest import published

PREFIX, PASSWORD = "replies", "password of the producer"
QUEUE, NAME = f"{PREFIX}:classify.digits", "celery@replies"
QUICK, SLOW = Batch((Group("file", "", "", ("quick.png",)),)), Batch((Group("file", "", "", ("slow.png",)),))
#: Celery logs this once for each lost connection.
LOST = "Connection to broker lost"


@dataclass(frozen=True)
class Site:
    """A Redis and a worker that all tests share; no error may end either.

    Args:
        settings: The settings of the worker.
        server: The process id of Redis.
        admin: A client with all permissions.
        producer: A client of the Redis user `producer`.
        worker: The process of the worker.
        log: The log file of the worker.
    """

    settings: Settings
    server: int
    admin: Any
    producer: Any
    worker: "subprocess.Popen[bytes]"
    log: Path

    def log_lines(self) -> list[str]:
        """Return the log lines of the worker's parent process."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line and "/SpawnPoolWorker" not in line]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("replies")
    for name in ("images", "data"):
        (folder / name).mkdir()
    for name, seconds in (("quick.png", 0), ("slow.png", 3)):
        fault = decoder_faults.image(ROOT / "samples" / "003b50.png", f"sleep={seconds}")
        (folder / "images" / name).write_bytes(fault)
    server = Server(folder, "--dir", str(folder / "data"))
    admin = connect(server.url)
    _, user, *rules = line("producer", PASSWORD, PREFIX, BOTH).split()
    admin.execute_command("ACL", "SETUSER", user, *rules)
    settings = Settings(broker_url=server.url, prefix=PREFIX, image_root=str(folder / "images"), processes=2)
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": decoder_faults.install(folder)}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--loglevel", "INFO", "--hostname", NAME]
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        ready = Workers(settings)
        wait_for(lambda: any(one.processes == 2 for one in ready.alive()), f"the worker: {folder / 'worker.log'}")
        producer = connect(f"unix://producer:{PASSWORD}@{server.socket}")
        yield Site(settings, server.process.pid, admin, producer, worker, folder / "worker.log")
    finally:
        worker.kill()
        worker.wait()
        server.kill()


def _wrong_type(site: Site) -> None:
    """Replace the empty queue by a string."""
    wait_for(lambda: not site.admin.exists(QUEUE), "the empty queue")
    site.producer.set(QUEUE, 1)


def _no_replicas(site: Site) -> None:
    site.admin.config_set("min-replicas-to-write", 1)


def _no_disk(site: Site) -> None:
    """Remove the folder of Redis, so that it can't save."""
    site.admin.config_set("save", "3600 1")
    Path(os.readlink(f"/proc/{site.server}/cwd")).rmdir()
    site.admin.bgsave()
    wait_for(lambda: site.admin.info("persistence")["rdb_last_bgsave_status"] == "err", "the failed save")


def _fail_over(site: Site) -> None:
    """Turn Redis into the replica of a server that does not exist."""
    site.admin.replicaof("127.0.0.1", "1")


BREAK_AND_MEND: dict[str, tuple[Callable[[Site], None], Callable[[Site], None]]] = {
    "WRONGTYPE": (_wrong_type, lambda site: site.producer.delete(QUEUE)),
    "NOREPLICAS": (_no_replicas, lambda site: site.admin.config_set("min-replicas-to-write", 0)),
    "read only replica": (_fail_over, lambda site: site.admin.replicaof("NO", "ONE")),
    "MISCONF": (_no_disk, lambda site: site.admin.config_set("save", "")),
}


@pytest.mark.parametrize("reply", BREAK_AND_MEND)
def test_a_worker_survives_an_error_reply_finishes_its_batch_and_consumes_again(site: Site, reply: str) -> None:
    breaks, mend = BREAK_AND_MEND[reply]
    ledger, processes = Ledger(site.settings), children(site.worker.pid)
    job = published(site.settings, SLOW)
    wait_for(lambda: ledger.status(job).batches_claimed == 1, "the claim of the batch")
    before, connected = len(site.log_lines()), _connections(site)

    breaks(site)
    try:
        wait_for(
            lambda: _connections(site) >= connected + 3 or site.worker.poll() is not None,
            f"three more connections: {site.log}",
        )
        lines = site.log_lines()[before:]
    finally:
        mend(site)

    after = published(site.settings, QUICK)
    for each in (job, after):
        _wait_for_end(site, ledger, each)
        status = ledger.status(each)
        assert (status.state, status.batches, status.done, status.errors) == ("finished", 1, 1, 0)
    assert children(site.worker.pid) == processes
    assert reply in "\n".join(lines)
    # Each connection logs its start, the failed announcement, and its loss; a new error also logs the remedy.
    assert len(lines) <= 3 * _lost_connections(lines) + 3
    assert not [line for line in site.log_lines()[before:] if "Traceback" in line or "a process was lost" in line]


def test_a_worker_that_loses_its_connection_to_a_full_redis_reconnects_and_consumes(site: Site) -> None:
    ledger, before = Ledger(site.settings), len(site.log_lines())

    def announced() -> float:
        [(_, score)] = site.admin.zrange(f"{PREFIX}:workers", 0, -1, withscores=True)
        return float(score)

    site.admin.config_set("maxmemory", "1")
    try:
        site.admin.client_kill_filter(_type="normal", skipme=True)
        wait_for(
            lambda: any("reconnected to Redis" in line for line in site.log_lines()[before:]),
            f"the next connection: {site.log}",
        )
        since = announced()
        # A worker announces itself only while it consumes messages.
        wait_for(lambda: announced() > since, f"its announcement: {site.log}")
    finally:
        site.admin.config_set("maxmemory", "0")
    assert _lost_connections(site.log_lines()[before:]) == 1, "the first new connection lasts"
    job = published(site.settings, QUICK)
    _wait_for_end(site, ledger, job)


def _connections(site: Site) -> int:
    return int(site.admin.info("stats")["total_connections_received"])


def _lost_connections(lines: list[str]) -> int:
    return sum(LOST in line for line in lines)


def _wait_for_end(site: Site, ledger: Ledger, job: str) -> None:
    wait_for(lambda: ledger.status(job).over or site.worker.poll() is not None, f"the job's end: {site.log}")
    assert site.worker.poll() is None, site.log.read_text(errors="replace")[-2000:]
