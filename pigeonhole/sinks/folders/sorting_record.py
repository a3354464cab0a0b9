"""DIR/_sorted.db: the record of where `--sort-into DIR` has put each image."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pigeonhole.errors import OutputFailed
from pigeonhole.ledger.done import Origin
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sources.reference import Identity, Location

VERSION = 2
#: WAL mode with NORMAL: the commit for each image needs no flush to the disk.
_OPEN = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
"""
_TABLES = f"""
CREATE TABLE IF NOT EXISTS images (
    number INTEGER PRIMARY KEY,
    file BLOB NOT NULL,          -- the absolute path of the file that it lies in: its own, or its archive's
    member BLOB NOT NULL,        -- `::` and its name in an archive
    ordinal INTEGER NOT NULL,    -- among the images of that file and name in the last run: 0, 1, …
    scheme TEXT NOT NULL,        -- this and the next four are of the last row
    place TEXT NOT NULL,         -- in the archive: a JSON array
    identity BLOB NOT NULL,      -- of the file when the image was read: 8 bytes
    path BLOB NOT NULL,
    folder TEXT NOT NULL,        -- below DIR
    error TEXT,                  -- why it can't be sorted
    current INTEGER NOT NULL,    -- whether this run has a row of it
    target BLOB UNIQUE,          -- its path below DIR
    done INTEGER NOT NULL,       -- whether it was put there
    UNIQUE (file, member, ordinal)
);
CREATE TABLE IF NOT EXISTS linked (
    identity BLOB PRIMARY KEY,   -- of a file, before a hard link changed its change time
    rest TEXT NOT NULL           -- its size, modification time and inode: a JSON array
);
PRAGMA user_version = {VERSION};
UPDATE images SET current = 0 WHERE current;
"""
# Members with the same name are numbered in the order of the archive, so that they match after it is packed again.
_TAKE = """
INSERT INTO images (file, member, ordinal, scheme, place, identity, path, folder, error, current, done)
VALUES (?1, ?2, ifnull(
    (SELECT ordinal FROM images WHERE file = ?1 AND member = ?2 AND current AND place = ?4),
    (SELECT count(*) FROM images WHERE file = ?1 AND member = ?2 AND current)
), ?3, ?4, ?5, ?6, ?7, ?8, 1, 0)
ON CONFLICT (file, member, ordinal) DO UPDATE SET scheme = excluded.scheme, place = excluded.place,
    identity = excluded.identity, path = excluded.path, folder = excluded.folder, error = excluded.error, current = 1
"""
_NEXT = """
SELECT number, file, member, ordinal, scheme, place, identity, folder, error, target, done FROM images
WHERE number > ? AND current ORDER BY number LIMIT 1000
"""
_PUT = "UPDATE OR IGNORE images SET target = ?, done = ? WHERE number = ?"
_FAIL = "UPDATE images SET target = NULL, done = 0, error = ? WHERE number = ?"
_FAILED = "SELECT path, error FROM images WHERE target IS NULL AND error IS NOT NULL ORDER BY number"


class Image(NamedTuple):
    """An image of this run.

    Args:
        number: the number in the record.
        file: the absolute path of the image file, or of the archive that has the image.
        member: `::` and its name in the archive; empty: it is a file.
        ordinal: distinguishes members of an archive with the same name: 0, 1, …
        location: the location of the image, with `/` as the root.
        identity: the identity of the file when the image was read; 0: not known.
        folder: the folder below DIR into which it is sorted; empty: it has an error.
        error: the error of its row; empty: it has none.
        target: its path below DIR; empty: it has none.
        done: whether it was put there.
    """

    number: int
    file: str
    member: str
    ordinal: int
    location: Location
    identity: Identity
    folder: str
    error: str
    target: str
    done: bool


