"""A whole installation to break: a Redis with a file, workers behind proxies, and images that open slowly."""

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
from pigeonhole.ledger.redis.client import server_time
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import ENV_PREFIX, Settings
from tests.conftest import ROOT, wait_for
from tests.faults.proxy import Proxy
from tests.faults.server import RedisServer

SAMPLES = ROOT / "samples"

# Python runs this when it starts.
_SLOW = """\
import os, sys, time
sys.modules["pyspng"] = None  # Pillow decodes all images
import PIL.Image
import pigeonhole.ledger.leases

pigeonhole.ledger.leases.LEASE = {lease}
original = PIL.Image.open


def slow_open(*args, **kwargs):
    time.sleep({seconds})
    if os.path.exists({gate!r}):
        with open({gate!r} + "." + str(os.getpid()), "w"):
            pass
        while os.path.exists({gate!r}):
            time.sleep(0.01)
    return original(*args, **kwargs)


PIL.Image.open = slow_open
"""


class Gate:
    """A gate for opening images: while it is shut, workers wait, so a batch stays claimed as long as a test needs.

    Args:
        folder: the folder of the files with which the workers' processes see the gate.
        seconds: the seconds that opening an image takes while the gate is open.
        lease: the seconds that the workers' claims last.
    """

    def __init__(self, folder: Path, seconds: float, lease: float) -> None:
        self._file = folder / "gate"
        (folder / "python").mkdir()
        program = _SLOW.format(seconds=seconds, lease=lease, gate=str(self._file))
        (folder / "python" / "sitecustomize.py").write_text(program)
        self.pythonpath = str(folder / "python")

    def shut(self) -> None:
        """Shut the gate: workers that open an image wait."""
        self._file.touch()

    def open(self) -> None:
        """Open the gate: all workers continue."""
        self._file.unlink(missing_ok=True)
        for held in self._file.parent.glob("gate.*"):
            held.unlink()

    def held(self) -> set[int]:
        """Return the ids of the processes that have waited since it was shut, including killed ones."""
        return {int(held.name.removeprefix("gate.")) for held in self._file.parent.glob("gate.*")}


@dataclass
class Worker:
    """A worker, with parent and pool processes, behind its own proxy.

    Args:
        name: the part of its name before the @.
        process: the parent process.
        proxy: the proxy between the worker and Redis.
        begun: the time of its start, in seconds since the epoch.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    proxy: Proxy
    begun: float

    def descendants(self) -> dict[int, bytes]:
        """Return its child processes and theirs, such as isolation runs, each with its command line."""
        found, parents = dict[int, bytes](), [str(self.process.pid)]
        while parents:
            for pid in _children(parents.pop()):
                found[int(pid)] = _command_line(pid)
                parents.append(pid)
        return found

    def kill(self) -> None:
        """Kill the worker with all of its processes (SIGKILL)."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Site:
    """One Redis, a producer's proxy to it, and workers.

    Args:
        folder: the folder for all files.
        pause: the seconds that opening an image takes.
        lease: the seconds that the workers' claims last.
        fsync: Redis' option `appendfsync`: `always`, `everysec` or `no`.
        settings: settings that differ from the defaults, besides broker and image root.
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
            **settings,  # type: ignore[arg-type]  # checked by Settings
        )
        # Tests inspect Redis directly, without a proxy.
        self.direct = replace(self.settings, broker_url=self.redis.url)
        self.ledger = Ledger(self.direct)
        self.workers: dict[str, Worker] = {}
        self._proxies: dict[str, Proxy] = {}

    def copy_samples(self, copies: int) -> list[str]:
        """Link the shipped samples into a number of folders, and return all paths in the order of a walk."""
        for copy in range(copies):
            shutil.copytree(SAMPLES, self.images / f"{copy:03}", copy_function=_linked)
        return [f"images/{path.relative_to(self.images)}" for path in sorted(self.images.glob("*/*.png"))]

    def environment(self, broker_url: str = "") -> dict[str, str]:
        """Return the environment for our processes, without settings of the user who runs the tests."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        settings = replace(self.settings, broker_url=broker_url or self.settings.broker_url)
        return others | settings.to_environment()

    def start_worker(self, name: str, processes: int = 2, wait: bool = True, **changes: str) -> Worker:
        """Start a worker behind the proxy with its name.

        Args:
            name: the part of its name before the @.
            processes: the number of its pool processes.
            wait: wait until all of these can classify.
            changes: changes to its environment.
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
        """Return the proxy between a worker and Redis, which is the same after a restart of the worker."""
        if name not in self._proxies:
            self._proxies[name] = Proxy(self.redis.port)
        return self._proxies[name]

    def wait_ready(self, name: str, processes: int) -> None:
        """Wait until a worker announces, from now on, that a number of its processes can classify."""
        now = server_time(self.redis.client)
        wait_for(lambda: self.ready(name, now) >= processes, f"{processes} processes of {name} ({self.log(name)})")

    def ready(self, name: str, since: float = 0.0) -> int:
        """Return the number of a worker's processes that can classify, as last announced after a point in time."""
        workers = Workers(self.direct, client=self.redis.client).alive()
        announcements = [worker for worker in workers if worker.name == f"{name}@site" and worker.seen > since]
        # The announcement of a killed worker with the same name may not have expired.
        return max(announcements, key=lambda worker: worker.seen).processes if announcements else 0

    def log(self, name: str) -> Path:
        """Return the path of a worker's log."""
        return self.folder / f"{name}.log"

    def claimed(self, job: str) -> dict[str, float]:
        """Return the claimed pieces, each with the time when its lease expires."""
        members = self.redis.client.zrange(f"{self.settings.prefix}:job:{job}:claimed", 0, -1, withscores=True)
        return {piece.decode(): until for piece, until in members}

    def await_claim(self, job: str, known: "set[str] | dict[str, float]", within: float) -> float:
        """Wait until a new piece is claimed, and return the seconds that this took.

        Args:
            job: the job's id.
            known: the pieces that were claimed before.
            within: the largest number of seconds to wait.
        """
        started = time.monotonic()
        while not self.claimed(job).keys() - set(known):
            assert time.monotonic() - started < within, f"nothing was claimed within {within} s"
            time.sleep(0.02)
        return time.monotonic() - started

    def double_messages(self) -> int:
        """Duplicate all messages in the queue, and return their number."""
        doubled = 0
        for queue in self._queues():
            messages = self.redis.client.lrange(queue, 0, -1)
            doubled += len(messages)
            self.redis.client.rpush(queue, *messages)
        return doubled

    def delete_messages(self) -> int:
        """Delete all messages in the queue, and return their number."""
        deleted = 0
        for queue in self._queues():
            deleted += self.redis.client.llen(queue)
            self.redis.client.delete(queue)
        return deleted

    def _queues(self) -> list[str]:
        """Return the keys of the queue's lists: one for each priority."""
        return sorted(key.decode() for key in self.redis.client.scan_iter(f"{self.settings.prefix}:classify.*"))

    def mend(self) -> None:
        """End all faults, except for processes that have ended."""
        self.gate.open()
        for proxy in (self.producer, *self._proxies.values()):
            proxy.flow()

    def close(self) -> None:
        """Stop all processes."""
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
        return b""  # the process has ended meanwhile
