"""Rows as a table of Arrow: the columns and types of Parquet files and of `Rows.to_arrow`. It imports pyarrow."""

from collections.abc import Iterable, Sequence

import pyarrow

from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.whole import columns

#: The columns that files of older versions lack.
NEWER = ("labels", "unknown")
#: Texts that repeat are dictionaries, stored once for each row group.
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
    """Return some rows, at least one, as a record batch."""
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns(rows), SCHEMA, strict=True)]
    return pyarrow.record_batch(arrays, schema=SCHEMA)


def table(batches: Iterable[Sequence[Row]]) -> pyarrow.Table:
    """Return all rows as one table, whose repeated texts share a dictionary for each column."""
    made = pyarrow.Table.from_batches([record_batch(rows) for rows in batches if rows], SCHEMA)
    return made.unify_dictionaries()
