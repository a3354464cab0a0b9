"""What the user named → a stream of image references.

A SOURCE is a file, a folder, an archive, a glob, `-` (a list on standard input) or `@FILE` (a list in a file). All of
it is streamed: nothing here holds more than one window of a folder's names, however many images there are.

Extensions decide inside folders and archives only; what is named, matched or listed is tried whatever it is called. A
SOURCE inside another is taken once. A list is taken as it is. No folder's walk looks into archives.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any, NamedTuple

from pigeonhole.errors import SourceError
from pigeonhole.sources.archives import INSIDE, check_kind, is_archive, members
from pigeonhole.sources.lists import entries
from pigeonhole.sources.patterns import flattened, has_magic, is_folder, matching, prefixes, split, unreadable, windows
from pigeonhole.sources.spans import Span, spans

#: By these, in any case, a file in a folder is known as an image. Pillow reads more; name or list such files.
EXTENSIONS = frozenset(
    "png jpg jpeg jpe jfif gif bmp dib tif tiff webp avif jp2 j2k jpx ico icns tga pbm pgm ppm pnm pcx dds qoi".split()  # noqa: SIM905  # a list of 25 quoted words is harder to read
)
#: A look at a file's size costs more than all else that is done for it here: one file in so many is looked at.
_SAMPLED = 16


class Reference(NamedTuple):
    """One image: shown to the user as `shown + path`, read at `rooted + path` below the image root.

    `size` is the file's in bytes, or an estimate: batches are cut by it. `link` tells that it is one, as far as that
    costs nothing: a list's may be one all the same.

    A member of an archive has its place there as its `span`: it is read at `rooted`, and `path` is `::` and its name.
    """

    shown: str
    rooted: str
    path: str
    size: int
    link: bool = False
    span: Span | None = None

    @classmethod
    def from_json(cls, fields: list[Any]) -> "Reference":
        """Make one of what `json.dumps` made of one."""
        made = cls(*fields)
        return made if made.span is None else made._replace(span=spans([made.span])[0])


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

        Raises:
            SourceError: the working folder is gone.
        """
        try:
            absolute = os.path.join(os.getcwd(), path)
        except FileNotFoundError as exc:
            raise SourceError("the folder that this runs in is gone: change to another") from exc
        if ".." not in absolute.split("/"):
            inside = _relative(_normal(absolute), _normal(self.path))
            if inside is not None:
                return inside
        folder, name = os.path.split(absolute)
        real = os.path.realpath(absolute)
        named = real if name in ("", ".", "..") else os.path.join(os.path.realpath(folder), name)
        root = os.path.realpath(self.path)
        inside = _relative(named, root)
        return _relative(real, root) if inside is None else inside


class _Named(NamedTuple):
    """A SOURCE and what it turned out to be.

    `rooted` is its path below the root: a glob's is that of the `folder` that its `pattern` begins in, a list has none.
    """

    name: str
    kind: str
    rooted: str = ""
    folder: str = ""
    pattern: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, tuple[str, ...], str]:
        """What makes it the same SOURCE, however it is spelled."""
        return self.rooted, self.pattern, self._ending

    @property
    def _ending(self) -> str:
        if self.kind != "glob" or not self.name.endswith("/"):
            return ""
        return "**/" if self.name.rstrip("/").rpartition("/")[2] == "**" else "*/"

    def takes(self, file: str) -> bool:
        """Tell whether a glob gives a file that it matches: `*/` is about folders, and `**/` about what is in them."""
        return not self._ending or (self._ending == "**/" and _is_image(file.rpartition("/")[2]))


