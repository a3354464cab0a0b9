"""A small image that is sent through the queue, to check that workers take batches and see the same image root."""

import os
import secrets
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain

from pigeonhole.errors import ErrorKind, PigeonholeError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.wire.messages import Batch, Group, Row

#: Kinds of error that are about a file's path or permissions, not its content.
PATH_ERRORS = (ErrorKind.MISSING, ErrorKind.OUTSIDE, ErrorKind.UNREADABLE, ErrorKind.NOT_A_FILE)
#: Kinds of error that are about a failure of the worker.
WORKER_ERRORS = (ErrorKind.INTERNAL, ErrorKind.CRASHED, ErrorKind.TIMEOUT)
_POLL = 0.05
#: The side of the image in pixels.
_SIZE = 28


@contextmanager
def probe_image(folder: str) -> Iterator[str]:
    """Write a new image, yield its path, and remove it again.

    Raises:
        OSError: the folder can't be written to.
    """
    # Hidden, so that a command which reads the folder meanwhile skips it.
    path = os.path.join(folder, f".pigeonhole-doctor-{secrets.token_hex(6)}.png")
    try:
        with open(path, "xb") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever our umask is: workers may run as another user
            file.write(_stroke())
        yield path
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def classify_probe(
    ledger: Ledger,
    queue: Queue,
    model: str,
    image: Group,
    seconds: float,
    check: Callable[[], None] = lambda: None,
) -> Row | None:
    """Classify one image as a job of its own, which is deleted afterwards.

    Args:
        ledger, queue: the ledger and the queue of one Redis.
        model: name of the model.
        image: a group with that image only.
        seconds: how long to wait for its row.
        check: called at each poll; an error that it raises ends the wait.

    Returns:
        The image's row; None if it did not arrive.

    Raises:
        BrokerUnreachable: Redis does not answer.
    """
    job = ledger.create(model, ("pigeonhole doctor",))
    try:
        piece = ledger.add(job, 0, Batch((image,)))
        assert piece is not None  # the job is new
        queue.publish(model, job, piece)
        ledger.close(job, 1)
        give_up = time.monotonic() + seconds
        while not ledger.status(job).over:
            check()
            if time.monotonic() > give_up:
                return None
            time.sleep(_POLL)
        rows = chain.from_iterable(done.rows() for done in ledger.read(job, 0, 1))
        return next(rows, None)  # no row if the job was cancelled
    finally:
        with suppress(PigeonholeError):  # if Redis is down, the calls above have raised already
            ledger.delete(job)


def room(folder: str) -> int:
    """Return the free bytes of a folder's file system after a test write.

    Raises:
        OSError: the folder can't be written to.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"pigeonhole")
        file.flush()
        free = os.fstatvfs(file.fileno())
    return free.f_bavail * free.f_frsize


def _stroke() -> bytes:
    """Return a grey PNG of a white stroke on black, which models that refuse blank images accept."""
    header = struct.pack(">2I5B", _SIZE, _SIZE, 8, 0, 0, 0, 0)
    dark, stroke = bytes(_SIZE), bytes(12) + b"\xff" * 4 + bytes(_SIZE - 16)
    rows = b"".join(b"\0" + (stroke if 4 <= row < _SIZE - 4 else dark) for row in range(_SIZE))  # \0: unfiltered
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
