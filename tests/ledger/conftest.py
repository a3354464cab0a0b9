"""Fixtures: a Redis that a test may kill, fill or lock, and small batches with their answers."""

import subprocess
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis

from pigeonhole.embedded.servers import redis_server
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis.client import Client, connect
from pigeonhole.ledger.wire.messages import Answers, Batch, Group
from tests.conftest import wait_for

# On a busy machine, a single example may take long.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")


class Server:
    """A real Redis for one test."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.socket = str(folder / "own.sock")
        self.url = f"unix://{self.socket}"
        command = [redis_server(), "--port", "0", "--unixsocket", self.socket, "--dir", str(folder), "--save", ""]
        self.process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
        wait_for(self._listens, "Redis")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _listens(self) -> bool:
        try:
            connect(self.url, retries=0).ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        return True


@pytest.fixture
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Yield a function that starts a Redis with more arguments; the Redis ends with the test."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(Server(tmp_path_factory.mktemp("own"), *arguments))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def raw(redis_url: str) -> Client:
    """Yield a client of the tests' Redis, to inspect keys."""
    return connect(redis_url)


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def __iadd__(self, seconds: float) -> "Clock":
        self.now += seconds
        return self


@pytest.fixture
def clock() -> Clock:
    return Clock()


def batch_of(*paths: str) -> Batch:
    return Batch((Group("file", "", "", paths),))


def piece(batch: Batch, number: int = 0, start: int = 0, stop: int | None = None) -> Piece:
    return Piece(number, batch.digest, start, stop)


def answers_for(batch: Batch, model: str = "digits@0123456789ab") -> Answers:
    images = len(batch)
    best, ppm = array("H", [1, 0] * images), array("I", [900_000, 100_000] * images)
    return Answers(model, ("0", "1"), images, 2, best, ppm, batch=batch.digest)


def finished_job(ledger: Ledger, *paths: str) -> str:
    job = ledger.create("digits", ("photos",))
    batch = batch_of(*paths)
    ledger.add(job, 0, batch)
    ledger.close(job, 1)
    ledger.commit(job, piece(batch), answers_for(batch))
    return job


A, B = batch_of("a.png", "b.png"), batch_of("c.png")
#: Their pieces in `open_job`.
FIRST, SECOND = piece(A), piece(B, 1)


def open_job(ledger: Ledger) -> str:
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, A)
    ledger.add(job, 1, B)
    return job
