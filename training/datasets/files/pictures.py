"""Reading and decoding of picture files. It imports no torch, so that processes start fast."""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.preprocessing import Preprocessing

MAX_PIXELS = 100_000_000  # of a picture, by its header; the worker's limit is a separate setting
MAX_BYTES = 200_000_000  # of a file, which is in memory as a whole while it is decoded
DIGEST_BYTES = 16  # enough that different images never have the same digest


@dataclass(frozen=True)
class Read:
    """Some decoded files.

    Args:
        pixels: uint8 [n, height, width, channels]; zeros for a file that could not be read.
        digests: uint8 [n, DIGEST_BYTES], digests of the pixels.
        failed: Index of a file that could not be read → the error.
    """

    pixels: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    failed: dict[int, ImageError]


def content(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file.

    Raises:
        ImageError: The file can't be read, is not a regular file, or is too large.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(ErrorKind.NOT_A_FILE, "it is not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageError(
                ErrorKind.TOO_LARGE, f"the file has {status.st_size:,} bytes, and the limit is {MAX_BYTES:,}"
            )
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except (OSError, ValueError) as exc:  # ValueError: the path has a NUL byte
        raise ImageError(
            ErrorKind.CORRUPT, f"the file can't be read ({getattr(exc, 'strerror', None) or exc})"
        ) from exc


def read(paths: Sequence[str], preprocessing: Preprocessing) -> Read:
    """Read and preprocess files, in order, as a worker does."""
    shape = (len(paths), preprocessing.height, preprocessing.width, preprocessing.channels)
    pixels, failed = np.zeros(shape, np.uint8), {}
    for at, path in enumerate(paths):
        try:
            pixels[at] = preprocess.prepare(content(path), preprocessing, MAX_PIXELS)
        except ImageError as exc:
            failed[at] = exc
    return Read(pixels, digests(pixels), failed)


def digests(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a digest of each image's pixels: uint8 [n, height, width, channels] → uint8 [n, DIGEST_BYTES]."""
    found = [hashlib.sha256(np.ascontiguousarray(image).data).digest()[:DIGEST_BYTES] for image in pixels]
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, DIGEST_BYTES)


_preprocessing: Preprocessing | None = None  # set by `prepare` in a process of a pool


def prepare(preprocessing: Preprocessing) -> None:
    """Set the preprocessing of a process that reads pictures."""
    global _preprocessing
    _preprocessing = preprocessing


def read_here(paths: Sequence[str]) -> Read:
    """Read files in a process that `prepare` has set up."""
    assert _preprocessing is not None
    return read(paths, _preprocessing)
