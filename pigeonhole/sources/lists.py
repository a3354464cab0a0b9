"""Lists of paths: `-`, standard input, and `@FILE`."""

import codecs
import os
import select
from collections.abc import Iterator
from io import RawIOBase
from typing import cast

from pigeonhole.errors import SourceError
from pigeonhole.limits import LONGEST_PATH
from pigeonhole.text import printable

#: Bytes that are read at once.
_BLOCK = 1 << 16
#: Characters that a message shows of an entry which is too long.
_SHOWN = 60
#: Milliseconds until an interruption is noticed that came just before a wait: a signal ends only what it finds waiting.
_LOOK = 1000
_SEPARATORS = "its entries are separated by newlines, or with -0 by NUL bytes"


def entries(name: str, null_separated: bool) -> Iterator[str]:
    """Stream the paths in a list, empty ones left out; a name that is not UTF-8 is spelled as `os.fsdecode` does.

    Raises:
        SourceError: it can't be read, or is not a list; or an entry is longer than any path.
    """
    try:
        with open(0 if name == "-" else name[1:], "rb", buffering=0, closefd=name != "-") as file:
            for number, entry in enumerate(_split(file, b"\0" if null_separated else b"\n"), 1):
                if b"\0" in entry:
                    raise SourceError(f"the list {name!r} holds NUL bytes: {_SEPARATORS}")
                if len(entry) > LONGEST_PATH:
                    which = f"{'entry' if null_separated else 'line'} {number:,} of the list {name!r}"
                    raise SourceError(
                        f"{which} has more than {LONGEST_PATH:,} bytes, and no path is longer "
                        f"({printable(os.fsdecode(entry[:_SHOWN]))}…): {_SEPARATORS}"
                    )
                if entry:
                    yield os.fsdecode(entry)
    except OSError as exc:
        raise SourceError(f"the list {name!r} can't be read: {exc.strerror}") from exc


def _split(file: RawIOBase, separator: bytes) -> Iterator[bytes]:
    """Split a stream, which is read as it comes, so that a slow list is worked on before its end.

    An entry without an end is yielded once it is longer than a path may be.
    """
    rest, ending, first = b"", b"", True
    while block := _next(file):
        *whole, rest = (rest + block).split(separator)
        if first and whole and separator == b"\n":
            whole[0] = whole[0].removeprefix(codecs.BOM_UTF8)
            ending = b"\r" if whole[0].endswith(b"\r") else b""  # Windows', if the first line has it
            first = False
        yield from (entry.removesuffix(ending) for entry in whole)
        if len(rest) > LONGEST_PATH + len(ending):
            yield rest
    yield rest.removesuffix(ending)


def _next(file: RawIOBase) -> bytes:
    """Return the bytes that have arrived, once there are any; nothing at the end."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    while not waiting.poll(_LOOK):
        pass
    return cast(bytes, file.read(_BLOCK))
