"""The Celery app of a process whose environment belongs to another Celery project."""

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kombu import pools

from pigeonhole import Client
from pigeonhole.ledger.queue.celery_app import App, configure
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings
from tests.ledger.conftest import Server

BROKERS = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")
#: The modules that Celery would import.
MODULES = ("CELERY_LOADER", "CELERY_CONFIG_MODULE", "DJANGO_SETTINGS_MODULE")


@pytest.fixture
def theirs(start_redis: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the Redis that all variables of the other project name."""
    server = start_redis()
    for name in BROKERS:
        monkeypatch.setenv(name, f"redis+socket://{server.socket}")
    for name in MODULES:
        monkeypatch.setenv(name, "theirs.no_such_module")
    return server


def test_a_client_uses_its_own_redis_and_does_not_change_its_host(
    theirs: Server, settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    limit = pools.get_limit()
    request.addfinalizer(lambda: pools.set_limit(limit))
    pools.set_limit(37)
    before = dict(os.environ), list(sys.path)
    (tmp_path / "a.png").write_bytes(b"x")
    with Client(settings=replace(settings, image_root=str(tmp_path))) as client:
        client.submit([str(tmp_path)])
    assert (dict(os.environ), list(sys.path)) == before
    assert pools.get_limit() == 37
    assert Queue(settings).depth("digits") == 1
    assert connect(theirs.url).dbsize() == 0


def _urls(app: App) -> dict[str, str]:
    """Return the URL of each kind of connection."""
    connections = {
        "read": app.connection_for_read(),
        "write": app.connection_for_write(),
        "any": app.connection(),
        "pool": app.pool.connection,
    }
    return {name: connection.as_uri() for name, connection in connections.items()}


def test_every_connection_of_the_app_uses_the_broker_of_its_settings(theirs: Server, settings: Settings) -> None:
    socket = settings.broker_url.removeprefix("unix://")
    app = configure(settings)
    for one in (app, pickle.loads(pickle.dumps(app))):  # noqa: S301  # as billiard hands it to a process that it starts
        assert {uri.partition("?")[0] for uri in _urls(one).values()} == {f"redis+socket://{socket}"}
        assert type(one.backend).__name__ == "DisabledBackend"


def test_the_app_imports_nothing_from_the_working_folder(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    with pytest.raises(ModuleNotFoundError):
        configure(settings).loader.import_task_module("only_here")
