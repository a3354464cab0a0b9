"""What is in an archive: each member's name, and where it lies, so that a worker goes straight to it.

Nothing is unpacked, and a member's name is nothing but a name: `..` or a slash at its beginning lead nowhere. Of a
`.tar` only the headers are read; a `.tar.gz` has to be inflated for that; a `.zip` has a list of its members, which
Python's `zipfile` holds in memory: about 0.6 KB for each.
"""

import gzip
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import IO, NamedTuple, Self

from worker.contract.errors import SourceError
from worker.contract.spans import Span, TarSpan, ZipSpan, is_place

#: Between an archive's name and a member's.
INSIDE = "::"
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
#: As many bytes as a path may have: a batch of the largest can still be read back.
_LONGEST_NAME = 4096
#: A header that comes before another, with its long name for instance, is held in memory.
_LONGEST_HEADER = 1 << 20
_BEFORE_ANOTHER = frozenset({b"x", b"g", b"X", b"L", b"K"})
#: Bytes that are read at once.
_STEP = 1 << 16
#: What tarfile, zipfile and what they are built on raise where bytes are not what they should be.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError),
    *(ValueError, OverflowError, NotImplementedError, RecursionError, IndexError),
)


class Member(NamedTuple):
    """A regular file in an archive. `size` is what it takes there, in bytes, as far as that can be told."""

    name: str
    size: int
    span: Span


#: A member, and what opens it.
Content = tuple[Member, Callable[[], IO[bytes]]]


def is_archive(path: str) -> bool:
    """Tell whether this is an archive: a file whose name says so."""
    return path.lower().endswith(_ENDINGS) and os.path.isfile(path)


def files_of(path: str) -> list[str]:
    """Give the files that a row's path may be about, as far as they are there: the path itself, or an archive."""
    archives, at = list[str](), path.find(INSIDE)
    while at >= 0:
        if is_archive(path[:at]):
            archives.append(path[:at])
        at = path.find(INSIDE, at + 1)
    return [path, *archives] if not archives or os.path.lexists(path) else archives


def members(path: str) -> Iterator[Member]:
    """Stream the regular files in an archive, in its order; links and devices are left out.

    Raises:
        SourceError: it can't be read, is damaged, or holds something that we can't name or find again.
    """
    return (member for member, _ in contents(path))


def contents(path: str) -> Generator[Content, None, None]:
    """Stream the same, each with what opens it, until the next one is asked for.

    Raises:
        SourceError: as `members`. To open and read one raises what is in `BROKEN`, or OSError.
    """
    try:
        with open(path, "rb") as file:
            for member, opened in _zipped(file) if path.lower().endswith(".zip") else _tarred(file):
                if len(os.fsencode(member.name)) > _LONGEST_NAME:
                    raise ValueError(f"a name in it has more than {_LONGEST_NAME:,} bytes")
                if not is_place(member.span):
                    raise ValueError(f"{member.name!r} lies where no file has a place")
                yield member, opened
    except BROKEN as exc:
        raise SourceError(f"the archive {path!r} is damaged, or none that can be read: {exc}; pack it anew") from exc
    except OSError as exc:
        raise SourceError(f"the archive {path!r} can't be read: {exc.strerror}") from exc


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None  # it is a regular file's; for the type checker
    return file


def _zipped(file: IO[bytes]) -> Iterator[Content]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was not packed on Unix
            if kind in (0, stat.S_IFREG) and not info.is_dir():
                stored, size = info.compress_size, info.file_size
                span = ZipSpan(info.header_offset, stored, size, info.compress_type, info.CRC)
                yield Member(_name(info), stored, span), partial(archive.open, info)


def _name(info: zipfile.ZipInfo) -> str:
    """Give a name as the system spells it: its bytes, where the archive does not say that it is UTF-8."""
    says_utf8 = info.flag_bits & 0x800
    return info.filename if says_utf8 else os.fsdecode(info.filename.encode("cp437"))  # as zipfile decoded them


class _Info(tarfile.TarInfo):
    """A member that knows its header's checksum; one header that is damaged is no end of the archive."""

    __slots__ = ("check",)
    check: int

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            raise
        except tarfile.HeaderError as exc:  # tarfile would take it for the end
            raise tarfile.ReadError(f"{exc}, where another member or the archive's end should be") from exc
        if info.size < 0 or (info.type in _BEFORE_ANOTHER and info.size > _LONGEST_HEADER):
            raise tarfile.ReadError(f"a header in it says that {info.size:,} bytes follow")
        info.check = zlib.crc32(buf)
        return info


def _tarred(file: IO[bytes]) -> Iterator[Content]:
    inflated = gzip.GzipFile(fileobj=file) if _is_gzip(file) else file
    for info, archive in _headers(inflated):
        if info.issparse():
            raise ValueError(f"{info.name!r} is stored with holes, as `tar --sparse` does")
        if info.size < 0:
            raise ValueError(f"{info.name!r} has {info.size:,} bytes")
        if info.isreg():
            span = TarSpan(info.offset_data, info.size, info.check)
            yield Member(info.name, info.size, span), partial(_opened, archive, info)
    while inflated.read(_STEP):  # what follows the archive's end, and then gzip's checksum of it all
        pass


def _headers(file: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[_Info, tarfile.TarFile]]:
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_Info, encoding="utf-8", errors="surrogateescape") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or it would hold them all
            assert isinstance(info, _Info)  # for the type checker
            yield info, archive


def _is_gzip(file: IO[bytes]) -> bool:
    """Tell by its first bytes: a `.tar.gz` that was inflated on its way here often keeps its name."""
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"
