"""What the C library does with memory that is freed."""

import ctypes
import logging

logger = logging.getLogger(__name__)

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Bytes; glibc takes no higher threshold. What is larger, an array of a big photo, still goes back.
_LARGEST = 32 * 2**20
_KEPT = 256 * 2**20  # likewise, at the end of the heap


def keep_freed() -> None:
    """Have this process keep what it frees, within limits, for the next chunk takes as much.

    By default glibc gives a network's activations back to the system after each chunk and gets them anew for the next,
    a page fault and a page of zeros for every 4 KiB: 1,550 faults for 256 digits, 11 of 27 µs an image. Where the C
    library is another one, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not (mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _KEPT)):
        logger.warning("glibc does not keep freed memory: workers are slower than they could be")
