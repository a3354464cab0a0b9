"""Images into folders by their label: `--sort-into DIR`.

An image goes into DIR/<label>/, or DIR/_review/<label>/ where it is to be reviewed, and what has no label is listed in
DIR/_errors.csv. DIR/_sorted.db has what went where, so that an image is sorted once, however often its row comes, and
stays where somebody moved it. A place is put on record before an image is put there: what a command that was killed has
planned, the next one carries out.
"""

import errno
import filecmp
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.messages import Prediction
from pigeonhole.ledger.status import JobStatus
from pigeonhole.output_files import remove
from pigeonhole.sinks.rows import csv_field
from pigeonhole.sinks.unpacking import Unpacker, archive_of
from pigeonhole.sources.archives import INSIDE
from pigeonhole.text import counted

#: What tells that a record is ours: "PGHS".
_APPLICATION = 0x50474853
#: Errors of the disk or the process, and not of an image: the next one would meet them too.
_GENERAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: Bytes that a file's name has at most, and those of a label that are kept.
_LONGEST_NAME, _LONGEST_LABEL = 255, 160
#: Characters of what counts as a name's extension.
_LONGEST_EXTENSION = 16
_SCHEMA = f"""
CREATE TABLE images (
    source BLOB PRIMARY KEY, -- its absolute path
    path BLOB NOT NULL,      -- and as it was named
    place BLOB UNIQUE,       -- below DIR, or NULL
    error TEXT,              -- why it has no place
    done INTEGER NOT NULL    -- whether it was put there
);
CREATE INDEX planned ON images (done) WHERE NOT done;
CREATE TABLE names (wanted BLOB PRIMARY KEY, taken INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
"""
_RECORD = """
INSERT INTO images VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source) DO UPDATE SET path = excluded.path, place = excluded.place, error = excluded.error,
    done = excluded.done
"""


class Means(StrEnum):
    """How an image gets into its folder."""

    symbolic = "symbolic"
    hard = "hard"
    copy = "copy"


