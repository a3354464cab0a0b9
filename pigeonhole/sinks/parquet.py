"""Rows ↔ Parquet: typed columns in row groups, and what is known of the job in the file's own metadata.

A Parquet file says at its end where everything in it lies, so one that was cut off can't be read at all: it is made
from rows that are safe elsewhere, and gets its name when it is whole.
"""

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pigeonhole.errors import UsageError
from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.messages import Prediction
from pigeonhole.ledger.status import JobStatus
from pigeonhole.sinks.rows import path_of, text_and_bytes, texts

if TYPE_CHECKING:
    import pyarrow

#: Rows of a row group, which is what a reader takes at a time: some 2 MB.
ROW_GROUP = 65_536
#: Rows that are read at once.
_BATCH = 8192
#: The entry of the file's metadata that holds the job, as JSON.
_JOB = b"pigeonhole.job"


def check() -> None:
    """Raise UsageError where pyarrow is missing; without importing it, which takes long."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "a .parquet file needs pyarrow, which is not installed: `pip install 'pigeonhole[parquet]'`, or end FILE "
            "with .csv, .jsonl or .db"
        )


def write(path: str, chunks: Iterable[Sequence[Prediction]], job: JobStatus | None, written_ns: int) -> None:
    """Write a file whole or not at all.

    Args:
        path: of the file; until it is whole it is at `path.new`.
        chunks: the rows, some thousand at a time.
        job: what is known of the job; the counts become those of the rows.
        written_ns: when the last of them was written, in nanoseconds since the epoch; the file's time becomes this.

    Raises:
        OSError: it can't be written.
    """
    import pyarrow
    from pyarrow import parquet

    schema, summary = _schema(), Summary()
    try:
        with open(path + ".new", "wb") as file:
            with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                waiting: list[pyarrow.RecordBatch] = []
                for chunk in chunks:
                    summary.add(chunk)
                    waiting.append(_batch(chunk, schema))
                    if sum(map(len, waiting)) >= ROW_GROUP:
                        writer.write_table(pyarrow.Table.from_batches(waiting), ROW_GROUP)
                        waiting.clear()
                if waiting:
                    writer.write_table(pyarrow.Table.from_batches(waiting), ROW_GROUP)
                if job is not None:
                    writer.add_key_value_metadata({_JOB: json.dumps(asdict(summary.of_rows(job)))})
            file.flush()
            os.utime(file.fileno(), ns=(written_ns, written_ns))  # what changed after the last row has not been seen
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
    except BaseException:
        with suppress(OSError):
            os.unlink(path + ".new")
        raise


def job_of(path: str) -> JobStatus | None:
    """Give what a file says of its job; None where it says nothing.

    Raises:
        UsageError: it can't be read, or holds no rows of ours.
    """
    from pyarrow import parquet

    with _readable(path), parquet.ParquetFile(path) as file:
        missing = set(_schema().names) - {"path_bytes"} - set(file.schema_arrow.names)
        if missing:
            raise ValueError(f"it has no column {', '.join(sorted(missing))}")
        said = (file.metadata.metadata or {}).get(_JOB)
        if said is None:
            return None
        body = json.loads(said)
        return JobStatus(**body | {"sources": tuple(body["sources"])})


def read(path: str) -> Iterator[Prediction]:
    """Give the rows of a file, in bounded memory.

    Raises:
        UsageError: it can't be read, or something in it is no row of ours.
    """
    from pyarrow import parquet

    with _readable(path), parquet.ParquetFile(path) as file:
        names = [name for name in _schema().names if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH, columns=names):
            yield from map(_row, batch.to_pylist())


def _schema() -> "pyarrow.Schema":
    """Give the columns; texts that come again and again are kept once for each row group."""
    import pyarrow

    repeated = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    best = pyarrow.struct([("label", pyarrow.string()), ("p", pyarrow.float64())])
    return pyarrow.schema(
        [
            pyarrow.field("path", pyarrow.string(), nullable=False),
            ("path_bytes", pyarrow.binary()),  # of a name that is not UTF-8
            ("label", repeated),
            ("confidence", pyarrow.float64()),
            pyarrow.field("review", pyarrow.bool_(), nullable=False),
            ("error", pyarrow.string()),
            ("model", repeated),
            ("top", pyarrow.list_(best)),
        ]
    )


def _batch(rows: Sequence[Prediction], schema: "pyarrow.Schema") -> "pyarrow.RecordBatch":
    import pyarrow

    paths, labels, confidences, reviews, errors, models, tops = zip(*rows, strict=True)
    shown, spelled = zip(*map(text_and_bytes, paths), strict=True)
    columns = (shown, spelled, texts(labels), confidences, reviews, texts(errors), texts(models), tops)
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pyarrow.record_batch(arrays, schema=schema)


def _row(row: dict[str, Any]) -> Prediction:
    top = tuple((best["label"], best["p"]) for best in row["top"] or ())
    path = path_of(row["path"], row.get("path_bytes"))
    return Prediction(
        path, row["label"] or "", row["confidence"], row["review"] is True, row["error"] or "", row["model"] or "", top
    )


@contextmanager
def _readable(path: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except OSError as exc:
        raise UsageError(f"{path!r} can't be read: {exc.strerror or exc}") from exc
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"{path!r} holds no results of ours: {exc}") from exc
