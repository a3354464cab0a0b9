"""A small image that is sent through the queue, to see that workers consume and see the image root as we do."""

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
from pigeonhole.ledger.messages import Batch, Group, Row
from pigeonhole.ledger.task_queue import Queue

#: Kinds of error row that say where a worker looked and how, not what is in the file.
OF_THE_PLACE = (ErrorKind.MISSING, ErrorKind.OUTSIDE, ErrorKind.UNREADABLE, ErrorKind.NOT_A_FILE)
#: And those that say that a worker failed.
OF_THE_WORKER = (ErrorKind.INTERNAL, ErrorKind.CRASHED, ErrorKind.TIMEOUT)
_POLL = 0.05
#: Its side in pixels.
_SIZE = 28


@contextmanager
def probe_image(folder: str) -> Iterator[str]:
    """Return the path of a new image for the length of a block.

    Raises:
        OSError: the folder can't be written to.
    """
    # Hidden: who walks the folder meanwhile leaves it out.
    path = os.path.join(folder, f".pigeonhole-doctor-{secrets.token_hex(6)}.png")
    try:
        with open(path, "xb") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever our umask is: workers may be another user
            file.write(_stroke())
        yield path
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def answer(
    ledger: Ledger,
    queue: Queue,
    model: str,
    image: Group,
    seconds: float,
    check: Callable[[], None] = lambda: None,
) -> Row | None:
    """Classify one image, as a job of its own that is deleted in the end.

    Args:
        ledger, queue: of one Redis.
        model: whose queue it goes to.
        image: the group that it is alone in.
        seconds: how long its row is waited for.
        check: is called at each look; what it raises ends the waiting.

    Returns:
        Its row, None where none came.

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
        return next(rows, None)  # none where somebody cancelled the job
    finally:
        with suppress(PigeonholeError):  # a Redis that has gone since is told by what was asked before
            ledger.delete(job)


def room(folder: str) -> int:
    """Return the free bytes of a folder's file system, after having written there.

    Raises:
        OSError: it can't be written to.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"pigeonhole")
        file.flush()
        free = os.fstatvfs(file.fileno())
    return free.f_bavail * free.f_frsize


def _stroke() -> bytes:
    """Return a PNG of a white stroke on black, 8 bits of grey: a model that refuses blank images accepts it."""
    header = struct.pack(">2I5B", _SIZE, _SIZE, 8, 0, 0, 0, 0)
    dark, stroke = bytes(_SIZE), bytes(12) + b"\xff" * 4 + bytes(_SIZE - 16)
    rows = b"".join(b"\0" + (stroke if 4 <= row < _SIZE - 4 else dark) for row in range(_SIZE))  # \0: unfiltered
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
