"""Expand the user's SOURCEs into a stream of image references.

A SOURCE is a file, a folder, an archive, a glob, `-` (a list on standard input), `@FILE` (a list in a file), or
`scheme:…` for a registered source. Expansion is lazy: at most one window of a folder's names is in memory.

Inside folders and archives, only files with known extensions are images. A file that is named, matched by a glob or
listed is submitted whatever its name. An image that several SOURCEs name is submitted once, for the first of them; the
entries of lists are not compared. Archives inside folders are not read.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, takewhile
from typing import NamedTuple

from pigeonhole.errors import SourceError
from pigeonhole.sources import registry
from pigeonhole.sources.folders import EXTENSIONS, in_folder, is_found, sampled_sizes, size_or_zero
from pigeonhole.sources.globs import has_magic, matching, prefixes, split
from pigeonhole.sources.lists import entries
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.members.archives import archive_kind, check_kind
from pigeonhole.sources.reference import Reference, Root, relative, with_slash
from pigeonhole.sources.skipped import Skipped
from pigeonhole.sources.source import Source

_EMPTY = f"holds no image; the known extensions are {' '.join(sorted(EXTENSIONS))}"


def expand(
    sources: Sequence[str | Reference],
    root: Root,
    null_separated: bool = False,
    sort_into: str | None = None,
    warn: Callable[[str], None] = lambda message: None,
    skipped: Skipped | None = None,
) -> Iterator[Reference]:
    """Return an iterator over the references of all SOURCEs, in their order.

    Args:
        sources: the SOURCEs as on the command line; references are passed on.
        root: the image root, to which references are relative.
        null_separated: the entries of lists are separated by NUL bytes instead of newlines.
        sort_into: a folder to leave out, since an earlier run has sorted images into it.
        warn: called with a message when the first image in `sort_into` is left out.
        skipped: counts the files in folders and archives that have no image extension.

    Raises:
        SourceError: a SOURCE does not exist, has no image, or lies outside the root. The call itself raises this.
    """
    taken, streams = _Taken(root), list[Iterator[Reference]]()
    skipped = Skipped() if skipped is None else skipped
    for rank, source in enumerate(dict.fromkeys(sources)):
        if isinstance(source, Reference):
            streams.append(iter((source,)))
        elif _is_list(source):
            streams.append(_nonempty(_list(source, root, null_separated, skipped), f"the list {source!r} is empty"))
        elif kind := registry.named(source):
            streams.append(_nonempty(_listing(kind, root, source, skipped), f"{source!r} holds no image"))
        else:
            local = _local(source, root)
            taken_before = partial(taken.before, rank) if rank else _nothing
            if local.kind == "glob" or not taken_before(local.rooted, local.kind == "folder"):
                streams.append(_listed(local, root, taken_before, skipped))
            taken.add(local, rank)
    references = chain.from_iterable(streams)
    return references if sort_into is None else _outside(sort_into, references, warn)


def _outside(folder: str, references: Iterator[Reference], warn: Callable[[str], None]) -> Iterator[Reference]:
    """Yield the references that do not lie in a folder, with links resolved; warn once if one does."""
    top, warned = with_slash(os.path.realpath(folder)), False

    @lru_cache(4096)
    def is_inside(parent: str) -> bool:
        return with_slash(os.path.realpath(parent)).startswith(top)

    for reference in references:
        if not is_inside(os.path.dirname(reference.file)):
            yield reference
        elif not warned:
            warned = True
            warn(f"{reference.file!r} and all other files in {folder!r} are left out, since images are sorted into it")


class _Local(NamedTuple):
    """A SOURCE that is a local path.

    Args:
        name: the SOURCE as the user named it.
        kind: `file`, `folder` or `glob`.
        rooted: its path below the root; for a glob, the path of `folder` below the root.
        folder: for a glob, the folder before its pattern.
        pattern: for a glob, the parts of its pattern.
    """

    name: str
    kind: str
    rooted: str
    folder: str = ""
    pattern: tuple[str, ...] = ()

    def takes(self, file: str) -> bool:
        """Return whether a glob selects a file that matches: `*/` selects folders only, and `**/` images in folders."""
        if not self.name.endswith("/"):
            return True
        return self.name.rstrip("/").rpartition("/")[2] == "**" and is_found(file.rpartition("/")[2])

    def prefixes(self, path: str, root: Root) -> Iterator[int]:
        """Yield the length, in names, of each leading part of a path below the root that matches the glob."""
        inside = relative(path, self.rooted)
        if inside:
            top = with_slash(os.path.join(root.path, self.rooted))
            above = path.count("/") - inside.count("/")
            yield from (above + count for count in prefixes(top, inside, self.pattern))

    def walks_over(self, path: str, root: Root, is_folder: bool = False) -> bool:
        """Return whether the walk of a folder that matches the glob finds this file or folder."""
        names = path.split("/")
        return any(
            count < len(names) and is_found("/".join(names[count:]), is_folder) for count in self.prefixes(path, root)
        )


class _Taken:
    """The local SOURCEs so far, with their ranks in the order of naming, to find images that are named twice.

    Args:
        root: the image root, to which all paths are relative.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._files = dict[str, int]()
        self._folders = dict[str, int]()
        self._globs = list[tuple[int, _Local]]()

    def add(self, source: _Local, rank: int) -> None:
        """Add a SOURCE."""
        if source.kind == "glob":
            self._globs.append((rank, source))
        else:
            (self._folders if source.kind == "folder" else self._files).setdefault(source.rooted, rank)

    def before(self, rank: int, path: str, is_folder: bool = False) -> bool:
        """Return whether a SOURCE of a lower rank includes a file, or a whole folder."""
        if (self._folders if is_folder else self._files).get(path, rank) < rank:
            return True
        return self._walked_over(rank, path, is_folder) or any(
            glob.walks_over(path, self._root, is_folder)
            or (path.count("/") + 1 in glob.prefixes(path, self._root) and (is_folder or glob.takes(path)))
            for _, glob in takewhile(lambda ranked: ranked[0] < rank, self._globs)
        )

    def _walked_over(self, rank: int, path: str, is_folder: bool) -> bool:
        """Return whether the walk of a folder of a lower rank finds a path."""
        at = len(path) if self._folders else 0
        while at > 0:
            at = path.rfind("/", 0, at)
            above, inside = path[: max(at, 0)], path[at + 1 :]
            if self._folders.get(above, rank) < rank and is_found(inside, is_folder):
                return True
        return False


