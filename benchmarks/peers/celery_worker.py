"""Start and stop a Celery worker for a peer, as from a shell."""

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.common.machine import ROOT

_PATIENCE = 60.0  # seconds


class CeleryWorker:
    """`celery -A MODULE worker …`, with Redis as broker and as result backend.

    Args:
        app: the Celery app, in the module of the same name.
        socket: the path of the Redis socket.
        options: options of the command.
    """

    def __init__(self, app: Any, socket: str, options: list[str]) -> None:  # noqa: ANN401  # Celery has no types
        self._app, self._options = app, options
        url = f"redis+socket://{socket}"
        app.conf.update(broker_url=url, result_backend=url)
        # Celery reads these in the worker. They are not set here, because Pigeonhole's Celery would read them, too.
        self._environment = os.environ | {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}

    def start(self) -> None:
        """Start the worker, and wait until it answers."""
        module = f"benchmarks.peers.{self._app.main}"
        command = [sys.executable, "-m", "celery", "--quiet", "-A", module, "worker", "--loglevel", "WARNING"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in stop
        self._process = subprocess.Popen(
            [*command, *self._options], env=self._environment, cwd=ROOT, stdout=self._log, stderr=self._log
        )
        give_up = time.monotonic() + _PATIENCE
        while not self._app.control.ping(timeout=0.5):
            if self._process.poll() is not None or time.monotonic() > give_up:
                self._log.seek(0)
                raise RuntimeError(f"{module}: its worker did not start: {self._log.read().decode()[-2000:]}")

    def stop(self) -> None:
        """Stop the worker with SIGTERM, Celery's warm shutdown."""
        self._process.terminate()
        self._process.wait()
        self._log.close()
