"""A private Redis for systems, measurements and the guide's outputs: the same server as the embedded one."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pigeonhole.embedded.servers import redis_server
from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings


@contextmanager
def broker(*options: str) -> Iterator[Path]:
    """Start a Redis on a Unix socket, and yield the socket's path.

    Args:
        options: options of redis-server; without any, Redis writes no file, as the embedded one.
    """
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        socket = Path(folder) / "redis.sock"
        command = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--dir", folder]
        command += ["--save", "", *(options or ("--appendonly", "no"))]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                _await(socket)
                yield socket
            finally:
                server.terminate()


def _await(socket: Path) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            return Ledger(Settings(broker_url=f"unix://{socket}")).ping()
        except BrokerUnreachable:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
