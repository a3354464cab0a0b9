"""A whole installation to break: a Redis on a file, workers behind proxies, and images that take their time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis_client import server_time
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import ENV_PREFIX, Settings
from tests.conftest import ROOT, wait_for
from tests.faults.proxy import Proxy
from tests.faults.server import RedisServer

SAMPLES = ROOT / "samples"

# Python runs this when it starts.
_SLOW = """\
import os, sys, time
sys.modules["pyspng"] = None  # all goes through Pillow
import PIL.Image
import pigeonhole.ledger.leases

pigeonhole.ledger.leases.LEASE = {lease}
really = PIL.Image.open


def slowly(*args, **kwargs):
    time.sleep({seconds})
    if os.path.exists({gate!r}):
        with open({gate!r} + "." + str(os.getpid()), "w"):
            pass
        while os.path.exists({gate!r}):
            time.sleep(0.01)
    return really(*args, **kwargs)


PIL.Image.open = slowly
"""


class Gate:
    """While it is shut, whoever opens an image waits: a batch is in hand for as long as a test wants.

    Args:
        folder: of the file by which the workers' processes know.
        seconds: that opening an image takes when it is open.
        lease: seconds that the workers' claims last.
    """

    def __init__(self, folder: Path, seconds: float, lease: float) -> None:
        self._file = folder / "gate"
        (folder / "python").mkdir()
        program = _SLOW.format(seconds=seconds, lease=lease, gate=str(self._file))
        (folder / "python" / "sitecustomize.py").write_text(program)
        self.pythonpath = str(folder / "python")

    def shut(self) -> None:
        """Let nobody open an image."""
        self._file.touch()

    def open(self) -> None:
        """Let all go on."""
        self._file.unlink(missing_ok=True)
        for held in self._file.parent.glob("gate.*"):
            held.unlink()

    def held(self) -> set[int]:
        """Give the processes that wait before it, alive or killed since it was shut."""
        return {int(held.name.removeprefix("gate.")) for held in self._file.parent.glob("gate.*")}


@dataclass
class Worker:
    """A worker, parent and pool processes, whose connections go through a proxy of its own.

    Args:
        name: before the @ of its name.
        process: the parent.
        proxy: its own.
        begun: when it was started, in seconds since the epoch.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    proxy: Proxy
    begun: float

    def descendants(self) -> dict[int, bytes]:
        """Give the processes that it has started, and theirs, such as trials: each with its command line."""
        found, parents = dict[int, bytes](), [str(self.process.pid)]
        while parents:
            for pid in _children(parents.pop()):
                found[int(pid)] = _command_line(pid)
                parents.append(pid)
        return found

    def kill(self) -> None:
        """Kill it whole (SIGKILL)."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Site:
    """One Redis, a producer's way to it, and workers.

    Args:
        folder: for everything it writes.
        pause: seconds that opening an image takes.
        lease: seconds that the workers' claims last.
        fsync: when Redis makes sure that its file is written: `always`, `everysec` or `no`.
        settings: what differs from the defaults, besides broker and image root.
    """

    def __init__(
        self, folder: Path, pause: float = 0.0, lease: float = LEASE, fsync: str = "everysec", **settings: object
    ) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir()
        (folder / "redis").mkdir()
        self.redis = RedisServer(folder / "redis", fsync=fsync)
        self.producer = Proxy(self.redis.port)
        self.gate = Gate(folder, pause, lease)
        self.settings = Settings(
            broker_url=self.producer.url,
            prefix="faults",
            image_root=str(folder),
            **settings,  # type: ignore[arg-type]  # as the caller spells them
        )
        # What a test looks at, it looks at past the proxies.
        self.direct = replace(self.settings, broker_url=self.redis.url)
        self.ledger = Ledger(self.direct)
        self.workers: dict[str, Worker] = {}
        self._proxies: dict[str, Proxy] = {}

    def copy_samples(self, copies: int) -> list[str]:
        """Link the shipped samples into so many folders, and give all paths in the order in which they are found."""
        for copy in range(copies):
            shutil.copytree(SAMPLES, self.images / f"{copy:03}", copy_function=_linked)
        return [f"images/{path.relative_to(self.images)}" for path in sorted(self.images.glob("*/*.png"))]

    def environment(self, broker_url: str = "") -> dict[str, str]:
        """Give the environment of a process of ours, with no setting of whoever runs this."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        settings = replace(self.settings, broker_url=broker_url or self.settings.broker_url)
        return others | settings.to_environment()

    def start_worker(self, name: str, processes: int = 2, wait: bool = True, **changes: str) -> Worker:
        """Start a worker behind the proxy of that name.

        Args:
            name: before the @ of its name.
            processes: of its pool.
            wait: until all of them can classify.
            changes: to its environment.
        """
        proxy = self.proxy(name)
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--hostname", f"{name}@site"]
        command += ["--loglevel", "INFO"]
        environment = self.environment(proxy.url) | {"PYTHONPATH": f"{self.gate.pythonpath}{os.pathsep}{ROOT}"}
        environment |= {"PIGEONHOLE_PROCESSES": str(processes)} | changes
        begun = time.time()
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        self.workers[name] = Worker(name, process, proxy, begun)
        if wait:
            self.wait_ready(name, processes)
        return self.workers[name]

    def proxy(self, name: str) -> Proxy:
        """Give the proxy between a worker and Redis, the same each time that the worker is started."""
        if name not in self._proxies:
            self._proxies[name] = Proxy(self.redis.port)
        return self._proxies[name]

    def wait_ready(self, name: str, processes: int) -> None:
        """Wait until so many processes of a worker can classify, as it says from now on."""
        now = server_time(self.redis.client)
        wait_for(lambda: self.ready(name, now) >= processes, f"{processes} processes of {name} ({self.log(name)})")

    def ready(self, name: str, since: float = 0.0) -> int:
        """Give how many processes of a worker can classify, as it last said after a point in time."""
        workers = Workers(self.direct, client=self.redis.client).alive()
        said = [worker for worker in workers if worker.name == f"{name}@site" and worker.seen > since]
        # One of that name that was killed is there for a while yet.
        return max(said, key=lambda worker: worker.seen).processes if said else 0

    def log(self, name: str) -> Path:
        """Give the file that a worker writes its log to."""
        return self.folder / f"{name}.log"

    def claimed(self, job: str) -> dict[str, float]:
        """Give the pieces that workers have in hand, each with the time until which its claim lasts."""
        members = self.redis.client.zrange(f"{self.settings.prefix}:job:{job}:claimed", 0, -1, withscores=True)
        return {piece.decode(): until for piece, until in members}

    def await_claim(self, job: str, known: "set[str] | dict[str, float]", within: float) -> float:
        """Wait until a piece is claimed that was not, and give the seconds that took.

        Args:
            job: whose.
            known: the pieces that were claimed before.
            within: as many seconds at most.
        """
        started = time.monotonic()
        while not self.claimed(job).keys() - set(known):
            assert time.monotonic() - started < within, f"nothing was claimed within {within} s"
            time.sleep(0.02)
        return time.monotonic() - started

    def double_messages(self) -> int:
        """Put every message that waits into the queue a second time, and give their number."""
        doubled = 0
        for queue in self._queues():
            messages = self.redis.client.lrange(queue, 0, -1)
            doubled += len(messages)
            self.redis.client.rpush(queue, *messages)
        return doubled

    def delete_messages(self) -> int:
        """Delete every message that waits, and give their number."""
        deleted = 0
        for queue in self._queues():
            deleted += self.redis.client.llen(queue)
            self.redis.client.delete(queue)
        return deleted

    def _queues(self) -> list[str]:
        """Give the keys of the lists that messages wait in: one for each priority."""
        return sorted(key.decode() for key in self.redis.client.scan_iter(f"{self.settings.prefix}:classify.*"))

    def mend(self) -> None:
        """Put an end to all faults, but for processes that are gone."""
        self.gate.open()
        for proxy in (self.producer, *self._proxies.values()):
            proxy.flow()

    def close(self) -> None:
        """End everything."""
        for worker in self.workers.values():
            worker.kill()
        for proxy in (self.producer, *self._proxies.values()):
            proxy.close()
        self.redis.close()


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _children(pid: str) -> list[str]:
    # By thread, and gone when they end.
    lists = []
    for thread in (Path("/proc") / pid / "task").glob("*/children"):
        with suppress(OSError):
            lists += thread.read_text().split()
    return lists


def _command_line(pid: str) -> bytes:
    try:
        return (Path("/proc") / pid / "cmdline").read_bytes()
    except OSError:
        return b""  # it ended meanwhile
