"""Sort images into folders by their label: `--sort-into DIR`.

When the rows are complete, one pass puts each image into DIR/<label>/, or DIR/_review/<label>/ if it is marked for
review, and lists in DIR/_errors.csv what it can't sort. Only an image whose file is the one that was classified is put
there. A second pass over the same rows changes nothing. DIR/_sorted.db records each image's place: an image that a user
moved or deleted is not sorted again, and one whose label changed leaves its folder.
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
from pigeonhole.ledger.done import Origin
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
from pigeonhole.output_files import NEW, remove
from pigeonhole.sinks.csv_rows import csv_field, safe_text
from pigeonhole.sinks.placing import clear, place
from pigeonhole.sinks.sorting_record import Image, Record
from pigeonhole.sources.archives import INSIDE, Archive
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.reference import Root
from pigeonhole.sources.registry import by_scheme
from pigeonhole.sources.source import Source, identity_of
from pigeonhole.text import counted

#: Errors of the disk or the process, which the next image would meet too.
_GENERAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: Bytes of the longest file name, and of the longest label that is not cut.
_LONGEST_NAME, _LONGEST_LABEL = 255, 160
#: Characters of the longest file name extension.
_LONGEST_EXTENSION = 16
#: The folder of images without a label that are no errors, which a multi-label model leaves; no label's begins so.
_UNLABELLED = "_unlabelled"
#: What to do about a file that may not be the one that was classified.
_AGAIN = "run the same command again"


class Sorter:
    """Sorts the images of rows into folders.

    Args:
        folder: DIR; it is created if it is missing.
        means: whether images are linked or copied.
        csv_safe: write no text into `_errors.csv` that a spreadsheet takes for a formula.

    Attributes:
        failed: the number of images with a label that could not be sorted.

    Raises:
        UsageError: DIR is a file, or holds somebody else's `_errors.csv`.
        OutputFailed: DIR can't be written to, or another command sorts into it.
    """

    def __init__(
        self, folder: str, means: Literal["symbolic", "hard", "copy"] = "symbolic", csv_safe: bool = False
    ) -> None:
        self.folder = folder
        self.failed = self._sorted = self._there = self._listed = 0
        self._means = means
        self._csv_safe = csv_safe
        self._top = os.path.realpath(folder)
        self._errors, self._part, path = map(self._at, ("_errors.csv", "_sorted.copying", "_sorted.db"))
        self._sources = dict[str, Source]()
        if os.path.lexists(self._top) and not os.path.isdir(self._top):
            raise UsageError(f"{folder!r} is a file, and --sort-into takes a folder: choose another DIR")
        if os.path.lexists(self._errors) and not os.path.lexists(path):
            raise UsageError(f"{folder!r} has an _errors.csv that --sort-into did not make: choose another DIR")
        with self._writable():
            os.makedirs(self._top, exist_ok=True)
            self._record = Record(path)

    def write(self, rows: Sequence[Row], origins: Iterable[Origin]) -> None:
        """Take rows, and what each was computed from; raise OutputFailed if they can't be recorded."""
        with self._writable():
            self._record.take((row, origin, _folder(row)) for row, origin in zip(rows, origins, strict=True))

    def finish(self, job: JobStatus | None = None) -> None:
        """Sort the images of the rows, and list what can't be sorted; see `Sink.finish`."""
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
        """Return what was done, in words."""
        there = f" ({self._there:,} were there)" if self._there else ""
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
            self._there += 1  # a user moved it
            return
        inside = self._is_inside(image.file)
        why = image.error or self._why_not(image, inside)
        in_its_folder = image.done and os.path.dirname(image.target) == image.folder
        if in_its_folder and (not why or inside or not _leads(old, image)):
            self._there += 1  # a copy stays there, whatever becomes of its original: it has the bytes that were read
            return
        try:
            data = None if why else self._data(image)
            if old and not inside and (_leads(old, image) if data is None else _holds(old, data)):
                self._leave(image, old, linked=not why)
            if not why:
                self._put(image, data)
                self._sorted += 1
                return
        except ImageError as exc:
            why = f"not-sorted: {exc.message}"
        except OSError as exc:
            if exc.errno in _GENERAL:
                raise
            why = f"not-sorted: {exc.strerror or exc}" + (": --copy can" if exc.errno == errno.EXDEV else "")
        self.failed += not image.error
        self._record.fail(image, why)

    def _is_inside(self, file: str) -> bool:
        """Return whether a file, or what it leads to, lies in DIR."""
        top = self._at("")
        return file.startswith(top) or os.path.realpath(file).startswith(top)

    def _why_not(self, image: Image, inside: bool) -> str:
        """Return why an image with a label can't be sorted; empty if nothing prevents it."""
        if inside:
            return "not-sorted: it lies in the folder that is sorted into"
        kind, status = by_scheme(image.location.scheme), _status(image.file)
        if kind is None or not issubclass(kind, LocalFiles | Archive) or status is None:
            return "not-here: it can't be seen from here"
        changed = self._changed(image, status)
        return changed and f"not-sorted: {changed}"

    def _changed(self, image: Image, status: os.stat_result) -> str:
        """Return why a file may not be the one that was classified; empty if it is."""
        if not image.identity:
            return f"its file was changed just before it was read, and perhaps just after: {_AGAIN}"
        if identity_of(status) == image.identity or self._record.was_linked(image.identity, status):
            return ""
        return f"it was changed since it was classified: {_AGAIN}"

    def _check(self, image: Image, status: os.stat_result) -> None:
        """Raise ImageError if a file may not be the one that was classified."""
        changed = self._changed(image, status)
        if changed:
            raise ImageError(ErrorKind.CHANGED, changed)

    def _data(self, image: Image) -> bytes | None:
        """Return the bytes to copy, the very ones that were classified; None if a link leads to them.

        Raises:
            ImageError: they are not there any more.
            OSError: the file can't be read.
        """
        if self._means != "copy" and not image.member:
            return None
        opened = self._source(image.location.scheme).open(image.location)
        status = os.stat(image.file)  # after it was read; `open` asks before
        self._check(image, status)
        if opened.identity != identity_of(status):
            raise ImageError(ErrorKind.CHANGED, f"it was changed while it was copied: {_AGAIN}")
        return opened.data

    def _source(self, scheme: str) -> Source:
        if scheme not in self._sources:
            kind = by_scheme(scheme)
            assert kind is not None  # `_why_not` has asked; for the type checker
            source = self._sources[scheme] = kind(Root("/"), sys.maxsize)
            source.clock = lambda: sys.maxsize  # its identities are compared now, and not later
        return self._sources[scheme]

    def _leave(self, image: Image, old: str, linked: bool) -> None:
        """Remove an image from the place that it had.

        Args:
            image: of the record.
            old: its place.
            linked: its file is still the one that was classified, which removing a hard link makes hard to tell.
        """
        self._record.put(image, image.target, done=False)
        if linked and _leads(old, image):
            self._note_link(image)
        os.unlink(old)

    def _put(self, image: Image, data: bytes | None) -> None:
        """Put an image into the first place that is free, or that holds it already."""
        targets = _targets(image)
        os.makedirs(os.path.dirname(self._at(targets[0])), exist_ok=True)
        for target in targets:
            if not self._record.put(image, target, done=False):
                continue  # another image's
            at = self._at(target)
            if target == image.target and data is not None:
                clear(at)
            with suppress(FileExistsError):
                if data is None:
                    self._link(image, at)
                else:
                    self._copy(image, data, at)
            if _leads(at, image) if data is None else _holds(at, data):
                self._record.put(image, target, done=True)
                return
        raise FileExistsError(errno.EEXIST, f"other files have its names, {targets!r}")

    def _link(self, image: Image, at: str) -> None:
        """Link to an image; ImageError if something else has taken its place meanwhile."""
        if self._means == "hard":
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
        """Record an image's file before a hard link to it is made or removed; ImageError if it has changed."""
        status = os.stat(image.file)
        self._check(image, status)
        self._record.linking(image.identity, status)

    def _copy(self, image: Image, data: bytes, at: str) -> None:
        """Write the bytes of an image to a file that is not there yet; a file of its own keeps its time and mode."""
        remove(self._part)  # never written over: after a kill, it may be the very file that was put into its place
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
            why = "another command sorts into it now: wait for its end" if busy else f"its _sorted.db: {exc}"
            raise OutputFailed(f"{self.folder!r} can't be sorted into: {why}, or choose another DIR") from exc
        except OSError as exc:
            raise OutputFailed(
                f"{self.folder!r} can't be sorted into: {exc.strerror}; run the same command again once it can"
            ) from exc