class Record:
    """The record of DIR, which is locked until `close`.

    Args:
        path: the path of the database.

    Raises:
        sqlite3.Error: the database can't be opened, or another command has locked it.
        OutputFailed: another version of Pigeonhole wrote the database.
    """

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, timeout=0.2, isolation_level=None)
        try:
            self._database.executescript(_OPEN)
            self._check_version(path)
            self._database.executescript(_TABLES)
        except BaseException:
            self._database.close()
            raise

    def take(self, rows: Iterable[tuple[Row, Origin, str]]) -> None:
        """Record rows, each with its origin and the folder of its image below DIR."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(_TAKE, (_values(*row) for row in rows))

    def images(self) -> Iterator[Image]:
        """Yield the images of this run in the order of their first rows; the caller may change the record meanwhile."""
        last = 0
        while found := self._database.execute(_NEXT, (last,)).fetchall():
            yield from map(_image, found)
            last = found[-1][0]

    def put(self, image: Image, target: str, done: bool) -> bool:
        """Record the target of an image, and return True; return False if another image has that target."""
        return bool(self._database.execute(_PUT, (os.fsencode(target), done, image.number)).rowcount)

    def fail(self, image: Image, error: str) -> None:
        """Record the reason why an image can't be sorted."""
        self._database.execute(_FAIL, (os.fsencode(error).decode(errors="backslashreplace"), image.number))

    def failed(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the error of each image that could not be sorted."""
        return ((os.fsdecode(path), error) for path, error in self._database.execute(_FAILED))

    def linking(self, identity: Identity, status: os.stat_result) -> None:
        """Record a file before a hard link to it is created or removed, which changes its change time."""
        statement = "INSERT OR IGNORE INTO linked VALUES (?, ?)"
        self._database.execute(statement, (_bytes(identity), _rest(status)))

    def was_linked(self, identity: Identity, status: os.stat_result) -> bool:
        """Return whether a file that was read has changed only by our hard links: in its change time."""
        found = self._database.execute("SELECT rest FROM linked WHERE identity = ?", (_bytes(identity),)).fetchone()
        return found is not None and found[0] == _rest(status)

    def close(self) -> None:
        """Close the database, which unlocks DIR."""
        self._database.close()

    def _check_version(self, path: str) -> None:
        ((version,),) = self._database.execute("PRAGMA user_version")
        if version != VERSION and self._database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise OutputFailed(f"{path!r} was written by another version of Pigeonhole: choose another DIR")


def _values(row: Row, origin: Origin, folder: str) -> tuple[bytes, bytes, str, str, bytes, bytes, str, str | None]:
    location, member = origin.location, ""
    file = row.path
    if location.place and row.path.endswith(location.path):
        file, member = row.path.removesuffix(location.path), location.path
    error = os.fsencode(row.error).decode(errors="backslashreplace")
    return (
        *(os.fsencode(_absolute(file)), os.fsencode(member), location.scheme, json.dumps(location.place)),
        *(_bytes(origin.identity), os.fsencode(row.path), folder, error or None),
    )


def _image(values: tuple[int, bytes, bytes, int, str, str, bytes, str, str | None, bytes | None, int]) -> Image:
    number, file, member, ordinal, scheme, place, identity, folder, error, target, done = values
    path, name = os.fsdecode(file), os.fsdecode(member)
    location = Location(scheme, path[1:], name, tuple(json.loads(place)))
    known = int.from_bytes(identity)
    return Image(
        number, path, name, ordinal, location, known, folder, error or "", os.fsdecode(target or b""), bool(done)
    )


def _bytes(identity: Identity) -> bytes:
    return identity.to_bytes(8)


def _rest(status: os.stat_result) -> str:
    return json.dumps([status.st_size, status.st_mtime_ns, status.st_ino])


def _absolute(path: str) -> str:
    """Return the absolute path of a file, with links in its folder resolved, but not the file itself."""
    folder, name = os.path.split(path)
    return os.path.join(_real(os.getcwd(), folder), name)


@lru_cache(4096)
def _real(start: str, folder: str) -> str:
    return os.path.realpath(os.path.join(start, folder))