def _nothing(path: str, is_folder: bool = False) -> bool:
    """Return False: there is no earlier SOURCE that includes a path."""
    return False


def _is_list(source: str) -> bool:
    return source == "-" or (source.startswith("@") and not os.path.exists(source))


def _local(source: str, root: Root) -> _Local:
    try:
        mode = os.stat(source).st_mode
    except OSError as exc:
        folder, pattern = split(source)
        if exc.errno == errno.ENOENT and any(map(has_magic, pattern)):
            return _Local(source, "glob", _inside(folder or ".", root), folder, pattern)
        raise SourceError(f"{source!r}: {exc.strerror}") from exc
    check_kind(source)
    return _Local(source, "folder" if stat.S_ISDIR(mode) else "file", _inside(source, root))


def _inside(source: str, root: Root) -> str:
    rooted = root.below(source)
    if rooted is None:
        if not os.path.isdir(root.path):
            raise SourceError(f"PIGEONHOLE_IMAGE_ROOT is {root.path!r}, and no such folder is there")
        raise SourceError(
            f"{source!r} lies outside the image root {root.path!r}: set PIGEONHOLE_IMAGE_ROOT to a folder that "
            "contains it, here and for the workers (as it is mounted there)"
        )
    return rooted


def _nonempty(references: Iterator[Reference], empty: str) -> Iterator[Reference]:
    """Return the references after drawing the first one; raise SourceError with the text `empty` if there is none."""
    first = next(references, None)
    if first is None:
        raise SourceError(empty)
    return chain((first,), references)


def _listed(source: _Local, root: Root, taken: Callable[..., bool], skipped: Skipped) -> Iterator[Reference]:
    """Return an iterator over the references of a local SOURCE that no earlier SOURCE includes."""
    if source.kind == "glob":
        found = _glob(source, root, taken, skipped)
        first = next(found, None)
        return found if first is None else chain((first,), found)
    if source.kind == "file":
        return _nonempty(_file(source.name, root, skipped), f"{source.name!r} {_EMPTY}")
    found = _nonempty(in_folder(source.name, source.rooted, skipped), f"{source.name!r} {_EMPTY}")
    if taken is _nothing:  # the common case: no check of each image
        return found
    return (reference for reference in found if not taken(reference.root + reference.path))


def _glob(source: _Local, root: Root, taken: Callable[..., bool], skipped: Skipped) -> Iterator[Reference]:
    """Yield the references of a glob that no earlier SOURCE includes; raise SourceError if it matches no image."""
    found = False
    for path in matching(source.folder, source.pattern):
        rooted, is_folder = root.below_or_absolute(path), os.path.isdir(path)
        if not (is_folder or source.takes(rooted)) or source.walks_over(rooted, root, is_folder):
            continue
        if taken(rooted, is_folder):
            found = True
            continue
        for reference in in_folder(path, rooted, skipped) if is_folder else _file(path, root, skipped):
            found = True
            if not is_folder or not taken(reference.root + reference.path):
                yield reference
    if not found:
        raise SourceError(f"{source.name!r} matches no image")


def _listing(kind: type[Source], root: Root, argument: str, skipped: Skipped) -> Iterator[Reference]:
    source = kind(root)
    source.skipped = skipped
    return source.list(argument)


def _file(path: str, root: Root, skipped: Skipped) -> Iterator[Reference]:
    if kind := archive_kind(path):
        return _listing(kind, root, path, skipped)
    size = size_or_zero(path)
    return (reference._replace(size=size) for reference in LocalFiles(root).list(path))


def _list(name: str, root: Root, null_separated: bool, skipped: Skipped) -> Iterator[Reference]:
    size_of, files = sampled_sizes(), LocalFiles(root)
    for entry in entries(name, null_separated):
        if kind := registry.named(entry) or archive_kind(entry):
            yield from _listing(kind, root, entry, skipped)
        else:
            size = size_of(entry)
            yield from (reference._replace(size=size) for reference in files.list(entry))
