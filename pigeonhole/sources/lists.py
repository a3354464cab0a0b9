"""Read lists of paths: `-` (standard input) and `@FILE`."""

import codecs
import os
import select
from collections.abc import Iterator
from io import RawIOBase
from typing import cast

from pigeonhole.errors import SourceError
from pigeonhole.limits import LONGEST_PATH
from pigeonhole.text import printable

#: The number of bytes that are read at once.
_BLOCK = 1 << 16
#: The number of characters of an overlong entry that a message shows.
_SHOWN = 60
#: Milliseconds of one wait for input: Ctrl-C just before a wait is noticed after it.
_POLL_MS = 1000
_SEPARATORS = "its entries are separated by newlines, or with -0 by NUL bytes"


def entries(name: str, null_separated: bool) -> Iterator[str]:
    """Yield the paths in a list, without empty ones, decoded with `os.fsdecode`.

    Raises:
        SourceError: the list can't be read, or is not a list, or has an entry that is too long for a path.
    """
    try:
        with open(0 if name == "-" else name[1:], "rb", buffering=0, closefd=name != "-") as file:
            for number, entry in enumerate(_split(file, b"\0" if null_separated else b"\n"), 1):
                if b"\0" in entry:
                    raise SourceError(f"the list {name!r} holds NUL bytes: {_SEPARATORS}")
                if len(entry) > LONGEST_PATH:
                    which = f"{'entry' if null_separated else 'line'} {number:,} of the list {name!r}"
                    raise SourceError(
                        f"{which} has more than {LONGEST_PATH:,} bytes, which is too long for a path "
                        f"({printable(os.fsdecode(entry[:_SHOWN]))}…): {_SEPARATORS}"
                    )
                if entry:
                    yield os.fsdecode(entry)
    except OSError as exc:
        raise SourceError(f"the list {name!r} can't be read: {exc.strerror}") from exc


def _split(file: RawIOBase, separator: bytes) -> Iterator[bytes]:
    """Yield the entries of a stream as they arrive, so that the entries of a slow list are used at once.

    An entry is also yielded, incomplete, once it is too long for a path.
    """
    rest, ending, first = b"", b"", True
    while block := _next(file):
        *whole, rest = (rest + block).split(separator)
        if first and whole and separator == b"\n":
            whole[0] = whole[0].removeprefix(codecs.BOM_UTF8)
            ending = b"\r" if whole[0].endswith(b"\r") else b""  # the first line shows Windows' line endings
            first = False
        yield from (entry.removesuffix(ending) for entry in whole)
        if len(rest) > LONGEST_PATH + len(ending):
            yield rest
    yield rest.removesuffix(ending)


def _next(file: RawIOBase) -> bytes:
    """Wait for bytes and return those that have arrived; none at the end."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    while not waiting.poll(_POLL_MS):
        pass
    return cast(bytes, file.read(_BLOCK))
