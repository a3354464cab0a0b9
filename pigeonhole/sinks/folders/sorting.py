"""Sort images into folders by their label: `--sort-into DIR`.

When the rows are complete, one pass puts each image into DIR/<label>/, or DIR/_review/<label>/ if it is marked for
review. Images that can't be sorted are listed in DIR/_errors.csv; one reason is that the file has changed since it was
classified. A second pass over the same rows changes nothing. DIR/_sorted.db records where each image was put. So an
image that a user moved or deleted is not sorted again, and an image whose label has changed is moved.
"""

import errno
import hashlib
import os
import sqlite3
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Literal

from pigeonhole.errors import ErrorKind, ImageError, OutputFailed, UsageError
from pigeonhole.filesystem.output_files import NEW, remove
from pigeonhole.ledger.done import Origin
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.csv_rows import csv_field, safe_text
from pigeonhole.sinks.folders.placing import clear, place
from pigeonhole.sinks.folders.sorting_record import Image, Record
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.members.archives import INSIDE, Archive
from pigeonhole.sources.reference import Root
from pigeonhole.sources.registry import by_scheme
from pigeonhole.sources.source import Source, identity_of
from pigeonhole.text import counted

#: Errors of the disk or the process, which would affect all other images, too.
_GENERAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: The longest file name, and the longest label that is not truncated, in bytes.
_LONGEST_NAME, _LONGEST_LABEL = 255, 160
#: The longest file name extension, in characters.
_LONGEST_EXTENSION = 16
#: The folder of images without labels, which a multi-label model may return. No label's folder begins with `_`.
_UNLABELLED = "_unlabelled"
#: The remedy for a file that may have changed since it was classified.
_AGAIN = "run the same command again"