@dataclass(frozen=True)
class _Taken:
    """What other SOURCES give out, so that one inside another is taken once: folders take from files and globs,
    named files from globs, and a glob from those after it.

    Holds the SOURCES as they were named, never the images in them. All paths are below the root.
    """

    root: Root
    folders: frozenset[str]
    files: frozenset[str]

    def by_folder(self, path: str, is_folder: bool = False) -> bool:
        """Tell whether walking one of the folders finds this file or folder."""
        for folder in self.folders:
            inside = _relative(path, folder)
            if inside and _is_found(inside, is_folder):
                return True
        return False

    def by_globs(self, path: str, globs: Sequence[_Named]) -> bool:
        """Tell whether one of some globs gives a file: it matches the file, or a folder above it, which it walks."""
        return any(
            self.in_glob(path, glob) or (glob.takes(path) and path.count("/") + 1 in self._prefixes(path, glob))
            for glob in globs
        )

    def elsewhere(self, path: str, globs: Sequence[_Named], is_folder: bool = False) -> bool:
        """Tell whether another SOURCE gives this file, or the whole of this folder; of globs, those before."""
        if is_folder:
            return path in self.folders or self.by_folder(path, is_folder)
        return path in self.files or self.by_folder(path) or self.by_globs(path, globs)

    def in_glob(self, path: str, glob: _Named, is_folder: bool = False) -> bool:
        """Tell whether walking a folder that a glob matches finds this file or folder."""
        names = path.split("/")
        return any(
            count < len(names) and _is_found("/".join(names[count:]), is_folder) for count in self._prefixes(path, glob)
        )

    def _prefixes(self, path: str, glob: _Named) -> Iterator[int]:
        """Give how many of the first names of a path a glob matches."""
        inside = _relative(path, glob.rooted)
        if inside:
            top = _slash(os.path.join(self.root.path, glob.rooted))
            above = path.count("/") - inside.count("/")
            yield from (above + count for count in prefixes(top, inside, glob.pattern))


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
    named = [_named(source, root) for source in dict.fromkeys(sources)]
    taken = _Taken(
        root,
        frozenset(source.rooted for source in named if source.kind == "folder"),
        frozenset(source.rooted for source in named if source.kind == "file"),
    )
    streams = []
    globs: list[_Named] = []
    seen = set()
    for source in named:
        if source.kind == "list":
            streams.append(_begun(source, _list(source.name, root, null_separated)))
        elif source.identity in seen or (
            source.kind != "glob" and taken.by_folder(source.rooted, source.kind == "folder")
        ):
            continue
        elif source.kind == "glob":
            streams.append(_begun(source, _glob(source, root, taken, tuple(globs))))
            globs.append(source)
        elif source.kind == "folder":
            streams.append(_begun(source, _folder(source.name, source.rooted)))
        else:
            streams.append(_begun(source, _file(source.name, source.rooted)))
        seen.add(source.identity)
    return chain.from_iterable(streams)


def _named(source: str, root: Root) -> _Named:
    if source == "-":
        return _Named(source, "list")
    try:
        mode = os.stat(source).st_mode
    except OSError as exc:
        if source.startswith("@"):
            return _Named(source, "list")
        folder, pattern = split(source)
        if exc.errno == errno.ENOENT and any(map(has_magic, pattern)):
            return _Named(source, "glob", _inside(folder or ".", root), folder, pattern)
        raise SourceError(f"{source!r}: {exc.strerror}") from exc
    check_kind(source)
    return _Named(source, "folder" if stat.S_ISDIR(mode) else "file", _inside(source, root))


def _inside(source: str, root: Root) -> str:
    rooted = root.below(source)
    if rooted is None:
        if not os.path.isdir(root.path):
            raise SourceError(f"PIGEONHOLE_IMAGE_ROOT is {root.path!r}, and no such folder is there")
        raise SourceError(
            f"{source!r} lies outside the image root {root.path!r}: set PIGEONHOLE_IMAGE_ROOT to a folder that holds "
            "it, here and (as it is mounted there) for the workers"
        )
    return rooted


def _begun(source: _Named, references: Iterator[Reference]) -> Iterator[Reference]:
    """Draw the first reference already now; SourceError where there is none."""
    first = next(references, None)
    if first is not None:
        return chain((first,), references)
    if source.kind == "list":
        raise SourceError(f"{source.name!r} is a list without entries")
    if source.kind != "glob":
        known = " ".join(sorted(EXTENSIONS))
        raise SourceError(f"{source.name!r} holds no image; known by their extension are {known}")
    return references  # all that the glob matches is given by other SOURCES


