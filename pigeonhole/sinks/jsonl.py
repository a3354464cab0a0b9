"""JSON lines: one object for each row. Other formats store the rows of an unfinished run in JSON lines, too."""

import json
from collections.abc import Sequence

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import LineFormat, as_dicts, checked_text

#: One encoder for all rows: `json.dumps` with options creates one for each call, which doubles the time.
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class JsonLines(LineFormat):
    """JSON lines; a name that is not UTF-8 is written as `os.fsdecode` returns it.

    Rows of a multi-label model have `labels`; rows of a model with an output for "unknown" have `unknown`.
    """

    name = "jsonl"
    extensions = (".jsonl",)

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows."""
        return b"".join(_line(row) for row in rows)

    def parse(self, line: bytes) -> Row:
        """Parse a row."""
        body = json.loads(line)
        top = tuple((best["label"], best["p"]) for best in body["top"])
        path, error, model = (checked_text(body[name]) for name in ("path", "error", "model"))
        label, confidence = checked_text(body["label"] or ""), body["confidence"]
        labels, unknown = body.get("labels"), body.get("unknown")
        return Row(
            path,
            label,
            None if confidence is None else float(confidence),
            body["review"] is True,
            error,
            model,
            top,
            None if labels is None else tuple(map(checked_text, labels)),
            None if unknown is None else float(unknown),
        )


def _line(row: Row) -> bytes:
    body = row._asdict() | {"label": row.label or None, "top": as_dicts(row.top)}
    for name in ("labels", "unknown"):
        if body[name] is None:
            del body[name]
    try:
        return _ENCODER.encode(body).encode() + b"\n"
    except UnicodeEncodeError:  # a name that is not UTF-8 has lone surrogates, which need escapes
        return json.dumps(body).encode() + b"\n"
