"""Temporary databases for lists of paths that may not fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pigeonhole.errors import OutputFailed

if TYPE_CHECKING:
    import sqlite3


def scratch_database() -> "sqlite3.Connection":
    """Return an empty, private database, which is in memory while it is small, and is deleted when it is closed."""
    import sqlite3

    # Another thread, which submits references, reads it.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = OFF")
    return database


@contextmanager
def explaining_no_room() -> Iterator[None]:
    """Convert errors of a scratch database to OutputFailed with a remedy; usually the disk is full."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as exc:
        raise OutputFailed(
            f"the list of paths can't be written to a temporary file: {exc}; set TMPDIR to a folder with free space"
        ) from exc