@lru_cache(4096)
def folder_of(label: str) -> str:
    """Return a folder name for a label, a different one for each; other characters are escaped as in URLs."""
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
    """Return the folder below DIR that the image of a row belongs into; empty if it is an error.

    An image with several labels belongs into the folder of the most probable one.
    """
    if row.error:
        return ""
    label = row.labels[0] if row.labels else row.label
    return os.path.join("_review" if row.review else "", folder_of(label) if label else _UNLABELLED)


def _targets(image: Image) -> list[str]:
    """Return the places below DIR that an image may have: by its name, and by its name and a digest of its path."""
    name = os.path.basename(image.member.removeprefix(INSIDE) or image.file).replace("\0", "%00")
    path = image.file + image.member + (f"\0{image.ordinal}" if image.ordinal else "")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return [os.path.join(image.folder, _suffixed(name, end)) for end in ("", f"-{digest}")]


def _suffixed(name: str, suffix: str) -> str:
    """Insert a suffix before the extension; cut the name if it is too long."""
    stem, extension = os.path.splitext(name)
    if len(extension) > _LONGEST_EXTENSION:
        stem, extension = name, ""
    end = os.fsencode(suffix + extension)
    return os.fsdecode(os.fsencode(stem)[: _LONGEST_NAME - len(end)] + end)


def _status(file: str) -> os.stat_result | None:
    """Return the status of a regular file, or what a link leads to; None if there is none."""
    with suppress(OSError, ValueError):
        status = os.stat(file)
        return status if stat.S_ISREG(status.st_mode) else None
    return None


def _leads(at: str, image: Image) -> bool:
    """Return whether a place holds a link, symbolic or hard, to the file of an image."""
    with suppress(OSError):
        return os.path.samefile(at, image.file)
    return False


def _holds(at: str, data: bytes) -> bool:
    """Return whether a place holds a file with these bytes."""
    with suppress(OSError):
        if os.stat(at).st_size == len(data):
            with open(at, "rb") as file:
                return file.read() == data
    return False
