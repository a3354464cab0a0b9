"""Rows ↔ an SQLite database, in which the rows of many jobs are side by side.

It is written in one transaction, with SQLite's default, a rollback journal: what is there stays one file that can be
copied, also on a network's file system, and whoever reads it meanwhile waits for the seconds that this takes. One that
somebody has set to write ahead (WAL) stays so.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from urllib.parse import quote

from pigeonhole.errors import OutputFailed, PigeonholeError, UsageError
from pigeonhole.ledger.messages import Prediction
from pigeonhole.ledger.status import JobStatus
from pigeonhole.sinks.rows import path_of, text_and_bytes, texts

#: What tells that a database is ours: "PGHL".
APPLICATION = 0x5047484C
VERSION = 1
#: Seconds that another program may have the database locked: at the end of a run, and before it begins.
PATIENCE, LOOK = 60.0, 1.0
#: KiB of the database that are held in memory while it is written.
_CACHE = 65_536

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
    top TEXT NOT NULL,          -- the best classes: a JSON array of [label, probability]
    UNIQUE (job, path, path_bytes)
);
PRAGMA application_id = {APPLICATION};
"""
#: Made when the first job's rows are there: to sort them once is quicker than to keep them sorted.
INDEXES = """
CREATE INDEX IF NOT EXISTS rows_by_label ON rows (label, confidence);
CREATE INDEX IF NOT EXISTS rows_by_job_and_label ON rows (job, label, confidence);
CREATE INDEX IF NOT EXISTS rows_to_review ON rows (job, confidence) WHERE review;
CREATE INDEX IF NOT EXISTS rows_with_errors ON rows (job, error) WHERE error IS NOT NULL;
"""

_JOB = """
INSERT INTO jobs (job, state, sources, model, created, started, finished, written_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET state = excluded.state, started = excluded.started, finished = excluded.finished,
    written_ns = excluded.written_ns
"""
_ROW = """
INSERT INTO rows (job, path, path_bytes, label, confidence, review, error, model, top)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, path, path_bytes) DO UPDATE SET label = excluded.label, confidence = excluded.confidence,
    review = excluded.review, error = excluded.error, model = excluded.model, top = excluded.top
"""
_COUNTS = """
UPDATE jobs SET (images, labels, errors, reviews) =
    (SELECT count(*), count(label), count(error), total(review) FROM rows WHERE job = ?1)
WHERE job = ?1
"""
_READ_JOB = "SELECT job, state, sources, model, created, started, finished, images, errors, reviews FROM jobs"
# In their order and not by an index: by one, all of a job's would have to be sorted.
_READ_ROWS = """
SELECT path, path_bytes, label, confidence, review, error, model, top FROM rows NOT INDEXED WHERE job = ?
ORDER BY number
"""


def check(path: str) -> None:
    """Tell, before anything runs, whether a database can't take rows; one that is not there yet can.

    Raises:
        UsageError: what is there is not ours, or a newer version's.
        OutputFailed: another program has it locked, or it can't be written.
    """
    if os.path.exists(path):
        with _writing(path, LOOK) as database:
            database.execute("ROLLBACK")


def write(path: str, chunks: Iterable[Sequence[Prediction]], job: JobStatus, written_ns: int) -> None:
    """Put a job's rows into a database, all or none; a row of the same job and path takes the old one's place.

    Args:
        path: of the database, which is made where there is none.
        chunks: the rows, some thousand at a time.
        job: what is known of the job; the counts become those of its rows in the database.
        written_ns: when the last of them was written, in nanoseconds since the epoch.

    Raises:
        UsageError, OutputFailed: as `check`.
    """
    with _writing(path, PATIENCE) as database:
        model = texts([job.model])[0] or ""
        sources = json.dumps(job.sources)
        about = (job.job, job.state, sources, model, job.created, job.started, job.finished, written_ns)
        database.execute(_JOB, about)
        for chunk in chunks:
            database.executemany(_ROW, _columns(job.job, chunk))
        _execute(database, INDEXES)
        database.execute(_COUNTS, (job.job,))
        models = database.execute("SELECT DISTINCT model FROM rows WHERE job = ? ORDER BY model", (job.job,))
        if answered := ", ".join(model for (model,) in models if model):
            database.execute("UPDATE jobs SET model = ? WHERE job = ?", (answered, job.job))
        database.execute("COMMIT")


