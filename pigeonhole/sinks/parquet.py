"""Parquet: typed columns in row groups, with the job in the file's metadata."""

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice

from pigeonhole.errors import UsageError
from pigeonhole.filesystem.output_files import NEW
from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import unreadable
from pigeonhole.sinks.whole import WholeFormat, row_of
from pigeonhole.version import install_hint

#: The number of chunks in a row group, the unit that readers load: 65,536 rows, about 2 MB.
GROUP = 8
#: The key of the file's metadata that holds the job, as JSON.
_JOB = b"pigeonhole.job"


class Parquet(WholeFormat):
    """Apache Parquet, written with pyarrow."""

    name = "parquet"
    extensions = (".parquet",)

    def check(self, path: str) -> None:
        """Raise UsageError if pyarrow is not installed; do not import it, which is slow."""
        if importlib.util.find_spec("pyarrow") is None:
            raise UsageError(
                f"a .parquet file needs pyarrow, which is not installed: `{install_hint('parquet')}`, or choose a FILE "
                "that ends with .csv, .jsonl or .db"
            )

    def write(self, path: str, chunks: Iterable[Sequence[Row]], job: JobStatus, written_ns: int) -> None:
        """Write the file under a temporary name, then rename it."""
        try:
            with open(path + NEW, "wb") as file:
                _write(file, chunks, job)
                os.utime(file.fileno(), ns=(written_ns, written_ns))  # the rows are no newer than that
                os.fsync(file.fileno())
            os.replace(path + NEW, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(path + NEW)
            raise

    def about(self, path: str, job: str | None, sources: Sequence[str] | None) -> tuple[JobStatus | None, int]:
        """Return the job in the file's metadata, or None, and the file's modification time."""
        _, written_ns = super().about(path, job, sources)
        self.check(path)
        from pyarrow import parquet

        from pigeonhole.sinks.arrow import NEWER, SCHEMA

        with _readable(path), parquet.ParquetFile(path) as file:
            if missing := set(SCHEMA.names) - {*file.schema_arrow.names, *NEWER}:
                raise ValueError(f"it has no column {', '.join(sorted(missing))}")
            metadata = (file.metadata.metadata or {}).get(_JOB)
            if metadata is None:
                return None, written_ns
            body = json.loads(metadata)
            return JobStatus(**body | {"sources": tuple(body["sources"])}), written_ns

    def read(self, path: str, job: JobStatus | None) -> Iterator[Row]:
        """Read all rows."""
        from pyarrow import parquet

        from pigeonhole.sinks.arrow import SCHEMA

        with _readable(path), parquet.ParquetFile(path) as file:
            names = SCHEMA.names
            for batch in file.iter_batches(self.chunk, columns=names):
                values = batch.to_pydict()
                empty = [None] * len(batch)
                yield from map(row_of, zip(*(values.get(name, empty) for name in names), strict=True))


def _write(file: object, chunks: Iterable[Sequence[Row]], job: JobStatus) -> None:
    import pyarrow
    from pyarrow import parquet

    from pigeonhole.sinks.arrow import SCHEMA, record_batch

    summary = Summary()
    with parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:

        def batch(chunk: Sequence[Row]) -> pyarrow.RecordBatch:
            summary.add(chunk)
            return record_batch(chunk)

        pending = iter(chunks)
        while batches := [batch(chunk) for chunk in islice(pending, GROUP)]:
            writer.write_table(pyarrow.Table.from_batches(batches))
        writer.add_key_value_metadata({_JOB: json.dumps(asdict(summary.of_rows(job)))})


@contextmanager
def _readable(path: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except OSError as exc:
        raise unreadable(path, exc) from exc
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"{path!r} is not a results file of Pigeonhole: {exc}") from exc
