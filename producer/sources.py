"""What the user named → a stream of image references.

A SOURCE is a file, a folder, a glob, `-` (a list on standard input) or `@FILE` (a list in a file). All of it is
streamed: nothing here holds more than one window of a folder's names, however many images there are.

Extensions decide inside folders only; what is named, matched or listed is tried whatever it is called. A SOURCE
inside another is taken once. A list is taken as it is.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, NamedTuple

from producer.patterns import has_magic, matches, matching, windows
from worker.contract.errors import SourceError

#: By these, in any case, a file in a folder is known as an image. Pillow reads more; name or list such files.
EXTENSIONS = frozenset(
    "png jpg jpeg jpe jfif gif bmp dib tif tiff webp avif jp2 j2k jpx ico icns tga pbm pgm ppm pnm pcx dds qoi".split()  # noqa: SIM905  # a list of 25 quoted words is harder to read
)
#: Of listed and matched files, whose sizes cost a look at each, one in so many is looked at.
_SAMPLED = 16
#: Bytes of a list that are read at once.
_BLOCK = 1 << 16


class Reference(NamedTuple):
    """One image: shown to the user as `shown + path`, read at `rooted + path` below the image root.

    `size` is the file's in bytes, or an estimate: batches are cut by it.
    """

    shown: str
    rooted: str
    path: str
    size: int


@dataclass(frozen=True)
class Root:
    """The producer's image root.

    Args:
        path: absolute; below `/` lies everything.
    """

    path: str

    def below(self, path: str) -> str | None:
        """Give a path relative to the root, or None where it lies outside.

        What its spelling shows to be inside stays as it is spelled; only otherwise are links looked at.
        """
        absolute = os.path.join(os.getcwd(), path)
        if ".." not in absolute.split("/"):
            inside = _relative(os.path.normpath(absolute), os.path.normpath(self.path))
            if inside is not None:
                return inside
        folder, name = os.path.split(absolute)
        real = os.path.realpath(absolute) if name in ("", ".", "..") else os.path.join(os.path.realpath(folder), name)
        return _relative(real, os.path.realpath(self.path))


@dataclass(frozen=True)
class _Named:
    """A SOURCE and what it turned out to be; `rooted` is its path below the root, empty for lists."""

    name: str
    kind: str
    rooted: str


@dataclass(frozen=True)
class _Taken:
    """What other SOURCES give out, so that one inside another is taken once: folders take from files and globs,
    named files from globs, and a glob from those after it.

    Holds the SOURCES as they were named, never the images in them. All paths are below the root.
    """

    folders: frozenset[str]
    files: frozenset[str]
    patterns: tuple[str, ...]

    def by_folder(self, path: str, is_folder: bool = False) -> bool:
        """Tell whether walking one of the folders finds this file or folder."""
        for folder in self.folders:
            inside = _relative(path, folder)
            if inside and _is_visible(inside) and (is_folder or _is_image(inside)):
                return True
        return False

    def before_glob(self, path: str, earlier: Sequence[str]) -> bool:
        """Tell whether a file that a glob matches is given out elsewhere."""
        parts = path.split("/")
        return (
            path in self.files or self.by_folder(path) or any(matches(parts, pattern.split("/")) for pattern in earlier)
        )


def expand(sources: Sequence[str], root: Root, null_separated: bool = False) -> Iterator[Reference]:
    """Stream the references that the user's SOURCES name, in their order.

    Args:
        sources: as on the command line.
        root: what references are relative to.
        null_separated: lists separate their entries with NUL bytes rather than newlines.

    Raises:
        SourceError: a SOURCE does not exist, holds no image, or lies outside the root. The call itself raises it,
            before the first reference is given out.
    """
    named = list(dict.fromkeys(_named(source, root) for source in sources))
    taken = _Taken(
        frozenset(source.rooted for source in named if source.kind == "folder"),
        frozenset(source.rooted for source in named if source.kind == "file"),
        tuple(source.rooted for source in named if source.kind == "glob"),
    )
    streams = []
    seen: set[str] = set()
    for source in named:
        if source.kind in ("file", "folder"):
            if source.rooted in seen or taken.by_folder(source.rooted, source.kind == "folder"):
                continue
            seen.add(source.rooted)
        streams.append(_begun(source, _references(source, root, taken, null_separated)))
    return chain.from_iterable(streams)


def _named(source: str, root: Root) -> _Named:
    if source == "-":
        return _Named(source, "list", "")
    try:
        mode = os.stat(source).st_mode
    except OSError as exc:
        if source.startswith("@"):
            return _Named(source, "list", "")
        if exc.errno == errno.ENOENT and has_magic(source):
            return _Named(source, "glob", _inside(source, root))
        raise SourceError(f"{os.fsencode(source)!r}: {exc.strerror}".lstrip("b")) from exc
    return _Named(source, "folder" if stat.S_ISDIR(mode) else "file", _inside(source, root))


def _inside(source: str, root: Root) -> str:
    rooted = root.below(source)
    if rooted is None:
        raise SourceError(
            f"{source!r} lies outside the image root {root.path!r}: set PIGEONHOLE_IMAGE_ROOT to a folder that holds "
            "it, here and (as it is mounted there) for the workers"
        )
    return rooted


def _references(source: _Named, root: Root, taken: _Taken, null_separated: bool) -> Iterator[Reference]:
    if source.kind == "list":
        return _sampled(_list(source.name, root, b"\0" if null_separated else b"\n"))
    if source.kind == "folder":
        return _folder(source.name, source.rooted)
    if source.kind == "file":
        return iter((_single(source.name, source.rooted, os.stat(source.name).st_size),))
    return _sampled(_glob(source, root, taken))


def _begun(source: _Named, references: Iterator[Reference]) -> Iterator[Reference]:
    """Draw the first reference already now; SourceError where there is none."""
    first = next(references, None)
    if first is None:
        nothing = {
            "list": "is a list without entries",
            "folder": "holds no image; known by their extension are " + " ".join(sorted(EXTENSIONS)),
            "glob": "matches nothing that another SOURCE does not give already",
        }
        raise SourceError(f"{source.name!r} {nothing[source.kind]}")
    return chain((first,), references)


def _list(name: str, root: Root, separator: bytes) -> Iterator[Reference]:
    try:
        with open(0 if name == "-" else name[1:], "rb", closefd=name != "-") as file:
            for entry in _entries(file, separator):
                path = os.fsdecode(entry)
                rooted = root.below(path)
                # One outside the root gets its error row from the worker, which refuses an absolute path.
                yield _single(path, os.path.abspath(path) if rooted is None else rooted, 0)
    except OSError as exc:
        raise SourceError(f"the list {name!r} can't be read: {exc.strerror}") from exc


def _entries(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    """Split a stream; `read1` gives what a pipe has, so that a slow list is worked on as it comes."""
    rest = b""
    while block := file.read1(_BLOCK):  # type: ignore[attr-defined]  # both sys.stdin's and open's have it
        *entries, rest = (rest + block).split(separator)
        yield from filter(None, entries)
    if rest:
        yield rest


def _folder(shown: str, rooted: str) -> Iterator[Reference]:
    """Walk a folder, files first, then the folders below; hidden ones are left out, links are followed."""
    shown, rooted = _slash(shown), _slash(rooted)
    for path, size in _walk(shown, "", ()):
        yield Reference(shown, rooted, path, size)


def _walk(top: str, below: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, int]]:
    """Give (path below top, size) of the images in a folder.

    Args:
        top: where the walk began, with a slash at its end.
        below: the folder below it: empty, or with a slash at its end.
        above: device and inode of the folders on the way here; meeting one again, a link goes round in a circle.
    """
    try:
        status = os.stat(top + below)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        folders: list[str] = []
        for entries in windows(top + below):
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif _is_image(entry.name):
                    yield below + entry.name, _size(entry)
    except OSError as exc:
        raise SourceError(f"the folder {top + below!r} can't be read: {exc.strerror}") from exc
    for name in folders:
        yield from _walk(top, f"{below}{name}/", (*above, identity))


def _glob(source: _Named, root: Root, taken: _Taken) -> Iterator[Reference]:
    earlier = taken.patterns[: taken.patterns.index(source.rooted)]
    pattern = os.path.normpath(source.name).split("/")
    for path in matching("/" if source.name.startswith("/") else "", [part for part in pattern if part]):
        rooted = root.below(path)
        if rooted is None or taken.before_glob(rooted, earlier):
            continue
        if not os.path.isdir(path):
            yield _single(path, rooted, 0)
        elif "**" not in pattern and rooted not in taken.folders and not taken.by_folder(rooted, is_folder=True):
            yield from _folder(path, rooted)  # `**` gives what is in the folders it meets by itself


def _sampled(references: Iterator[Reference]) -> Iterator[Reference]:
    """Give references whose size is not known that of the last one that was looked at: one in `_SAMPLED`."""
    size = 0
    for at, reference in enumerate(references):
        if reference.size:
            yield reference
            continue
        if at % _SAMPLED == 0:
            try:
                size = os.stat(reference.shown + reference.path).st_size
            except (OSError, ValueError):
                size = 0  # the worker will say in its row what is wrong with it
        yield reference._replace(size=size)


def _single(shown: str, rooted: str, size: int) -> Reference:
    """Split what is shown and what is read where they begin to be the same, so that a list shares its beginnings."""
    common = len(os.path.commonprefix((shown[::-1], rooted[::-1])))  # noqa: RUF071  # characters are what is meant
    at = len(shown) - common
    return Reference(shown[:at], rooted[: len(rooted) - common], shown[at:], size)


def _relative(path: str, folder: str) -> str | None:
    """Give a path relative to a folder (empty: itself), or None where it is not inside."""
    if path == folder:
        return ""
    prefix = _slash(folder)
    return path[len(prefix) :] if path.startswith(prefix) else None


def _slash(folder: str) -> str:
    return folder if folder in ("", "/") or folder.endswith("/") else folder + "/"


def _is_image(path: str) -> bool:
    return path.rpartition(".")[2].lower() in EXTENSIONS


def _is_visible(path: str) -> bool:
    return not path.startswith(".") and "/." not in path


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return 0  # gone, or a link to nowhere: the worker will say so in its row