def job_of(path: str, job: str | None = None, sources: Sequence[str] | None = None) -> tuple[JobStatus, int] | None:
    """Find the job that was written last, and when that was, in nanoseconds since the epoch; None: there is none.

    Args:
        path: of the database.
        job: None: any.
        sources: of those that were made of these, as they were named; None: of all.

    Raises:
        UsageError: it can't be read, or is not ours.
    """
    where = {"job = ?": job, "sources = ?": None if sources is None else json.dumps(sources)}
    asked = {term: value for term, value in where.items() if value is not None}
    condition = f" WHERE {' AND '.join(asked)}" if asked else ""
    newest = (
        f"{_READ_JOB.replace(' FROM', ', written_ns FROM')}{condition} ORDER BY written_ns DESC, rowid DESC LIMIT 1"
    )
    with reading(path) as database:
        found = database.execute(newest, tuple(asked.values())).fetchone()
    if found is None:
        return None
    name, state, named, model, created, started, finished, images, errors, reviews, written_ns = found
    status = JobStatus(
        job=name,
        state=state,
        model=model,
        created=created,
        sources=tuple(json.loads(named)),
        started=started,
        finished=finished,
        images=images,
        done=images,
        errors=errors,
        reviews=reviews,
    )
    return status, written_ns


def read(path: str, job: str) -> Iterator[Prediction]:
    """Give a job's rows, in their order and in bounded memory.

    Raises:
        UsageError: the database can't be read, or something in it is no row of ours.
    """
    with reading(path) as database:
        for name, spelled, label, confidence, review, error, model, top in database.execute(_READ_ROWS, (job,)):
            best = tuple((label, p) for label, p in json.loads(top))
            yield Prediction(path_of(name, spelled), label or "", confidence, review == 1, error or "", model, best)


def _columns(job: str, rows: Sequence[Prediction]) -> Iterator[tuple[object, ...]]:
    paths, labels, confidences, reviews, errors, models, tops = zip(*rows, strict=True)
    names, spelled = zip(*map(text_and_bytes, paths), strict=True)
    jobs, blobs = [job] * len(rows), [data or b"" for data in spelled]
    # An error row always has a model, except where nobody knows which worker it was.
    named = [model or "" for model in texts(models)]
    return zip(
        jobs,
        names,
        blobs,
        texts(labels),
        confidences,
        reviews,
        texts(errors),
        named,
        map(json.dumps, tops),
        strict=True,
    )


@contextmanager
def _writing(path: str, patience: float) -> Iterator[sqlite3.Connection]:
    """Give a database in a transaction that nobody else can write in, with our tables in it."""
    try:
        with closing(_connected(path, "rwc", patience)) as database:
            database.execute(f"PRAGMA cache_size = -{_CACHE}")
            database.execute("BEGIN IMMEDIATE")
            if not _is_ours(database, path):
                _execute(database, TABLES)
            database.execute(f"PRAGMA user_version = {VERSION}")  # BEGIN alone succeeds where it may only be read
            yield database
    except sqlite3.Error as exc:
        raise _unwritable(path, exc) from exc


@contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection]:
    """Open a database of ours to be read; UsageError where it is none, or can't be."""
    try:
        with closing(_connected(path, "ro", PATIENCE)) as database:
            if not _is_ours(database, path):
                raise UsageError(f"{path!r} is an empty database: it holds no results of ours")
            yield database
    except (sqlite3.Error, TypeError, ValueError) as exc:
        raise UsageError(f"{path!r} holds no results of ours, or can't be read: {exc}") from exc


def _execute(database: sqlite3.Connection, statements: str) -> None:
    """Do some things in the transaction that is open; `executescript` would end it first."""
    for statement in statements.split(";\n"):
        database.execute(statement)


def _is_ours(database: sqlite3.Connection, path: str) -> bool:
    """Tell whether our tables are there; UsageError where something else is."""
    (application,), (version,) = (
        database.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if application == APPLICATION and version > VERSION:
        raise UsageError(
            f"{path!r} was made by a newer version of Pigeonhole (its tables have version {version}, we know "
            f"{VERSION}): use that version, or choose another FILE"
        )
    if application == APPLICATION:
        return True
    if application or version or database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise UsageError(f"{path!r} is a database of something else: choose another FILE")
    return False


def _unwritable(path: str, exc: sqlite3.Error) -> PigeonholeError:
    name = getattr(exc, "sqlite_errorname", "")
    if name.startswith("SQLITE_BUSY"):
        why = "another program has it locked; end that, or choose another FILE"
    elif name.startswith("SQLITE_READONLY"):
        why = "it may only be read; choose another FILE"
    elif name == "SQLITE_NOTADB":
        return UsageError(f"{path!r} is no SQLite database: choose another FILE")
    else:
        why = f"{exc}"
    return OutputFailed(f"{path!r} can't be written: {why}")


def _connected(path: str, mode: str, patience: float) -> sqlite3.Connection:
    # Absolute, after an empty authority: of //a/b.db, SQLite would take `a` for one.
    address = f"file://{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
    return sqlite3.connect(address, timeout=patience, isolation_level=None, uri=True)