class Sorter:
    """Sorts the images of rows into folders; a sink.

    Args:
        folder: DIR, which is made where it is missing.
        means: how.

    Attributes:
        failed: how many images with a label could not be sorted.

    Raises:
        UsageError: DIR is a file, or holds something else of a name that is ours.
        OutputFailed: it can't be written to, or another command sorts into it.
    """

    def __init__(self, folder: str, means: Means = Means.symbolic) -> None:
        self.folder = folder
        self._top = os.path.realpath(folder)
        self._errors = os.path.join(self._top, "_errors.csv")
        self._part = os.path.join(self._top, "_sorted.copying")
        ways: dict[Means, Callable[[str, str], None]] = {
            Means.symbolic: os.symlink,
            Means.hard: _link,
            Means.copy: self._copy,
        }
        self._put = ways[means]
        self._unpacker = Unpacker()
        self._made: set[str] = set()
        self._sorted = self._there = self._listed = self.failed = 0
        if os.path.lexists(self._top) and not os.path.isdir(self._top):
            raise UsageError(f"{folder!r} is a file, and --sort-into takes a folder: choose another DIR")
        with self._writable():
            os.makedirs(self._top, exist_ok=True)
            self._record = sqlite3.connect(os.path.join(self._top, "_sorted.db"), timeout=0.2, isolation_level=None)
        try:
            with self._writable():
                self._begin()
            self._carry_out()
            self._sorted = self.failed = 0  # the rows of these come again, and are counted then
        except BaseException:
            self.close()
            raise

    def write(self, rows: Sequence[Prediction]) -> None:
        """Sort the images of some rows; OutputFailed where that can't be done."""
        with self._transaction():
            for row in rows:
                self._plan(row)
        self._carry_out()

    def finish(self, job: JobStatus | None = None) -> None:
        """List what could not be sorted."""
        listed = self._record.execute("SELECT path, error FROM images WHERE place IS NULL ORDER BY rowid")
        with self._writable(), open(self._errors + ".new", "wb") as file:
            file.write(b"path,error\n")
            for path, error in listed:
                file.write(os.fsencode(f"{csv_field(os.fsdecode(path))},{csv_field(error)}\n"))
                self._listed += 1
        with self._writable():
            os.replace(self._errors + ".new", self._errors)
            if not self._listed:
                remove(self._errors)

    def told(self) -> str:
        """Say what was done."""
        there = f" ({self._there:,} were there)" if self._there else ""
        listed = f"; {self._listed:,} listed in {os.path.join(self.folder, '_errors.csv')!r}" if self._listed else ""
        return f"{counted(self._sorted, 'image')} sorted into {self.folder!r}{there}{listed}"

    def close(self) -> None:
        """Let go of DIR, for another command to go on with."""
        self._unpacker.close()
        self._record.close()

    def _begin(self) -> None:
        """Have the record for ourselves, and make it where there is none."""
        self._record.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._record.execute("BEGIN EXCLUSIVE")
        (application,) = self._record.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION:
            tables = self._record.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            if application or tables or os.path.lexists(self._errors):
                raise UsageError(
                    f"{self.folder!r} has a _sorted.db or _errors.csv that --sort-into did not make: choose another DIR"
                )
            for statement in _SCHEMA.split(";\n"):
                self._record.execute(statement)
        self._record.execute("COMMIT")

    def _plan(self, row: Prediction) -> None:
        """Put on record where an image shall go, unless it has a place."""
        source = _absolute(row.path)
        key, path = os.fsencode(source), os.fsencode(row.path)
        found = self._record.execute("SELECT place FROM images WHERE source = ?", (key,)).fetchone()
        if found and found[0] is not None:
            self._there += 1
            return
        why = row.error or self._why_not(source)
        if why:
            self.failed += not row.error
            self._record.execute(_RECORD, (key, path, None, os.fsencode(why).decode(errors="backslashreplace"), True))
            return
        folder = os.path.join("_review", folder_of(row.label)) if row.review else folder_of(row.label)
        # Of a member of an archive, only the last part of its name counts: it may have any, `..` for instance.
        name = os.path.basename(source.removeprefix(archive_of(source) + INSIDE)).replace("\0", "%00")
        place = self._free(os.path.join(folder, name))
        self._record.execute(_RECORD, (key, path, os.fsencode(place), None, False))

    def _why_not(self, source: str) -> str:
        if source.startswith(os.path.join(self._top, "")):
            return "not-sorted: it lies in the folder that is sorted into"
        seen = os.path.isfile(source) or archive_of(source)
        return "" if seen else "not-here: it can't be seen from here"

    def _free(self, wanted: str) -> str:
        """Give a place that nothing has, nor will have: a.png, or else a-2.png and so on."""
        key = os.fsencode(wanted)
        found = self._record.execute("SELECT taken FROM names WHERE wanted = ?", (key,)).fetchone()
        number, place = found[0] if found else 0, ""
        while not place:
            number += 1
            place = _numbered(wanted, number)
            planned = self._record.execute("SELECT 1 FROM images WHERE place = ?", (os.fsencode(place),)).fetchone()
            if planned or os.path.lexists(os.path.join(self._top, place)):
                place = ""
        self._record.execute("REPLACE INTO names VALUES (?, ?)", (key, number))
        return place

    def _carry_out(self) -> None:
        """Put the images where the record says that they shall go."""
        with self._transaction():
            planned = self._record.execute("SELECT source, path, place FROM images WHERE NOT done").fetchall()
            for key, path, place in planned:
                at, why = self._sort(os.fsdecode(key), os.fsdecode(place))
                self._sorted += not why
                self.failed += bool(why)
                self._record.execute(_RECORD, (key, path, None if why else os.fsencode(at), why or None, True))

    def _sort(self, source: str, place: str) -> tuple[str, str]:
        """Put an image into its place, or the next that is free; give that, and what keeps it from having one."""
        self._make(os.path.dirname(place))
        put = self._unpack if archive_of(source) else self._put
        while True:
            at = os.path.join(self._top, place)
            try:
                put(source, at)
                return place, ""
            except FileExistsError:
                if _is_it(source, at):  # a command that was killed had come so far
                    return place, ""
                place = self._free(place)
            except OSError as exc:
                if exc.errno in _GENERAL:
                    raise
                self._unmake(os.path.dirname(place))
                return "", f"not-sorted: {exc.strerror or exc}" + (": --copy can" if exc.errno == errno.EXDEV else "")

    def _make(self, folder: str) -> None:
        if folder not in self._made:
            os.makedirs(os.path.join(self._top, folder), exist_ok=True)
            self._made.add(folder)

    def _unmake(self, folder: str) -> None:
        """Leave no empty folder behind; `_sorted.db` keeps DIR itself."""
        self._made.discard(folder)
        with suppress(OSError):
            os.removedirs(os.path.join(self._top, folder))

    def _copy(self, source: str, at: str) -> None:
        """Copy a file; what has its name is whole."""
        if os.path.lexists(at):
            raise FileExistsError
        shutil.copy2(source, self._part)
        os.rename(self._part, at)

    def _unpack(self, source: str, at: str) -> None:
        """Copy a member of an archive, which can't be linked to."""
        archive = archive_of(source)
        self._unpacker.unpack(archive, source.removeprefix(archive + INSIDE), self._part)
        if not os.path.lexists(at):
            os.rename(self._part, at)
            return
        there = _is_it(self._part, at)
        os.unlink(self._part)
        if not there:
            raise FileExistsError

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writable():
            self._record.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._record.execute("ROLLBACK")
                raise
            self._record.execute("COMMIT")

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
                f"{self.folder!r} can't be sorted into: {exc.strerror}; the same command goes on once it can"
            ) from exc


def folder_of(label: str) -> str:
    """Give a folder's name for a label, another one for each: what makes no good name is escaped, as in URLs."""
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


def _numbered(place: str, number: int) -> str:
    """Give a.png, a-2.png, a-3.png, …, no longer than a name may be."""
    folder, name = os.path.split(place)
    stem, extension = os.path.splitext(name)
    if len(extension) > _LONGEST_EXTENSION:
        stem, extension = name, ""
    end = os.fsencode(f"{f'-{number}' if number > 1 else ''}{extension}")
    return os.path.join(folder, os.fsdecode(os.fsencode(stem)[: _LONGEST_NAME - len(end)] + end))


def _absolute(path: str) -> str:
    """Give the path that an image has from anywhere; `..` behind a link is not what it seems."""
    if archive := archive_of(path):
        return _absolute(archive) + path.removeprefix(archive)
    absolute = os.path.join(os.getcwd(), path)
    if ".." not in absolute.split("/"):
        return os.path.normpath(absolute)
    folder, name = os.path.split(absolute)
    return os.path.join(os.path.realpath(folder), name)


def _link(source: str, at: str) -> None:
    os.link(os.path.realpath(source), at)


def _is_it(source: str, at: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(source, at) or filecmp.cmp(source, at, shallow=False)
    return False
