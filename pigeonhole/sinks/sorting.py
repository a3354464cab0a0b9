"""A sink that sorts images into folders by their label: `--sort-into DIR`.

When the rows are complete, one pass puts each image into DIR/<label>/, or DIR/_review/<label>/ if it is marked for
review, and lists in DIR/_errors.csv what it can't sort. A second pass over the same rows changes nothing.
DIR/_sorted.db records each image's place: an image that a user moved or deleted is not sorted again, and one whose
label changed leaves its folder.
"""

import errno
import filecmp
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Literal

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
from pigeonhole.output_files import NEW, remove
from pigeonhole.sinks.csv_rows import csv_field
from pigeonhole.sinks.unpacking import Unpacker, archive_of
from pigeonhole.sources.archives import INSIDE
from pigeonhole.text import counted

#: Errors of the disk or the process, which the next image would meet too.
_GENERAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: Bytes of the longest file name, and of the longest label that is not cut.
_LONGEST_NAME, _LONGEST_LABEL = 255, 160
#: Characters of the longest file name extension.
_LONGEST_EXTENSION = 16
#: In WAL mode, one commit for each image costs no synchronization with the disk.
_OPEN = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS images (
    number INTEGER PRIMARY KEY,
    source BLOB UNIQUE NOT NULL, -- its absolute path
    path BLOB NOT NULL,          -- its path in the last row
    folder TEXT,                 -- below DIR, by the last row
    error TEXT,                  -- why it can't be sorted
    rows INTEGER NOT NULL,       -- in this run
    place BLOB UNIQUE,           -- below DIR
    done INTEGER NOT NULL        -- whether it was put there
);
UPDATE images SET rows = 0 WHERE rows;
"""
_TAKE = """
INSERT INTO images (source, path, folder, error, rows, done) VALUES (?, ?, ?, ?, 1, 0)
ON CONFLICT (source) DO UPDATE SET path = excluded.path, folder = excluded.folder, error = excluded.error,
    rows = rows + 1
