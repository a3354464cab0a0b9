"""Fixtures: the tests of sinks use the ledger's Redis and the sources' folders."""

from tests.ledger.conftest import clock, raw, start_redis
from tests.sources.conftest import as_nobody, folder

__all__ = ["as_nobody", "clock", "folder", "raw", "start_redis"]
