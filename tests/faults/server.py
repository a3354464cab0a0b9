"""A real Redis with an append-only file that can be killed, restarted, suspended, and made to lose its last writes."""

import os
import signal
import subprocess
from pathlib import Path

from pigeonhole.embedded.servers import redis_server
from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings
from tests.conftest import wait_for
from tests.faults.proxy import free_port


class RedisServer:
    """A Redis on loopback, always with the same port and the same file.

    Args:
        folder: the folder of its file and its log.
        fsync: its option `appendfsync`: `always`, `everysec` or `no`.
        arguments: further options.
    """

    def __init__(self, folder: Path, *arguments: str, fsync: str = "everysec") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._command = [redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--aof-load-truncated", "yes"]
        self._command += arguments
        # Without retries, to see whether it answers now.
        self.client = connect(self.url, retries=0)
        self.start()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """Return the server process; each start creates a new one."""
        return self._process

    def start(self) -> None:
        """Start the server with its file, and wait until it answers.

        An incomplete transaction at the end of the file is removed first; `deploy/redis.sh` has the reason.
        """
        self._mend()
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for(self._answers, f"Redis: {self._folder / 'redis.log'}")

    def kill(self) -> None:
        """Kill the server (SIGKILL); its file keeps all data that were written."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Suspend the server (SIGSTOP): it keeps its connections and does not reply."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the server after `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def size(self) -> int:
        """Return the size of its append-only file in bytes."""
        return self._file().stat().st_size

    def truncate(self, size: int) -> int:
        """Truncate its file, as a power failure may do, and return the number of bytes lost; only after `kill`."""
        file = self._file()
        cut = max(0, file.stat().st_size - size)
        os.truncate(file, file.stat().st_size - cut)
        return cut

    def close(self) -> None:
        """Stop the server."""
        self.client.close()
        self.kill()

    def _mend(self) -> None:
        manifest = self._folder / "appendonlydir" / "appendonly.aof.manifest"
        file = manifest if manifest.exists() else self._folder / "appendonly.aof"
        if file.exists():
            program = self._folder / "redis-check-aof"  # the server's own program, as its name shows
            program.unlink(missing_ok=True)
            program.symlink_to(redis_server())
            subprocess.run([program, "--fix", file], input=b"y\n", stdout=subprocess.DEVNULL, check=True)

    def _file(self) -> Path:
        """Return the append-only file: since Redis 7 the last one of a folder, before that the only one."""
        single = self._folder / "appendonly.aof"
        if single.exists():
            return single
        return max((self._folder / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)

    def _answers(self) -> bool:
        try:
            Ledger(Settings(broker_url=self.url), client=self.client).ping()
        except BrokerUnreachable:
            return False
        return True
