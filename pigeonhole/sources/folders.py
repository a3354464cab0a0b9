"""Folders that stream: the standard library's functions hold a whole folder's names at once, or a whole tree's."""

import errno
import os
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from types import GeneratorType
from typing import Any

from pigeonhole.errors import SourceError
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.reference import Reference, with_slash
from pigeonhole.sources.skipped import Skipped

_EXTENSIONS = (
    "png jpg jpeg jpe jfif gif bmp dib tif tiff webp avif heic heif hif jp2 j2k jpx ico icns tga pbm pgm ppm pnm pcx "
    "dds qoi"
)
#: By these, in any case, a file in a folder is known as an image. Pillow reads more; name or list such files.
EXTENSIONS = frozenset(_EXTENSIONS.split())
#: A folder's names are sorted within windows of this many: in order for nearly everyone, in bounded memory for all.
WINDOW = 65_536
#: To ask for a file's size costs more than all else that is done for it here: one file in this many is asked.
_SAMPLED = 16
#: What a link says that leads nowhere: to itself, below a file, or to no possible name.
_NOWHERE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)


def in_folder(shown: str, root: str, skipped: Skipped) -> Iterator[Reference]:
    """Stream a folder's images, files first, then the folders below; hidden ones are left out, links are followed.

    Args:
        shown: the folder as the user named it.
        root: the folder below the image root.
        skipped: counts the files that are not known as images.

    Raises:
        SourceError: a folder can't be read.
    """
    shown, root, scheme = with_slash(shown), with_slash(root), LocalFiles.scheme
    size_of = sampled_sizes()
    try:
        for below, images in flattened(_walk(shown, "", (), skipped)):
            for image in images:
                path = below + image.name
                yield Reference(scheme, shown, root, path, (), size_of(image))
    except OSError as exc:
        raise SourceError(unreadable(exc)) from exc


def is_found(path: str, is_folder: bool = False) -> bool:
    """Return whether a walk finds an image, or a folder, at this path below its beginning."""
    return not path.startswith(".") and "/." not in path and (is_folder or _is_image(path.rpartition("/")[2]))


def sampled_sizes() -> Callable[[str | os.DirEntry[str]], int]:
    """Return what estimates the sizes of one file after the other: each as that of the last that was asked."""
    asked, size = cycle(range(_SAMPLED)), 0

    def size_of(file: str | os.DirEntry[str]) -> int:
        nonlocal size
        if next(asked) == 0:
            size = size_or_zero(file)
        return size

    return size_of


def size_or_zero(file: str | os.DirEntry[str]) -> int:
    """Return a file's size in bytes; 0 where it is gone, or a link to nowhere, as the worker will say in its row."""
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


def windows(folder: str) -> Iterator[list[os.DirEntry[str]]]:
    """Stream a folder's entries, a sorted window at a time; OSError where it can't be read."""
    with os.scandir(folder) as entries:
        while True:
            window = sorted(islice(entries, WINDOW), key=lambda entry: entry.name)
            if len(window) < WINDOW:
                break
            yield window
    # Now it is closed: a walk down a deep tree from here keeps no folder open on the way.
    yield window


def is_folder(entry: os.DirEntry[str], links: bool = True) -> bool:
    """Return whether an entry is a folder or (with `links`) a link to one; OSError where it may not be asked."""
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError as exc:
        if exc.errno in _NOWHERE:
            return False
        raise


def flattened(items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items of a generator, and in the place of each generator among them its items.

    `yield from` would do it too, but only for a thousand folders in each other.
    """
    stack = [items]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, GeneratorType):
            stack.append(item)
        else:
            yield item


def unreadable(exc: OSError) -> str:
    """Return in words which folder can't be read, and why."""
    return f"the folder {exc.filename!r} can't be read: {exc.strerror}"


def _walk(top: str, below: str, above: tuple[tuple[int, int], ...], skipped: Skipped) -> Iterator[Any]:
    """Yield (folder below top, images in it), a window at a time, and such generators for the folders in it.

    Args:
        top: where the walk began, with a slash at its end.
        below: the folder below it: empty, or with a slash at its end.
        above: device and inode of the folders on the way here; one of them again is a circle of links.
        skipped: counts the files that are not known as images.

    Raises:
        OSError: a folder can't be read.
    """
    status = os.stat(top + below)
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for window in windows(top + below):
        images, folders = [], []
        for entry in window:
            if entry.name.startswith("."):
                continue
            if is_folder(entry):
                folders.append(entry.name)
            elif _is_image(entry.name):
                images.append(entry)
            else:
                skipped.add(entry.name)
        yield below, images
        for name in folders:
            yield _walk(top, f"{below}{name}/", (*above, identity), skipped)


def _is_image(name: str) -> bool:
    _, dot, extension = name.rpartition(".")
    return bool(dot) and extension.lower() in EXTENSIONS
