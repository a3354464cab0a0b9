"""redis-py (the ledger) and kombu (the queue) both read the broker URL, and must connect to the same server."""

from pathlib import Path
from typing import Any

import pytest
import redis
from kombu.connection import Connection

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.celery_app import configure
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings, masked
from tests.ledger.conftest import Server, batch_of, piece

URLS = (
    "redis://",
    "redis://broker",
    "redis://broker?db=3",
    "redis://broker:7000/2",
    "redis://[::1]:7000/2",
    "redis://:secret@broker",
    "redis://user:a%3Bb%40c%2Fd%25@broker/1",
    "redis://broker?username=user&password=a;b",
    "unix:///run/redis.sock",
    "unix:///run/a%20b.sock?db=4",
    "unix://user:secret@/run/redis.sock",
    "unix:///run/redis.sock?password=a%26b&username=user&db=1",
    "rediss://broker",
    "rediss://user:secret@broker/0?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
    "rediss://broker?ssl_check_hostname=false&ssl_cert_reqs=optional",
)
COMPARED = ("host", "port", "db", "path", "username", "password")


def _of_kombu(url: str) -> dict[str, Any]:
    """Return the connection parameters that kombu reads from a URL, without a connection."""
    connection: Connection = configure(Settings(broker_url=url)).connection_for_write()
    channel = connection.transport.Channel
    unconnected = channel.__new__(channel)  # __init__ would connect
    unconnected.connection = connection.transport
    parameters: dict[str, Any] = unconnected._connparams()
    return parameters


@pytest.mark.parametrize("url", URLS)
def test_the_queue_and_the_ledger_use_the_same_server(url: str) -> None:
    of_ledger, of_queue = connect(url).connection_pool, _of_kombu(url)
    wanted = {"host": "localhost", "port": 6379, "db": 0} if "path" not in of_ledger.connection_kwargs else {"db": 0}
    wanted |= {
        name: of_ledger.connection_kwargs[name]
        for name in COMPARED
        if of_ledger.connection_kwargs.get(name) is not None
    }
    assert {name: of_queue[name] for name in COMPARED if of_queue.get(name) is not None} == wanted


@pytest.mark.parametrize("url", [url for url in URLS if url.startswith("rediss")])
def test_the_queue_checks_the_certificate_as_the_ledger_does(url: str) -> None:
    pools = connect(url).connection_pool, redis.ConnectionPool(**_of_kombu(url))
    of_ledger, of_queue = (pool.connection_class(**pool.connection_kwargs) for pool in pools)
    for name in ("cert_reqs", "check_hostname", "ca_certs", "certfile", "keyfile"):
        assert getattr(of_ledger, name) == getattr(of_queue, name), name


def test_a_password_in_a_unix_url_opens_the_queue_too(tmp_path: Path) -> None:
    server = Server(tmp_path, "--requirepass", "a;b&c@d/e")
    try:
        settings = Settings(broker_url=f"{server.url}?password=a%3Bb%26c%40d%2Fe&db=2")
        Ledger(settings).ping()
        queue = Queue(settings)
        queue.publish("digits", "20260101-000000-abcdef", piece(batch_of("a.png")))
        assert queue.depth("digits") == 1
    finally:
        server.kill()


@pytest.mark.parametrize("url", URLS)
def test_neither_we_nor_celery_show_a_password(url: str) -> None:
    app = configure(Settings(broker_url=url))
    shown = (masked(url), repr(Settings(broker_url=url)), app.connection_for_write().as_uri(), app.bugreport())
    for text in shown:
        for password in ("secret", "a;b", "a%3Bb", "b%40c", "b@c", "a&b", "a%26b"):
            assert password not in text


def test_the_password_of_a_key_file_is_masked_as_well() -> None:
    assert masked("rediss://broker?ssl_keyfile=/k&ssl_password=secret&db=1") == (
        "rediss://broker?ssl_keyfile=/k&ssl_password=***&db=1"
    )
