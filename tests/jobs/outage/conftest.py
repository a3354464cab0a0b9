"""A Redis for one test, which the test may kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pigeonhole.settings import Settings
from tests.faults.server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Yield a Redis for this test, which writes everything to disk at once."""
    server = RedisServer(tmp_path, fsync="always")
    yield server
    server.close()


@pytest.fixture
def own(server: RedisServer) -> Settings:
    return Settings(broker_url=server.url)
