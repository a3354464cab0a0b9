"""A cache of decoded pictures in a file without a name: each picture is read once, and few are in memory."""

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import DatasetError, ImageError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from training.datasets.files import pictures
from training.datasets.files.pictures import DIGEST_BYTES, Read
from training.processes import available, spread

_CHUNK = 64  # files in one task, or fewer if they exceed `_PART`: small enough for visible progress
_PART = 8_000_000  # bytes of images in memory at a time
_ALONE = 2000  # files: one process reads fewer, of no more bytes, faster than others start
_ALONE_BYTES = 30_000_000


@dataclass(frozen=True)
class Cache:
    """Decoded files.

    Args:
        images: uint8 [N, height, width, channels], mapped from the disk, so that only accessed images are read.
        digests: uint8 [N, DIGEST_BYTES], digests of the images' pixels.
        failed: Index of a file that could not be read → the error; its image is all zeros.
    """

    images: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    failed: dict[int, ImageError]


def read(
    paths: Sequence[str],
    preprocessing: Preprocessing,
    folder: Path,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Cache:
    """Read files into a cache, in their order.

    Args:
        paths: Paths of the files.
        preprocessing: Preprocessing of each image.
        folder: Folder for the cache, a file without a name that disappears with this process.
        processes: Number of processes; None for one if the files are few, otherwise one for each available core.
        on_progress: Called with the number of files read and the number of all files.

    Raises:
        DatasetError: The disk has no room for the cache.
        TrainingError: A process was killed.
    """
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    size = min(_CHUNK, max(1, _PART // math.prod(shape)))
    chunks = [paths[at : at + size] for at in range(0, len(paths), size)]
    digests = np.zeros((len(paths), DIGEST_BYTES), np.uint8)
    failed: dict[int, ImageError] = {}
    done = 0
    with _scratch(folder) as file:
        with closing(_read(chunks, preprocessing, processes)) as results:
            for part in results:
                _write(file, part.pixels, folder)
                digests[done : done + len(part.digests)] = part.digests
                failed |= {done + at: what for at, what in part.failed.items()}
                done += len(part.digests)
                if on_progress:
                    on_progress(done, len(paths))
        return Cache(_mapped(file, len(paths), shape), digests, failed)


def store(parts: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], folder: Path) -> NDArray[np.uint8]:
    """Write images, part after part, to a new cache.

    Args:
        parts: Arrays uint8 [n, height, width, channels].
        shape: Height, width and channels of an image.
        folder: Folder for the cache, as for `read`.

    Returns:
        uint8 [N, height, width, channels], mapped from the disk.

    Raises:
        DatasetError: The disk has no room for it.
    """
    count = 0
    with _scratch(folder) as file:
        for part in parts:
            _write(file, part, folder)
            count += len(part)
        return _mapped(file, count, shape)


def rows(images: NDArray[np.uint8], indices: NDArray[np.int64] | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield the images at the indices, or all images, in parts of a few megabytes."""
    count = len(images) if indices is None else len(indices)
    size = max(1, _PART // math.prod(images.shape[1:]))
    for at in range(0, count, size):
        yield images[slice(at, at + size) if indices is None else indices[at : at + size]]


def _read(
    chunks: Sequence[Sequence[str]], preprocessing: Preprocessing, processes: int | None
) -> Generator[Read, None, None]:
    count = processes or (1 if _are_few(chunks) else available())
    if count == 1:
        yield from map(partial(pictures.read, preprocessing=preprocessing), chunks)
        return
    try:
        yield from spread(pictures.read_here, chunks, pictures.prepare, (preprocessing,), count)
    except BrokenProcessPool as exc:
        raise TrainingError(
            "A process that read pictures was killed. Free some memory, or remove very large pictures."
        ) from exc


def _are_few(chunks: Sequence[Sequence[str]]) -> bool:
    paths = [path for chunk in chunks for path in chunk] if len(chunks) * _CHUNK <= _ALONE else []
    return len(paths) > 0 and sum(os.stat(path).st_size for path in paths if os.path.exists(path)) <= _ALONE_BYTES


def _scratch(folder: Path) -> IO[bytes]:
    try:
        return TemporaryFile(dir=folder)  # on Linux it never has a name, so a kill leaves nothing behind
    except OSError as exc:
        raise _no_room(folder, exc) from exc


def _write(file: IO[bytes], pixels: NDArray[np.uint8], folder: Path) -> None:
    # Written with write(): pages that are written through a memory map count as this process's memory.
    try:
        file.write(np.ascontiguousarray(pixels).data)
        file.flush()
    except OSError as exc:
        raise _no_room(folder, exc) from exc


def _mapped(file: IO[bytes], count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if not count:
        return np.zeros((0, *shape), np.uint8)  # an empty file can't be mapped
    return np.memmap(file, np.uint8, "r+", shape=(count, *shape))


def _no_room(folder: Path, exc: OSError) -> DatasetError:
    return DatasetError(
        f"{folder}: the decoded pictures can't be stored there ({exc.strerror or exc}). Free space, or change -o."
    )
