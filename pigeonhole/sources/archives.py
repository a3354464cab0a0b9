"""What is in an archive: each member's name, and where it lies, so that a worker goes straight to it.

Nothing is unpacked, and a member's name is nothing but a name: `..` or a slash at its beginning lead nowhere. Of a
`.tar` only the headers are read; a `.tar.gz` has to be inflated for that; a `.zip` has a list of its members, which
Python's `zipfile` holds in memory: about 0.6 KB for each.
"""

import gzip
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import product
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from pigeonhole.errors import SourceError
from pigeonhole.output_files import DEEPEST_LINK
from pigeonhole.sources.spans import Span, TarSpan, ZipSpan, is_place

if TYPE_CHECKING:
    from pigeonhole.sources.links import Links

#: Between an archive's name and a member's.
INSIDE = "::"
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
#: And what ends the names of archives of other kinds.
_OTHERS = (".7z", ".rar", *(f".{tar}{end}" for tar, end in product(("tar.", "t"), ("bz2", "xz", "zst", "lzma", "lz4"))))
#: As many bytes as a path may have: a batch of the largest can still be read back.
_LONGEST_NAME = 4096
#: A header that comes before another, with its long name for instance, is held in memory.
_LONGEST_HEADER = 1 << 20
_BEFORE_ANOTHER = frozenset({b"x", b"g", b"X", b"L", b"K"})
#: Of a member's flags in a `.zip`.
_ENCRYPTED = 0x1
#: Bytes that are read at once.
_STEP = 1 << 16
#: What tarfile, zipfile and what they are built on raise where bytes are not what they should be.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError),
    *(ValueError, OverflowError, NotImplementedError, RecursionError, IndexError),
)


class Member(NamedTuple):
    """A file in an archive, or a link to one. `size` is what it takes there, in bytes, as far as that can be told."""

    name: str
    size: int
    span: Span


#: A member, and what opens it.
Content = tuple[Member, Callable[[], IO[bytes]]]


def is_archive(path: str) -> bool:
    """Tell whether this is an archive: a file whose name says so."""
    return path.lower().endswith(_ENDINGS) and os.path.isfile(path)


def check_kind(path: str) -> None:
    """Raise SourceError where this is an archive of a kind that is not read, going by a file's name."""
    if path.lower().endswith(_OTHERS) and os.path.isfile(path):
        *kinds, last = _ENDINGS
        raise SourceError(
            f"{path!r}: this kind of archive isn't read, and {', '.join(kinds)} and {last} are: unpack or repack it"
        )


def files_of(path: str) -> list[str]:
    """Give the files that a row's path may be about, as far as they are there: the path itself, or an archive."""
    archives, at = list[str](), path.find(INSIDE)
    while at >= 0:
        if is_archive(path[:at]):
            archives.append(path[:at])
        at = path.find(INSIDE, at + 1)
    return [path, *archives] if not archives or os.path.lexists(path) else archives


def members(path: str) -> Iterator[Member]:
    """Stream the regular files in an archive, in its order, and its links, after them in a `.tar`; no devices.

    A link has the place of the file that it leads to. Where that is none in the archive, it has its own, and a worker
    will find no image there.

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
            if _kind(info) in (0, stat.S_IFREG, stat.S_IFLNK) and not info.is_dir():
                there = _followed(archive, info)
                stored, size = there.compress_size, there.file_size
                span = ZipSpan(there.header_offset, stored, size, there.compress_type, there.CRC)
                yield Member(_name(info), stored, span), partial(archive.open, there)


def _kind(info: zipfile.ZipInfo) -> int:
    return stat.S_IFMT(info.external_attr >> 16)  # 0 where it was not packed on Unix


def _followed(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Give what a link leads to in the archive, or else the link: its few bytes are no image, as a worker will say."""
    there = info
    for _ in range(DEEPEST_LINK):
        if _kind(there) != stat.S_IFLNK:
            return there
        if there.file_size > _LONGEST_NAME or there.flag_bits & _ENCRYPTED:
            return info
        try:
            target = archive.read(there).decode(errors="replace")
        except BROKEN:
            return info
        name = posixpath.normpath(posixpath.join(posixpath.dirname(there.filename), target))
        if name not in archive.NameToInfo:
            return info
        there = archive.NameToInfo[name]
    return info


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
    from pigeonhole.sources.links import putting_aside

    inflated = gzip.GzipFile(fileobj=file) if _is_gzip(file) else file
    with putting_aside() as links, _reading(inflated) as archive:
        for info in _headers(archive):
            if info.issparse():
                raise ValueError(f"{info.name!r} is stored with holes, as `tar --sparse` does")
            if info.size < 0:
                raise ValueError(f"{info.name!r} has {info.size:,} bytes")
            if info.isreg():
                yield Member(info.name, info.size, _place(info)), partial(_opened, archive, info)
            elif info.islnk() or info.issym():
                links.add(info, info.check)
        while inflated.read(_STEP):  # what follows the archive's end, and then gzip's checksum of it all
            pass
        if links:
            inflated.seek(0)
            yield from _linked(inflated, links)


def _linked(file: IO[bytes] | gzip.GzipFile, links: "Links") -> Iterator[Content]:
    """Give each link with the bytes of what it leads to; of one that leads to nothing here, a worker says so."""
    with _reading(file) as archive:
        for info in _headers(archive):
            if info.isreg():
                links.lead(info.name, _place(info))
        for name, span in links:
            there = _Info(name)
            there.offset_data, there.size, _ = span
            yield Member(name, span.size, span), partial(_opened, archive, there)


def _place(info: _Info) -> TarSpan:
    return TarSpan(info.offset_data, info.size, info.check)


def _reading(file: IO[bytes] | gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="r:", tarinfo=_Info, encoding="utf-8", errors="surrogateescape")


def _headers(archive: tarfile.TarFile) -> Iterator[_Info]:
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # or it would hold them all
        assert isinstance(info, _Info)  # for the type checker
        yield info


def _is_gzip(file: IO[bytes]) -> bool:
    """Tell by its first bytes: a `.tar.gz` that was inflated on its way here often keeps its name."""
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"