"""
_NEXT = """
SELECT number, source, folder, error, rows, place, done FROM images WHERE number > ? AND rows ORDER BY number LIMIT 1000
"""
_PLACE = "UPDATE OR IGNORE images SET place = ?, done = ? WHERE number = ?"
_FAIL = "UPDATE images SET place = NULL, done = 0, error = ? WHERE number = ?"
_FAILED = "SELECT path, error FROM images WHERE place IS NULL AND error IS NOT NULL ORDER BY number"


class Sorter:
    """Sorts the images of rows into folders.

    Args:
        folder: DIR; it is created if it is missing.
        means: whether images are linked or copied.

    Attributes:
        failed: the number of images with a label that could not be sorted.

    Raises:
        UsageError: DIR is a file, or holds somebody else's `_errors.csv`.
        OutputFailed: DIR can't be written to, or another command sorts into it.
    """

    def __init__(self, folder: str, means: Literal["symbolic", "hard", "copy"] = "symbolic") -> None:
        self.folder = folder
        self.failed = self._sorted = self._there = self._listed = 0
        self._means = means
        self._top = os.path.realpath(folder)
        self._errors, self._part, path = map(self._at, ("_errors.csv", "_sorted.copying", "_sorted.db"))
        self._unpacker = Unpacker()
        if os.path.lexists(self._top) and not os.path.isdir(self._top):
            raise UsageError(f"{folder!r} is a file, and --sort-into takes a folder: choose another DIR")
        if os.path.lexists(self._errors) and not os.path.lexists(path):
            raise UsageError(f"{folder!r} has an _errors.csv that --sort-into did not make: choose another DIR")
        with self._writable():
            os.makedirs(self._top, exist_ok=True)
            self._record = sqlite3.connect(path, timeout=0.2, isolation_level=None)
            try:
                self._record.executescript(_OPEN)
            except BaseException:
                self._record.close()
                raise

    def write(self, rows: Iterable[Row], origins: Iterable[object] = ()) -> None:
        """Take rows; raise OutputFailed if they can't be recorded."""
        with self._writable(), self._record:
            self._record.execute("BEGIN")
            self._record.executemany(_TAKE, map(_entry, rows))

    def finish(self, job: JobStatus | None = None) -> None:
        """Sort the images of the rows, and list what can't be sorted."""
        with self._writable():
            last = 0
            while images := self._record.execute(_NEXT, (last,)).fetchall():
                for image in images:
                    self._sort(image)
                last = images[-1][0]
            with open(self._errors + NEW, "wb") as file:
                file.write(b"path,error\n")
                for path, error in self._record.execute(_FAILED):
                    file.write(os.fsencode(f"{csv_field(os.fsdecode(path))},{csv_field(error)}\n"))
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
        self._unpacker.close()
        self._record.close()

    def _at(self, place: str) -> str:
        return os.path.join(self._top, place)

    def _sort(self, image: tuple[int, bytes, str, str | None, int, bytes | None, int]) -> None:
        """Put an image into its folder, or record why that fails."""
        number, source, folder, error, rows, place, done = image
        path, old = os.fsdecode(source), os.fsdecode(place or b"")
        if old and done and (os.path.dirname(old) == folder or not os.path.lexists(self._at(old))):
            self._there += 1  # in its folder, or where a user moved it
            return
        archive = archive_of(path)
        real = os.path.realpath(archive or path)
        inside = self._at("") in (path[: len(self._at(""))], real[: len(self._at(""))])
        why = error or _why_not(real, archive, rows, inside)
        try:
            origin = path if why else self._origin(path, archive, real)
            if old and not inside and self._is_same(origin, old):
                self._record.execute(_PLACE, (place, False, number))
                os.unlink(self._at(old))
            if not why:
                name = os.path.basename(path.removeprefix(archive + INSIDE)).replace("\0", "%00")
                digest = hashlib.sha256(source).hexdigest()[:12]
                self._put(number, origin, [os.path.join(folder, _suffixed(name, end)) for end in ("", f"-{digest}")])
                self._sorted += 1
                return
        except OSError as exc:
            if exc.errno in _GENERAL:
                raise
            why = f"not-sorted: {exc.strerror or exc}" + (": --copy can" if exc.errno == errno.EXDEV else "")
        self.failed += not error
        self._record.execute(_FAIL, (os.fsencode(why).decode(errors="backslashreplace"), number))

    def _origin(self, path: str, archive: str, real: str) -> str:
        """Return the file to link to, or a copy to move: a member of an archive can only be copied."""
        if archive:
            self._unpacker.unpack(archive, path.removeprefix(archive + INSIDE), self._part)
        elif self._means == "copy":
            shutil.copy2(path, self._part)
        else:
            return real if self._means == "hard" else path
        return self._part

    def _put(self, number: int, origin: str, places: list[str]) -> None:
        """Put an image into the first place that is free, or that holds it already."""
        os.makedirs(os.path.dirname(self._at(places[0])), exist_ok=True)
        for place in places:
            if not self._record.execute(_PLACE, (os.fsencode(place), False, number)).rowcount:
                continue  # another image's
            with suppress(FileExistsError):
                self._link(origin, self._at(place))
            if self._is_same(origin, place) or not os.path.lexists(origin):
                self._record.execute(_PLACE, (os.fsencode(place), True, number))
                return
        raise FileExistsError(errno.EEXIST, f"other files have its names, {places!r}")

    def _link(self, origin: str, at: str) -> None:
        if origin != self._part:
            (os.link if self._means == "hard" else os.symlink)(origin, at)
        elif not os.path.lexists(at):
            os.rename(origin, at)

    def _is_same(self, origin: str, place: str) -> bool:
        """Return whether a place holds an image: a link to the file, or the same bytes as the copy."""
        with suppress(OSError):
            if origin == self._part:
                return filecmp.cmp(origin, self._at(place), shallow=False)
            return os.path.samefile(origin, self._at(place))
        return False

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


def _entry(row: Row) -> tuple[bytes, bytes, str, str | None]:
    """Return the source, path, folder and error of a row."""
    folder = os.path.join("_review" if row.review else "", folder_of(row.label))
    error = os.fsencode(row.error).decode(errors="backslashreplace") or None
    return os.fsencode(_absolute(row.path)), os.fsencode(row.path), "" if error else folder, error


def _why_not(real: str, archive: str, rows: int, inside: bool) -> str:
    """Return why an image can't be sorted; empty if nothing prevents it."""
    if inside:
        return "not-sorted: it lies in the folder that is sorted into"
    if archive and rows > 1:
        return "not-sorted: more than one image has this name"  # it is unknown which one has the label
    return "" if os.path.isfile(real) else "not-here: it can't be seen from here"


def _suffixed(name: str, suffix: str) -> str:
    """Insert a suffix before the extension; cut the name if it is too long."""
    stem, extension = os.path.splitext(name)
    if len(extension) > _LONGEST_EXTENSION:
        stem, extension = name, ""
    end = os.fsencode(suffix + extension)
    return os.fsdecode(os.fsencode(stem)[: _LONGEST_NAME - len(end)] + end)


def _absolute(path: str) -> str:
    """Return the absolute path of an image, or of a member of an archive; a link stays what it is."""
    file = archive_of(path) or path
    folder, name = os.path.split(file)
    return os.path.join(_real(os.getcwd(), folder), name) + path.removeprefix(file)


@lru_cache(4096)
def _real(start: str, folder: str) -> str:
    return os.path.realpath(os.path.join(start, folder))
