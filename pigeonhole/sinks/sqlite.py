"""SQLite: a database of many jobs, with a table of jobs and one of rows.

A job is written in one transaction with a rollback journal, SQLite's default. So the database is one file that can be
copied, also on a network file system; readers wait some seconds. A database that a user set to WAL mode stays in it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import repeat
from typing import TYPE_CHECKING
from urllib.parse import quote

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.whole import WholeFormat, columns, row_of, text_and_bytes

if TYPE_CHECKING:
    import sqlite3

#: `application_id` of our databases: "PGHL".
APPLICATION = 0x5047484C
VERSION = 2
#: Seconds to wait for another program's lock: at the end of a run, and when checking before a run.
LOCK_SECONDS, CHECK_SECONDS = 60.0, 1.0
#: KiB of the page cache while a job is written.
_CACHE = 65_536
#: SQLite's error → the reason that is shown.
_REASONS = {
    "SQLITE_BUSY": "another program has locked it; end that program, or choose another FILE",
    "SQLITE_READONLY": "it is read-only; choose another FILE",
    "SQLITE_NOTADB": "it is not an SQLite database; choose another FILE",
}

TABLES = f"""
CREATE TABLE jobs (
    job TEXT PRIMARY KEY,
    state TEXT NOT NULL,       -- finished, or what it was when its rows so far were written
    sources TEXT NOT NULL,     -- as they were named: a JSON array
    model TEXT NOT NULL,       -- the checkpoint that answered: its name and the beginning of its digest
    created REAL NOT NULL,     -- this and the next two in seconds since 1970
    started REAL,
    finished REAL,
    images INTEGER NOT NULL DEFAULT 0,
    labels INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    reviews INTEGER NOT NULL DEFAULT 0,
    written_ns INTEGER NOT NULL -- when its last row was written, in nanoseconds since 1970
);
CREATE TABLE rows (
    number INTEGER PRIMARY KEY, -- rises in the order of submission
    job TEXT NOT NULL REFERENCES jobs (job),
    path TEXT NOT NULL,
    path_bytes BLOB NOT NULL DEFAULT x'', -- of a name that is not UTF-8; `path` then has escapes
    label TEXT,
    confidence REAL,
    review INTEGER NOT NULL,
    error TEXT,
    model TEXT NOT NULL,
    top TEXT NOT NULL,          -- the most probable classes: a JSON array of {{"label", "p"}}
    labels TEXT,                -- all labels, a JSON array, where a multi-label model answered
    unknown REAL                -- the probability that it belongs to no class, where the model has an output for it
);
PRAGMA application_id = {APPLICATION};
"""
#: Created after the first job's rows: building an index once is faster than updating it with each row.
INDEXES = """
CREATE INDEX IF NOT EXISTS rows_by_job_and_path ON rows (job, path);
CREATE INDEX IF NOT EXISTS rows_by_label ON rows (label, confidence);
CREATE INDEX IF NOT EXISTS rows_by_job_and_label ON rows (job, label, confidence);
CREATE INDEX IF NOT EXISTS rows_to_review ON rows (job, confidence) WHERE review;
CREATE INDEX IF NOT EXISTS rows_with_errors ON rows (job, error) WHERE error IS NOT NULL;
"""

#: Columns that databases of older versions lack, and their types.
_NEWER = {"labels": "TEXT", "unknown": "REAL"}

_WRITE_JOB = """
INSERT INTO jobs (job, state, sources, model, created, started, finished, written_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET state = excluded.state, started = excluded.started, finished = excluded.finished,
    written_ns = excluded.written_ns
"""
# Some error rows have no model, since the worker is not known.
_WRITE_ROW = """
INSERT INTO rows (job, path, path_bytes, label, confidence, review, error, model, top, labels, unknown)
VALUES (?, ?, ifnull(?, x''), ?, ?, ?, ?, ifnull(?, ''), ?, ?, ?)
"""
_COUNT = """
UPDATE jobs SET (images, labels, errors, reviews) =
    (SELECT count(*), count(label), count(error), total(review) FROM rows WHERE job = ?1)
WHERE job = ?1
"""
_FIELDS = ("job", "state", "model", "created", "started", "finished", "images", "errors", "reviews")
_READ_JOB = f"""
SELECT {", ".join(_FIELDS)}, sources, written_ns FROM jobs
WHERE job = ifnull(?, job) AND sources = ifnull(?, sources) ORDER BY written_ns DESC, rowid DESC LIMIT 1
"""
# With an index, SQLite would have to sort the rows of the job.
_READ_ROWS = """
SELECT path, path_bytes, label, confidence, review, error, model, top, {newer} FROM rows NOT INDEXED WHERE job = ?
ORDER BY number
"""


class Sqlite(WholeFormat):
    """An SQLite database."""

    name = "db"
    extensions = (".db", ".sqlite")
    many_jobs = True

    def check(self, path: str) -> None:
        """Raise OutputFailed or UsageError if an existing database can't be written, or is not ours."""
        if os.path.exists(path):
            with _writing(path, CHECK_SECONDS) as database:
                database.execute("ROLLBACK")

    def write(self, path: str, chunks: Iterable[Sequence[Row]], job: JobStatus, written_ns: int) -> None:
        """Write the rows of a job into a new or existing database; replace its rows of the same job."""
        with _writing(path, LOCK_SECONDS) as database:
            times = (job.created, job.started, job.finished, written_ns)
            model, _ = text_and_bytes(job.model)
            database.execute(_WRITE_JOB, (job.job, job.state, json.dumps(job.sources), model, *times))
            # All rows are replaced: a path may have several rows, so single ones can't be matched.
            database.execute("DELETE FROM rows WHERE job = ?", (job.job,))
            for chunk in chunks:
                *others, tops, labels, unknown = columns(chunk)
                several = (None if names is None else json.dumps(names) for names in labels)
                shown = map(json.dumps, tops)
                rows = zip(repeat(job.job, len(chunk)), *others, shown, several, unknown, strict=True)
                database.executemany(_WRITE_ROW, rows)
            _execute(database, INDEXES)
            database.execute(_COUNT, (job.job,))
            models = database.execute("SELECT DISTINCT model FROM rows WHERE job = ? ORDER BY model", (job.job,))
            if answered := ", ".join(model for (model,) in models if model):
                database.execute("UPDATE jobs SET model = ? WHERE job = ?", (answered, job.job))
            database.execute("COMMIT")

    def about(self, path: str, job: str | None, sources: Sequence[str] | None) -> tuple[JobStatus | None, int]:
        """Return the selected job, or the last one, and the time when its last row was written."""
        super().about(path, job, sources)
        with _reading(path) as database:
            selected = (job, None if sources is None else json.dumps(sources))
            found = database.execute(_READ_JOB, selected).fetchone()
        if found is None:
            wanted = f"no job {job!r}" if job else f"no job of {' '.join(sources)}" if sources else "no job"
            raise UsageError(f"{path!r} holds {wanted}")
        *fields, named, written_ns = found
        values = dict(zip(_FIELDS, fields, strict=True))
        return JobStatus(**values, done=values["images"], sources=tuple(json.loads(named))), written_ns

    def read(self, path: str, job: JobStatus | None) -> Iterator[Row]:
        """Read the rows of a job."""
        assert job is not None  # `about` returned it; for the type checker
        with _reading(path) as database:
            # Databases of older versions lack columns until the next job is written.
            missing = _missing(database)
            read = _READ_ROWS.format(newer=", ".join("NULL" if name in missing else name for name in _NEWER))
            for *others, top, labels, unknown in database.execute(read, (job.job,)):
                best = [one if isinstance(one, dict) else _of_version_0_2(one) for one in json.loads(top)]
                yield row_of((*others, best, None if labels is None else json.loads(labels), unknown))


@contextmanager
def _writing(path: str, seconds: float) -> Iterator["sqlite3.Connection"]:
    """Open a database in a transaction that excludes other writers; create the tables if it is empty."""
    import sqlite3

    try:
        with closing(_connect(path, "rwc", seconds)) as database:
            database.execute(f"PRAGMA cache_size = -{_CACHE}")
            database.execute("BEGIN IMMEDIATE")
            version = _version(database, path)
            if version is None:
                _execute(database, TABLES)
            elif version < VERSION:
                raise UsageError(
                    f"{path!r} was written by an older version of Pigeonhole, with one row for each path: it can be "
                    "read only; to write rows, choose another FILE"
                )
            else:
                for name in _missing(database):
                    database.execute(f"ALTER TABLE rows ADD COLUMN {name} {_NEWER[name]}")
            database.execute(f"PRAGMA user_version = {VERSION}")  # fails if it is read-only; BEGIN does not
            yield database
    except sqlite3.Error as exc:
        name = getattr(exc, "sqlite_errorname", "")
        why = next((why for error, why in _REASONS.items() if name.startswith(error)), exc)
        raise OutputFailed(f"{path!r} can't be written: {why}") from exc


@contextmanager
def _reading(path: str) -> Iterator["sqlite3.Connection"]:
    import sqlite3

    try:
        with closing(_connect(path, "ro", LOCK_SECONDS)) as database:
            if _version(database, path) is None:
                raise UsageError(f"{path!r} is an empty database, without results of Pigeonhole")
            yield database
    except (sqlite3.Error, KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"{path!r} is not a results file of Pigeonhole, or can't be read: {exc}") from exc


def _connect(path: str, mode: str, seconds: float) -> "sqlite3.Connection":
    import sqlite3

    # An absolute path after an empty authority: SQLite would take the `a` in //a/b.db for an authority.
    address = f"file://{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
    return sqlite3.connect(address, timeout=seconds, isolation_level=None, uri=True)


def _of_version_0_2(best: tuple[str, float]) -> dict[str, object]:
    label, p = best
    return {"label": label, "p": p}


def _missing(database: "sqlite3.Connection") -> list[str]:
    """Return the columns that the table of rows lacks, since an older version created it."""
    there = {name for _, name, *_ in database.execute("PRAGMA table_info(rows)")}
    return [name for name in _NEWER if name not in there]


def _execute(database: "sqlite3.Connection", statements: str) -> None:
    """Execute statements within the open transaction; `executescript` would commit it."""
    for statement in statements.split(";\n"):
        database.execute(statement)


def _version(database: "sqlite3.Connection", path: str) -> int | None:
    """Return the version of our tables, or None for an empty database; raise UsageError for any other database."""
    application, version = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    if application == APPLICATION and version > VERSION:
        raise UsageError(
            f"{path!r} was written by a newer version of Pigeonhole (its tables have version {version}, ours have "
            f"{VERSION}): use that version, or choose another FILE"
        )
    if application == APPLICATION:
        return version
    if application or version or database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise UsageError(f"{path!r} is a database of another program: choose another FILE")
    return None