def _rooted(path: str, root: Root) -> str:
    """Give a path below the root; one outside gets its error row from the worker, which refuses an absolute path."""
    rooted = root.below(path)
    return os.path.abspath(path) if rooted is None else rooted


def _list(name: str, root: Root, null_separated: bool) -> Iterator[Reference]:
    size_of = _sampled()
    for path in entries(name, null_separated):
        rooted = _rooted(path, root)
        if is_archive(path):
            yield from _archive(path, rooted)
        else:
            yield _single(path, rooted, size_of(path))


def _folder(shown: str, rooted: str) -> Iterator[Reference]:
    """Walk a folder, files first, then the folders below; hidden ones are left out, links are followed."""
    shown, rooted = _slash(shown), _slash(rooted)
    size_of = _sampled()
    try:
        for below, images in flattened(_walk(shown, "", ())):
            for image in images:
                yield Reference(shown, rooted, below + image.name, size_of(image), image.is_symlink())
    except OSError as exc:
        raise SourceError(unreadable(exc)) from exc


def _walk(top: str, below: str, above: tuple[tuple[int, int], ...]) -> Iterator[Any]:
    """Give (folder below top, images in it), a window at a time, and such generators for the folders in it.

    Args:
        top: where the walk began, with a slash at its end.
        below: the folder below it: empty, or with a slash at its end.
        above: device and inode of the folders on the way here; meeting one again, a link goes round in a circle.

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
        yield below, images
        for name in folders:
            yield _walk(top, f"{below}{name}/", (*above, identity))


def _glob(source: _Named, root: Root, taken: _Taken, earlier: Sequence[_Named]) -> Iterator[Reference]:
    """Give what a glob matches and no other SOURCE gives; SourceError where it matches no image at all."""
    found = False
    for path in matching(source.folder, source.pattern):
        rooted, is_folder = _rooted(path, root), os.path.isdir(path)
        if not (is_folder or source.takes(rooted)) or taken.in_glob(rooted, source, is_folder):
            continue
        if taken.elsewhere(rooted, earlier, is_folder):
            found = True
            continue
        for reference in _folder(path, rooted) if is_folder else _file(path, rooted):
            found = True
            if not is_folder or not taken.elsewhere(reference.rooted + reference.path, earlier):
                yield reference
    if not found:
        raise SourceError(f"{source.name!r} matches no image")


def _file(shown: str, rooted: str) -> Iterator[Reference]:
    if is_archive(shown):
        return _archive(shown, rooted)
    return iter((_single(shown, rooted, _size(shown))._replace(link=os.path.islink(shown)),))


def _archive(shown: str, rooted: str) -> Iterator[Reference]:
    """Give an archive's images; hidden ones are left out, as in a folder."""
    link = os.path.islink(shown)
    for name, size, span in members(shown):
        # `tar c .` gives them all a dot; and what a path upward means, nobody asks here.
        if _is_found("/".join([part for part in name.split("/") if part not in ("", ".", "..")]), False):
            yield Reference(shown, rooted, f"{INSIDE}{name}", size, link, span)


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


def _normal(path: str) -> str:
    """Normalize an absolute path; `normpath` leaves two slashes at its beginning."""
    return "/" + os.path.normpath(path).lstrip("/")


def _is_image(name: str) -> bool:
    _, dot, extension = name.rpartition(".")
    return bool(dot) and extension.lower() in EXTENSIONS


def _is_found(path: str, is_folder: bool) -> bool:
    """Tell whether a walk finds what is at this path below its beginning."""
    return not path.startswith(".") and "/." not in path and (is_folder or _is_image(path.rpartition("/")[2]))


def _sampled() -> Callable[[str | os.DirEntry[str]], int]:
    """Make what estimates the sizes of one file after the other: each as that of the last that was looked at."""
    looked_at, size = cycle(range(_SAMPLED)), 0

    def size_of(file: str | os.DirEntry[str]) -> int:
        nonlocal size
        if next(looked_at) == 0:
            size = _size(file)
        return size

    return size_of


def _size(file: str | os.DirEntry[str]) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0  # gone, or a link to nowhere: the worker will say so in its row
