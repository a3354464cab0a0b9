"""What a pool process and the process of its GPU say to each other, over a Unix socket.

The GPU's process begins, once it has loaded the model: a line of JSON with `device`, `precision` and `batch`. Then, for
each chunk, the pool process sends the number of images and their pixels, and gets a status, and the logits or an error.
"""

import socket
import struct
from enum import IntEnum

from pigeonhole.errors import PigeonholeError

#: In a chunk: how many images follow, as bytes.
COUNT = struct.Struct("<I")
#: In a reply: a `Status`, and how many bytes follow.
REPLY = struct.Struct("<II")
#: The variable that leads a pool process to the sockets, separated by colons.
SOCKETS = "_PIGEONHOLE_DEVICES"


class Status(IntEnum):
    """What became of a chunk."""

    DONE = 0  # logits follow, float32 [images, logits]
    MEMORY = 1  # there is not enough memory for this number of images; words follow
    FAILED = 2  # the network failed; words follow


class DeviceLost(PigeonholeError):
    """Raised when the process of a GPU has ended: its images wait for another worker."""


def receive(connection: socket.socket, into: memoryview) -> bool:
    """Fill a buffer; return False if the other end closed the connection before the first byte.

    Raises:
        ConnectionError: It was closed later.
    """
    at = 0
    while at < len(into):
        count = connection.recv_into(into[at:])
        if not count:
            if at:
                raise ConnectionError(f"the connection was closed after {at} of {len(into)} bytes")
            return False
        at += count
    return True
