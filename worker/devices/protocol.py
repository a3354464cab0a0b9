"""The protocol between a pool process and the process of its GPU, over a Unix socket.

Once the GPU's process has loaded the model, it sends a line of JSON with `device`, `precision` and `batch`. For each
chunk, the pool process sends the number of images and their pixels; the reply is a status, then the logits or an error.
"""

import socket
import struct
from enum import IntEnum

from pigeonhole.errors import PigeonholeError

#: The header of a chunk: the number of images.
COUNT = struct.Struct("<I")
#: The header of a reply: a `Status`, and the number of bytes that follow.
REPLY = struct.Struct("<II")
#: The variable with the paths of the sockets, separated by colons.
SOCKETS = "_PIGEONHOLE_DEVICES"


class Status(IntEnum):
    """The outcome of a chunk."""

    DONE = 0  # logits follow, float32 [images, logits]
    MEMORY = 1  # not enough memory for this number of images; a message follows
    FAILED = 2  # the network failed; a message follows


class DeviceLost(PigeonholeError):
    """Raised when the process of a GPU has ended; its images stay pending for another worker."""


def receive(connection: socket.socket, into: memoryview) -> bool:
    """Fill a buffer; return False if the other end closed the connection before the first byte.

    Raises:
        ConnectionError: The other end closed the connection before the last byte.
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
