"""Scratch databases: for lists of paths of which only a part fits into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pigeonhole.errors import OutputFailed

if TYPE_CHECKING:
    import sqlite3


def scratch_database() -> "sqlite3.Connection":
    """Return an empty database of this process's own, on disk as far as it is large, and gone when it is closed."""
    import sqlite3

    # It is read where references are submitted, which is a thread of its own.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = OFF")
    return database


@contextmanager
def explaining_no_room() -> Iterator[None]:
    """Raise OutputFailed with a remedy where there is no room for a scratch database."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as exc:
        raise OutputFailed(f"the paths don't fit on the disk: {exc}; set TMPDIR to where there is room") from exc
