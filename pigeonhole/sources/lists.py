"""Lists of paths: `-`, standard input, and `@FILE`."""

import codecs
import os
import select
from collections.abc import Iterator
from io import RawIOBase
from typing import cast

from pigeonhole.errors import SourceError

#: Bytes that are read at once.
_BLOCK = 1 << 16
#: No path is longer than 4,096 bytes; a longer entry is no path, or the separator is another.
_LONGEST = 1 << 20
#: Milliseconds until an interruption is noticed that came just before a wait: a signal ends only what it finds waiting.
_LOOK = 1000
_SEPARATORS = "its entries are separated by newlines, or with -0 by NUL bytes"


def entries(name: str, null_separated: bool) -> Iterator[str]:
    """Stream the paths in a list, empty ones left out; a name that is not UTF-8 is spelled as `os.fsdecode` does.

    Raises:
        SourceError: it can't be read, or is not a list.
    """
    try:
        with open(0 if name == "-" else name[1:], "rb", buffering=0, closefd=name != "-") as file:
            for entry in _split(file, name, b"\0" if null_separated else b"\n"):
                if b"\0" in entry:
                    raise SourceError(f"the list {name!r} holds NUL bytes: {_SEPARATORS}")
                yield os.fsdecode(entry)
    except OSError as exc:
        raise SourceError(f"the list {name!r} can't be read: {exc.strerror}") from exc


def _split(file: RawIOBase, name: str, separator: bytes) -> Iterator[bytes]:
    """Split a stream, which is read as it comes, so that a slow list is worked on before its end."""
    rest, ending, first = b"", b"", True
    while block := _next(file):
        *whole, rest = (rest + block).split(separator)
        if first and whole and separator == b"\n":
            whole[0] = whole[0].removeprefix(codecs.BOM_UTF8)
            ending = b"\r" if whole[0].endswith(b"\r") else b""  # Windows', if the first line has it
            first = False
        yield from filter(None, (entry.removesuffix(ending) for entry in whole))
        if len(rest) > _LONGEST:
            raise SourceError(f"the list {name!r} has an entry of more than {_LONGEST:,} bytes: {_SEPARATORS}")
    if last := rest.removesuffix(ending):
        yield last


def _next(file: RawIOBase) -> bytes:
    """Return the bytes that have arrived, once there are any; nothing at the end."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    while not waiting.poll(_LOOK):
        pass
    return cast(bytes, file.read(_BLOCK))
