"""Walk folders in bounded memory: the standard library's functions hold all names of a folder or a tree."""

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
#: The extensions, in any case, of images in folders. Pillow reads more formats; such files can be named or listed.
EXTENSIONS = frozenset(_EXTENSIONS.split())
#: A folder's names are sorted within windows of this size, so larger folders are not sorted as a whole.
WINDOW = 65_536
#: One file in this many is asked for its size, since `stat` costs more than all other work for a file here.
_SAMPLED = 16
#: The errors of broken links: to themselves, to a path below a file, or to an impossible name.
_NOWHERE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)


def in_folder(shown: str, root: str, skipped: Skipped) -> Iterator[Reference]:
    """Yield references to a folder's images: files first, then subfolders. Follow links, and leave hidden ones out.

    Args:
        shown: the folder as the user named it.
        root: the folder's path below the image root.
        skipped: counts the files that have no image extension.

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
    """Return whether a walk includes a file, or a folder, with this path below its start: no hidden names."""
    return not path.startswith(".") and "/." not in path and (is_folder or _is_image(path.rpartition("/")[2]))


def sampled_sizes() -> Callable[[str | os.DirEntry[str]], int]:
    """Return a function that estimates the sizes of a sequence of files: it checks one in `_SAMPLED`."""
    asked, size = cycle(range(_SAMPLED)), 0

    def size_of(file: str | os.DirEntry[str]) -> int:
        nonlocal size
        if next(asked) == 0:
            size = size_or_zero(file)
        return size

    return size_of


def size_or_zero(file: str | os.DirEntry[str]) -> int:
    """Return a file's size in bytes; 0 if there is no such file, which the worker will report."""
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


def windows(folder: str) -> Iterator[list[os.DirEntry[str]]]:
    """Yield a folder's entries, a sorted window at a time; raise OSError if it can't be read."""
    with os.scandir(folder) as entries:
        while True:
            window = sorted(islice(entries, WINDOW), key=lambda entry: entry.name)
            if len(window) < WINDOW:
                break
            yield window
    # After closing the folder, so that a walk into subfolders keeps no folder open.
    yield window


def is_folder(entry: os.DirEntry[str], links: bool = True) -> bool:
    """Return whether an entry is a folder or (with `links`) a link to one; raise OSError without permission."""
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError as exc:
        if exc.errno in _NOWHERE:
            return False
        raise


def flattened(items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items of a generator, with each generator among them replaced by its items, recursively.

    Unlike `yield from`, this has no limit of about a thousand nested folders.
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
    """Return a message about a folder that can't be read."""
    return f"the folder {exc.filename!r} can't be read: {exc.strerror}"


def _walk(top: str, below: str, above: tuple[tuple[int, int], ...], skipped: Skipped) -> Iterator[Any]:
    """Yield (folder below top, images in it), a window at a time, and such a generator for each subfolder.

    Args:
        top: the start of the walk, with a slash at its end.
        below: the folder's path below `top`: empty, or with a slash at its end.
        above: device and inode of the parent folders, to detect cycles of links.
        skipped: counts the files that have no image extension.

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
