"""Settings of the C library's memory allocator."""

import ctypes
import logging

logger = logging.getLogger(__name__)

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Bytes; glibc takes no higher threshold. Larger blocks, such as a big photo's pixels, still go back.
_LARGEST = 32 * 2**20
_KEPT = 256 * 2**20  # likewise, at the end of the heap


def keep_freed() -> None:
    """Tell glibc to keep freed memory in this process, within limits; another C library is left as it is.

    By default glibc returns a network's activations to the system after each chunk. The next chunk then costs a page
    fault and a page of zeros for every 4 KiB: 1,550 faults for 256 digits, 11 of 27 µs an image.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not (mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _KEPT)):
        logger.warning("glibc does not keep freed memory: workers are slower than they could be")
