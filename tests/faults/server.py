"""A real Redis on an append-only file, which can be killed, started again, stopped, and made to forget its end."""

import os
import signal
import subprocess
from pathlib import Path

from pigeonhole.embedded.servers import redis_server
from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis_client import connect
from pigeonhole.settings import Settings
from tests.conftest import wait_for
from tests.faults.proxy import free_port


class RedisServer:
    """A Redis on loopback, always on the same port and the same file.

    Args:
        folder: of its file and its log.
        fsync: `always`, `everysec` or `no`.
        arguments: more of its options.
    """

    def __init__(self, folder: Path, *arguments: str, fsync: str = "everysec") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._command = [redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--aof-load-truncated", "yes"]
        self._command += arguments
        # One that asks once: whether it is there now is what we want to know.
        self.client = connect(self.url, retries=0)
        self.start()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The server; another one after each start."""
        return self._process

    def start(self) -> None:
        """Start it, on what its file holds, and wait until it answers.

        A transaction that was cut off in its middle is cut out first, as `deploy/redis.sh` does, which says why.
        """
        self._mend()
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for(self._answers, f"Redis: {self._folder / 'redis.log'}")

    def kill(self) -> None:
        """Kill it (SIGKILL); what it has written to its file stays there."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it (SIGSTOP): it keeps its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def size(self) -> int:
        """Give the bytes in the file that it appends to."""
        return self._file().stat().st_size

    def truncate(self, size: int) -> int:
        """Cut its file to a size, as a power failure can, and give the bytes cut off; only while it is killed."""
        file = self._file()
        cut = max(0, file.stat().st_size - size)
        os.truncate(file, file.stat().st_size - cut)
        return cut

    def close(self) -> None:
        """End it for good."""
        self.client.close()
        self.kill()

    def _mend(self) -> None:
        manifest = self._folder / "appendonlydir" / "appendonly.aof.manifest"
        file = manifest if manifest.exists() else self._folder / "appendonly.aof"
        if file.exists():
            program = self._folder / "redis-check-aof"  # the server's own binary, which goes by its name
            program.unlink(missing_ok=True)
            program.symlink_to(redis_server())
            subprocess.run([program, "--fix", file], input=b"y\n", stdout=subprocess.DEVNULL, check=True)

    def _file(self) -> Path:
        """Redis 7 has a folder of them and appends to the last; before, there was one."""
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
