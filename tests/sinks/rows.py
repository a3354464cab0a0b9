"""Rows of each kind, and the rows that hypothesis generates."""

import io
import os

from hypothesis import strategies as st

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import LineFormat
from pigeonhole.sinks.sink import Sink

MODEL = "digits@0123456789ab"
HEADER = b"path,label,confidence,unknown,review,error,model\n"
SEVEN = Row("in/7.png", "7", 0.999999, False, "", MODEL, (("7", 0.999999), ("1", 0.000001)), unknown=0.000002)
DOUBTFUL = Row("in/4.png", "4", 0.5, True, "", MODEL, (("4", 0.5),))
MISSING = Row("in/x.png", "", None, False, "missing: no such file", MODEL, ())
ROWS = [SEVEN, DOUBTFUL, MISSING]


def named(name: str | bytes) -> Row:
    return SEVEN._replace(path=os.fsdecode(name))


def write_all(sink: Sink, *batches: list[Row]) -> None:
    for rows in batches:
        sink.write(rows)
    sink.finish()


NAMES = st.builds(
    lambda first, name: first + os.fsdecode(name.replace(b"\0", b"/")),
    st.sampled_from(["", *"=+-@\t\r'"]),
    st.binary(min_size=1, max_size=20),
)
PREDICTIONS = st.builds(
    lambda path, label, p, review, error, unknown: (
        Row(path, "", None, False, error, MODEL, ())
        if error
        else Row(path, label, p, review, "", MODEL, ((label, p),), unknown=unknown)
    ),
    NAMES,
    st.sampled_from(["7", 'a "b", c', "two\nlines", "\r", "-1", "'quoted'"]),
    st.integers(0, 10**6).map(lambda ppm: ppm / 10**6),
    st.booleans(),
    st.sampled_from(["", "", "broken: why, because\r\n"]),
    st.none() | st.floats(0, 1),
)
MANY = st.lists(PREDICTIONS, max_size=5)


def read_back(data: bytes, format: LineFormat) -> list[Row]:
    found = list(format.scan(io.BytesIO(data)))
    assert b"".join(line for line, _ in found) == data[len(format.header) :][: sum(len(line) for line, _ in found)]
    return [row for _, row in found]
