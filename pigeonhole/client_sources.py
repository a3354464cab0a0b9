"""The sources that a Python program passes to `Client`: SOURCEs as on the command line, images in memory, or both."""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from pigeonhole.errors import UsageError
from pigeonhole.imaging.encode import InMemory, encoded
from pigeonhole.sources.memory import ImagesInMemory, in_memory
from pigeonhole.sources.reference import Reference

#: A SOURCE as on the command line (an image, a folder, an archive, a glob, `@list.txt`), or an image in memory.
ClientSource: TypeAlias = str | os.PathLike[str] | InMemory
#: One source, several of them, or a mapping from names to images in memory.
Sources: TypeAlias = ClientSource | Iterable[ClientSource] | Mapping[str, InMemory]


def listed(sources: Sources) -> list[str | Reference]:
    """Return the sources in order: SOURCEs as text, and images in memory as references that contain the image.

    An image in memory is named `image N` by its position, or by its key in a mapping.

    Raises:
        UsageError: one of them is neither a SOURCE nor an image that can be encoded.
    """
    if isinstance(sources, Mapping):
        return [_image(image, name) for name, image in sources.items()]
    if isinstance(sources, str | os.PathLike):
        return [os.fspath(sources)]
    alone = encoded(sources, "image 0")
    if alone is not None:
        return [in_memory("image 0", alone)]
    if not isinstance(sources, Iterable):
        raise UsageError(_unknown("the source", sources))
    return [
        os.fspath(one) if isinstance(one, str | os.PathLike) else _image(one, f"image {number}")
        for number, one in enumerate(sources)
    ]


def names(sources: Sequence[str | Reference]) -> list[str]:
    """Return the names of sources for a job's record; images in memory become one name with their number."""
    named = list[str]()
    for carried, group in groupby(sources, key=lambda source: isinstance(source, Reference)):
        some = list(group)
        named += [f"{ImagesInMemory.scheme}:{len(some)}"] if carried else map(str, some)
    return named


def _image(image: object, name: str) -> Reference:
    data = encoded(image, name)
    if data is None:
        raise UsageError(_unknown(name, image))
    return in_memory(name, data)


def _unknown(name: str, what: object) -> str:
    return (
        f"{name!r} is of the type {type(what).__name__}: give a path, the bytes of an image file, an array of uint8, "
        "or a Pillow image"
    )
