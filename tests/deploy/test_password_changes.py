"""The password of Redis, and its file, change while producers and workers run."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pigeonhole import Client
from pigeonhole.errors import BrokerRefuses
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis import client as redis_client
from pigeonhole.ledger.redis.client import connect
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings, read_password
from tests.conftest import ROOT, wait_for
from tests.ledger.conftest import Server, batch_of, piece

SAMPLE = str(ROOT / "samples" / "003b50.png")
JOB = "20260101-000000-abcdef"


@dataclass
class Guarded:
    """A Redis server with a password, and the password file.

    Args:
        url: the URL of Redis, without the password.
        file: the file that contains the password.
        environment: settings with the URL, the file and the image root.
    """

    url: str
    file: Path
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    def change(self, redis: str, file: str) -> None:
        """Set the password of Redis and of the file, and close all connections."""
        admin = connect(self.settings.broker_url)
        admin.config_set("requirepass", redis)
        self.file.write_text(file)
        admin.client_kill_filter(_type="normal", skipme=False)


@pytest.fixture(params=["tcp", "unix"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path, "--requirepass", "first", "--port", str(port), "--bind", "127.0.0.1")
    file = tmp_path / "password"
    file.write_text("first\n")
    url = f"redis://127.0.0.1:{port}" if request.param == "tcp" else server.url
    environment = {
        "PIGEONHOLE_BROKER_URL": url,
        "PIGEONHOLE_BROKER_PASSWORD_FILE": str(file),
        "PIGEONHOLE_IMAGE_ROOT": str(ROOT),
        "PIGEONHOLE_PROCESSES": "1",
    }
    yield Guarded(url, file, environment)
    server.kill()


def test_a_worker_and_a_client_continue_without_a_restart(guarded: Guarded, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pigeonhole", "worker"],
            env=os.environ | guarded.environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: any(one.processes for one in Workers(guarded.settings).alive()), f"the worker: {log.name}")
        with Client(settings=guarded.settings) as client:
            assert [row.label for row in client.classify([SAMPLE])] == ["8"]
            guarded.change("second", "second\n")
            assert [row.label for row in client.classify([SAMPLE])] == ["8"]
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


def test_a_refused_connection_reads_the_password_file_again(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, queue, reads = Ledger(guarded.settings), Queue(guarded.settings), list[str]()
    ledger.ping()
    queue.publish("digits", JOB, piece(batch_of("a.png")))

    def read(file: str) -> str:
        """Return the content of the file, and write the new password after the first call."""
        reads.append(read_password(file))
        if len(reads) == 1:
            guarded.file.write_text("second")
        return reads[-1]

    for use in (ledger.ping, lambda: queue.publish("digits", JOB, piece(batch_of("a.png")))):
        guarded.change("second", "first")
        reads.clear()
        monkeypatch.setattr(redis_client, "read_password", read)
        use()
        assert reads[:2] == ["first", "second"]
        monkeypatch.undo()
        connect(guarded.settings.broker_url).config_set("requirepass", "first")
        guarded.file.write_text("first")


@pytest.mark.parametrize("guarded", ["unix"], indirect=True)
def test_a_missing_or_wrong_password_file_is_an_error(guarded: Guarded) -> None:
    ledger = Ledger(guarded.settings)
    guarded.file.write_text("wrong")
    with pytest.raises(BrokerRefuses, match=r"WRONGPASS|invalid"):
        ledger.ping()
    guarded.file.unlink()
    with pytest.raises(BrokerRefuses, match=f"'{guarded.file}'"):
        ledger.ping()
