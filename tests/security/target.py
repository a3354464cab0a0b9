"""A real worker as the target of hostile messages, and valid messages to modify."""

import base64
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.celery_app import LOWEST_PRIORITY
from pigeonhole.ledger.queue.task_queue import TASK, Queue, queue_name
from pigeonhole.ledger.redis.client import connect
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings
from tests.conftest import ROOT, children, wait_for

MODEL = "digits"
SAMPLE = "samples/003b50.png"
#: The name of a batch that does not exist.
PIECE = f"0-{'0' * 32}"


class Target:
    """One worker with one process.

    Args:
        settings: The settings of the worker, with a prefix of its own.
        folder: The folder of its log.
        arguments: Further arguments of its command line.
    """

    def __init__(self, settings: Settings, folder: Path, *arguments: str) -> None:
        self.settings = settings
        self.raw = connect(settings.broker_url)
        self.ledger, self.queue = Ledger(settings), Queue(settings)
        self.log = folder / "worker.log"
        program = [sys.executable, "-m", "pigeonhole", "worker", "--processes", "1", "--name", "celery@target"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*program, *arguments], cwd=ROOT, env=os.environ | settings.to_environment(), stdout=log, stderr=log
            )
        workers = Workers(settings)
        wait_for(lambda: any(worker.processes for worker in workers.alive()), f"the worker: {self.log}")
        self.children = children(self.process.pid)

    def close(self) -> None:
        """End the worker."""
        self.process.kill()
        self.process.wait()

    def key(self, priority: int = 0) -> str:
        """Return the Redis list of one priority."""
        name = f"{self.settings.prefix}:{queue_name(MODEL)}"
        return f"{name}\x06\x16{priority}" if priority else name

    def send(self, *items: bytes | dict[str, Any], priority: int = 0) -> None:
        """Put messages or raw data into the queue, and check that the worker survives and then finishes a valid job."""
        for item in items:
            self.raw.lpush(self.key(priority), item if isinstance(item, bytes) else json.dumps(item))
        self.finish_valid_job()

    def finish_valid_job(self) -> None:
        """Check that the original process classifies an image after everything in the queue."""
        job = self.ledger.create(MODEL, ("test",))
        # With the lowest priority, everything else is consumed first.
        piece = self.ledger.add(job, 0, Batch((Group("file", "", "", (SAMPLE,)),)))
        self.ledger.close(job, 1)
        message = valid_message(job, str(piece))
        self.raw.lpush(self.key(LOWEST_PRIORITY), json.dumps(message))
        wait_for(lambda: self.ledger.status(job).over or self.process.poll() is not None, f"a valid job: {self.log}")
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        assert (self.ledger.status(job).done, self.ledger.status(job).errors) == (1, 0)
        assert children(self.process.pid) == self.children


def valid_message(job: str = "20260101-000000-abcdef", piece: str = PIECE) -> dict[str, Any]:
    """Return a message of a producer; by default, its job does not exist."""
    name = str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": encoded([[job, piece], {}, embed]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": TASK, "id": name, "shadow": None, "eta": None, "expires": None, "group": None,
            "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": name, "parent_id": None,
            "argsrepr": "()", "kwargsrepr": "{}", "origin": "test", "ignore_result": True,
            "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
        },
        "properties": {
            "correlation_id": name,
            "reply_to": str(uuid.uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue_name(MODEL)},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }  # fmt: skip


def encoded(body: object) -> str:
    """Encode the body of a message."""
    return base64.b64encode(json.dumps(body).encode()).decode()


def changed(path: str, value: object) -> dict[str, Any]:
    """Return a valid message in which one field, such as `headers.id`, is replaced, or removed if `value` is ABSENT."""
    message = valid_message()
    *folders, name = path.split(".")
    place = message
    for folder in folders:
        place = place[folder]
    if value is ABSENT:
        place.pop(name, None)
    else:
        place[name] = value
    return message


ABSENT = object()
