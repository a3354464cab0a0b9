"""Rows as an Arrow table, for Parquet files and `Rows.to_arrow`. This module imports pyarrow."""

from collections.abc import Iterable, Sequence

import pyarrow

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.whole import columns

#: The columns that files of older versions lack.
NEWER = ("labels", "unknown")
#: The type of columns with repeated texts: a dictionary, which stores each text once.
_REPEATED = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
_BEST = pyarrow.struct([("label", pyarrow.string()), ("p", pyarrow.float64())])
SCHEMA = pyarrow.schema(
    [
        pyarrow.field("path", pyarrow.string(), nullable=False),
        ("path_bytes", pyarrow.binary()),  # of a name that is not UTF-8
        ("label", _REPEATED),
        ("confidence", pyarrow.float64()),
        pyarrow.field("review", pyarrow.bool_(), nullable=False),
        ("error", pyarrow.string()),
        ("model", _REPEATED),
        ("top", pyarrow.list_(_BEST)),
        ("labels", pyarrow.list_(pyarrow.string())),  # of a multi-label model
        ("unknown", pyarrow.float64()),
    ]
)


def record_batch(rows: Sequence[Row]) -> pyarrow.RecordBatch:
    """Return one or more rows as a record batch."""
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns(rows), SCHEMA, strict=True)]
    return pyarrow.record_batch(arrays, schema=SCHEMA)


def table(batches: Iterable[Sequence[Row]]) -> pyarrow.Table:
    """Return all rows as one table with one dictionary per column."""
    made = pyarrow.Table.from_batches([record_batch(rows) for rows in batches if rows], SCHEMA)
    return made.unify_dictionaries()
