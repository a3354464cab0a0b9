"""Paths put aside where only a part of them is in memory: there may be many."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pigeonhole.errors import OutputFailed

if TYPE_CHECKING:
    import sqlite3


def aside() -> "sqlite3.Connection":
    """Give an empty database of this process's own, on disk as far as it is large, and gone when it is closed."""
    import sqlite3

    # It is read where references are submitted, which is a thread of its own.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = OFF")
    return database


@contextmanager
def room(what: str) -> Iterator[None]:
    """Say what helps where there is no room for it."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as exc:
        raise OutputFailed(f"the {what} can't be put aside: {exc}; set TMPDIR to where there is room") from exc
