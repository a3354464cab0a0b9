"""Fixtures: the tests of jobs use the ledger's Redis and the sources' folders."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.settings import Settings
from tests.ledger.conftest import clock, raw, start_redis
from tests.sources.conftest import as_nobody, folder

__all__ = ["as_nobody", "clock", "connection", "folder", "raw", "start_redis"]


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    """Yield a connection to the tests' Redis."""
    with closing(Connection(settings, Retrying())) as connection:
        yield connection