class Sorter:
    """Sorts the images of rows into folders.

    Args:
        folder: DIR; it is created if it is missing.
        method: how images are put there: symbolic link, hard link or copy.
        csv_safe: write `_errors.csv` so that a spreadsheet takes no text for a formula.

    Attributes:
        failed: the number of images with a label that could not be sorted.

    Raises:
        UsageError: DIR is a file, or has an `_errors.csv` that is not ours.
        OutputFailed: DIR can't be written, or another command is sorting into it.
    """

    def __init__(
        self, folder: str, method: Literal["symbolic", "hard", "copy"] = "symbolic", csv_safe: bool = False
    ) -> None:
        self.folder = folder
        self.failed = self._sorted = self._there = self._listed = 0
        self._method = method
        self._csv_safe = csv_safe
        self._top = os.path.realpath(folder)
        self._errors, self._part, path = map(self._at, ("_errors.csv", "_sorted.copying", "_sorted.db"))
        self._sources = dict[str, Source]()
        if os.path.lexists(self._top) and not os.path.isdir(self._top):
            raise UsageError(f"{folder!r} is a file, and --sort-into needs a folder: choose another DIR")
        if os.path.lexists(self._errors) and not os.path.lexists(path):
            raise UsageError(f"{folder!r} has an _errors.csv that --sort-into did not write: choose another DIR")
        with self._writable():
            os.makedirs(self._top, exist_ok=True)
            self._record = Record(path)

    def write(self, rows: Sequence[Row], origins: Iterable[Origin]) -> None:
        """Take rows and the origin of each; raise OutputFailed if they can't be recorded."""
        with self._writable():
            self._record.take((row, origin, _folder(row)) for row, origin in zip(rows, origins, strict=True))

    def finish(self, job: JobStatus | None = None) -> None:
        """Sort the images of the rows, and list those that can't be sorted; see `Sink.finish`."""
        with self._writable():
            for image in self._record.images():
                self._sort(image)
            with open(self._errors + NEW, "wb") as file:
                file.write(b"path,error\n")
                for path, error in self._record.failed():
                    shown = safe_text(path) if self._csv_safe else path
                    file.write(os.fsencode(f"{csv_field(shown)},{csv_field(error)}\n"))
                    self._listed += 1
            os.replace(self._errors + NEW, self._errors)
            if not self._listed:
                os.unlink(self._errors)

    def report(self) -> str:
        """Return a message with the numbers of images that were sorted and listed."""
        there = f" ({self._there:,} already there)" if self._there else ""
        listed = f"; {self._listed:,} listed in {os.path.join(self.folder, '_errors.csv')!r}" if self._listed else ""
        return f"{counted(self._sorted, 'image')} sorted into {self.folder!r}{there}{listed}"

    def close(self) -> None:
        """Unlock DIR for other commands."""
        remove(self._part)
        for source in self._sources.values():
            source.close()
        self._record.close()

    def _at(self, target: str) -> str:
        return os.path.join(self._top, target)

    def _sort(self, image: Image) -> None:
        """Put an image into its folder, or record why that fails."""
        old = self._at(image.target) if image.target else ""
        if image.done and not os.path.lexists(old):
            self._there += 1  # a user has moved or deleted it
            return
        inside = self._is_inside(image.file)
        why = image.error or self._why_not(image, inside)
        in_its_folder = image.done and os.path.dirname(image.target) == image.folder
        if in_its_folder and (not why or inside or not _is_link_to(old, image)):
            self._there += 1  # a copy is kept even if its original has changed: it has the bytes that were classified
            return
        try:
            data = None if why else self._data(image)
            if old and not inside and (_is_link_to(old, image) if data is None else _has_bytes(old, data)):
                self._take_out(image, old, linked=not why)
            if not why:
                self._put(image, data)
                self._sorted += 1
                return
        except ImageError as exc:
            why = f"not-sorted: {exc.message}"
        except OSError as exc:
            if exc.errno in _GENERAL:
                raise
            why = f"not-sorted: {exc.strerror or exc}" + (": use --copy" if exc.errno == errno.EXDEV else "")
        self.failed += not image.error
        self._record.fail(image, why)

    def _is_inside(self, file: str) -> bool:
        """Return whether a file, or the target of a link, lies in DIR."""
        top = self._at("")
        return file.startswith(top) or os.path.realpath(file).startswith(top)

    def _why_not(self, image: Image, inside: bool) -> str:
        """Return the reason why an image with a label can't be sorted; empty: it can be."""
        if inside:
            return "not-sorted: it lies in the folder of --sort-into"
        kind, status = by_scheme(image.location.scheme), _status(image.file)
        if kind is None or not issubclass(kind, LocalFiles | Archive) or status is None:
            return "not-here: it is not on this machine"
        changed = self._changed(image, status)
        return changed and f"not-sorted: {changed}"

    def _changed(self, image: Image, status: os.stat_result) -> str:
        """Return the reason why a file may have changed since it was classified; empty: it has not."""
        if not image.identity:
            return f"it was changed just before it was classified, and may have changed since: {_AGAIN}"
        if identity_of(status) == image.identity or self._record.was_linked(image.identity, status):
            return ""
        return f"it was changed since it was classified: {_AGAIN}"

    def _check(self, image: Image, status: os.stat_result) -> None:
        """Raise ImageError if a file may have changed since it was classified."""
        changed = self._changed(image, status)
        if changed:
            raise ImageError(ErrorKind.CHANGED, changed)

    def _data(self, image: Image) -> bytes | None:
        """Return the bytes to copy, which are those that were classified; None: the image is to be linked.

        Raises:
            ImageError: the file has changed.
            OSError: the file can't be read.
        """
        if self._method != "copy" and not image.member:
            return None
        opened = self._source(image.location.scheme).open(image.location)
        status = os.stat(image.file)  # after reading; `open` checked before
        self._check(image, status)
        if opened.identity != identity_of(status):
            raise ImageError(ErrorKind.CHANGED, f"it was changed while it was copied: {_AGAIN}")
        return opened.data

    def _source(self, scheme: str) -> Source:
        if scheme not in self._sources:
            kind = by_scheme(scheme)
            assert kind is not None  # `_why_not` has checked; for the type checker
            source = self._sources[scheme] = kind(Root("/"), sys.maxsize)
            source.clock = lambda: sys.maxsize  # recent times are fine: identities are compared at once
        return self._sources[scheme]

    def _take_out(self, image: Image, old: str, linked: bool) -> None:
        """Remove an image from its old path in DIR.

        Args:
            image: the image.
            old: its old path.
            linked: record its file first if `old` is a hard link: removing that changes the file's change time.
        """
        self._record.put(image, image.target, done=False)
        if linked and _is_link_to(old, image):
            self._note_link(image)
        os.unlink(old)

    def _put(self, image: Image, data: bytes | None) -> None:
        """Put an image at the first path that is free, or that has it already."""
        targets = _targets(image)
        os.makedirs(os.path.dirname(self._at(targets[0])), exist_ok=True)
        for target in targets:
            if not self._record.put(image, target, done=False):
                continue  # another image has this path
            at = self._at(target)
            if target == image.target and data is not None:
                clear(at)
            with suppress(FileExistsError):
                if data is None:
                    self._link(image, at)
                else:
                    self._copy(image, data, at)
            if _is_link_to(at, image) if data is None else _has_bytes(at, data):
                self._record.put(image, target, done=True)
                return
        raise FileExistsError(errno.EEXIST, f"other files have the names {targets!r}")

    def _link(self, image: Image, at: str) -> None:
        """Link to an image; raise ImageError if the file was replaced meanwhile."""
        if self._method == "hard":
            self._note_link(image)
            os.link(os.path.realpath(image.file), at)
        else:
            os.symlink(image.file, at)
        try:
            self._check(image, os.stat(at))
        except BaseException:
            os.unlink(at)
            raise

    def _note_link(self, image: Image) -> None:
        """Record an image's file before a hard link to it is created or removed; raise ImageError if it changed."""
        status = os.stat(image.file)
        self._check(image, status)
        self._record.linking(image.identity, status)

    def _copy(self, image: Image, data: bytes, at: str) -> None:
        """Write the bytes of an image to a new file, with time and mode of its file unless it is in an archive."""
        remove(self._part)  # not overwritten: after a kill, it may be a second link to the finished copy
        with open(self._part, "xb") as file:
            file.write(data)
        if not image.member:
            status = os.stat(image.file)
            os.utime(self._part, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.chmod(self._part, stat.S_IMODE(status.st_mode))
        place(self._part, at)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            busy = getattr(exc, "sqlite_errorname", "").startswith("SQLITE_BUSY")
            why = "another command is sorting into it: wait for its end" if busy else f"its _sorted.db: {exc}"
            raise OutputFailed(f"can't sort into {self.folder!r}: {why}, or choose another DIR") from exc
        except OSError as exc:
            raise OutputFailed(
                f"can't sort into {self.folder!r}: {exc.strerror}. When that is solved, run the same command again"
            ) from exc


@lru_cache(4096)
def folder_of(label: str) -> str:
    """Return the folder name of a label, which is unique; unsafe characters are escaped as in URLs."""
    escaped = "".join(
        c
        if c.isprintable() and c not in "/%" and (at or c not in "._")
        else "".join(f"%{b:02X}" for b in os.fsencode(c))
        for at, c in enumerate(label)
    )
    if len(escaped.encode()) <= _LONGEST_LABEL:
        return escaped or "%"
    kept = escaped.encode()[:_LONGEST_LABEL].decode(errors="ignore")
    return f"{kept}%{hashlib.sha256(os.fsencode(label)).hexdigest()[:16]}"


def _folder(row: Row) -> str:
    """Return the folder below DIR for the image of a row, by its most probable label; empty for an error."""
    if row.error:
        return ""
    label = row.labels[0] if row.labels else row.label
    return os.path.join("_review" if row.review else "", folder_of(label) if label else _UNLABELLED)


def _targets(image: Image) -> list[str]:
    """Return the possible paths of an image below DIR: with its name, and with its name and a digest of its path."""
    name = os.path.basename(image.member.removeprefix(INSIDE) or image.file).replace("\0", "%00")
    path = image.file + image.member + (f"\0{image.ordinal}" if image.ordinal else "")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return [os.path.join(image.folder, _suffixed(name, end)) for end in ("", f"-{digest}")]


def _suffixed(name: str, suffix: str) -> str:
    """Insert a suffix before the extension; truncate the name if it is too long."""
    stem, extension = os.path.splitext(name)
    if len(extension) > _LONGEST_EXTENSION:
        stem, extension = name, ""
    end = os.fsencode(suffix + extension)
    return os.fsdecode(os.fsencode(stem)[: _LONGEST_NAME - len(end)] + end)


def _status(file: str) -> os.stat_result | None:
    """Return the status of a regular file, or of a link's target; None if there is none."""
    with suppress(OSError, ValueError):
        status = os.stat(file)
        return status if stat.S_ISREG(status.st_mode) else None
    return None


def _is_link_to(at: str, image: Image) -> bool:
    """Return whether a path is a symbolic or hard link to the file of an image."""
    with suppress(OSError):
        return os.path.samefile(at, image.file)
    return False


def _has_bytes(at: str, data: bytes) -> bool:
    """Return whether a path is a file with these bytes."""
    with suppress(OSError):
        if os.stat(at).st_size == len(data):
            with open(at, "rb") as file:
                return file.read() == data
    return False
