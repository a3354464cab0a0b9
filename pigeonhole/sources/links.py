"""The links in a `.tar`, put aside until it is known where what they lead to lies; only a part of it is in memory."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from posixpath import dirname, join, normpath
from tarfile import TarInfo
from typing import NamedTuple

from pigeonhole.output_files import DEEPEST_LINK
from pigeonhole.scratch import aside, room
from pigeonhole.sources.spans import TarSpan

_SCHEMA = """
CREATE TABLE links (
    at INTEGER PRIMARY KEY, -- where its own bytes would begin
    sum INTEGER NOT NULL,   -- of its header
    name BLOB NOT NULL,     -- as it stands in the archive
    key BLOB NOT NULL,      -- and without what makes no difference
    target BLOB NOT NULL,   -- likewise
    hard INTEGER NOT NULL,
    offset INTEGER, size INTEGER, header INTEGER -- the place of the file that it leads to
);
CREATE INDEX targets ON links (target);
CREATE INDEX keys ON links (key);
"""
#: A link to a link leads where that one does.
_FOLLOW = """
UPDATE links SET offset = next.offset, size = next.size, header = next.header
FROM links AS next WHERE next.key = links.target AND next.offset IS NOT NULL AND links.offset IS NULL
"""


class Link(NamedTuple):
    """A link, and the place of the file that it leads to; where that is none in the archive, the link's own."""

    name: str
    span: TarSpan


class Links:
    """Links, and what they lead to.

    Args:
        database: empty.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._database.executescript(_SCHEMA)

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return self._database.execute("SELECT 1 FROM links LIMIT 1").fetchone() is not None

    def add(self, info: TarInfo, check: int) -> None:
        """Put a link aside, with its header's checksum."""
        hard = info.islnk()
        target = info.linkname if hard else join(dirname(info.name), info.linkname)
        row = (info.offset_data, check, os.fsencode(info.name), _key(info.name), _key(target), hard)
        self._database.execute("INSERT INTO links (at, sum, name, key, target, hard) VALUES (?, ?, ?, ?, ?, ?)", row)

    def lead(self, name: str, span: TarSpan) -> None:
        """Have what leads to a file lead there: of some of one name to the last, a hard link to the last before it."""
        self._database.execute(
            "UPDATE links SET offset = ?, size = ?, header = ? WHERE target = ? AND (NOT hard OR at > ?)",
            (*span, _key(name), span.offset),
        )

    def __iter__(self) -> Iterator[Link]:
        """Give them in the order of what they lead to: a `.tar.gz` is best read forward."""
        for _ in range(DEEPEST_LINK):
            if not self._database.execute(_FOLLOW).rowcount:
                break
        rows = self._database.execute(
            "SELECT name, coalesce(offset, at) AS place, coalesce(size, 0), coalesce(header, sum) FROM links "
            "ORDER BY place, at"
        )
        return (Link(os.fsdecode(name), TarSpan(*span)) for name, *span in rows)


@contextmanager
def putting_aside() -> Iterator[Links]:
    """Give what links are put aside in, for as long; OutputFailed where there is no room."""
    with room("links"), closing(aside()) as database:
        yield Links(database)


def _key(name: str) -> bytes:
    """Give what two spellings of one name in an archive have in common."""
    return os.fsencode(normpath(name))
