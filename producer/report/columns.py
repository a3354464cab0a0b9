"""Turns rows into columns of JSON, and selects the rows that get a thumbnail."""

import hashlib
import heapq
import json
import math
from collections.abc import Sequence

from pigeonhole.ledger.wire.messages import Row
from producer.report.file_facts import FileFacts
from producer.report.truth import Truth


class Columns:
    """Turns rows into columns; labels and model names are written once, at the end.

    Args:
        truth: the true labels; None: there are none.
        files: looks up the size and the date of each image; None: no file is looked up.
    """

    def __init__(self, truth: Truth | None = None, files: FileFacts | None = None) -> None:
        self._truth, self._files = truth, files
        self._labels: dict[str, int] = {}
        self._models: dict[str, int] = {}
        self._digest = hashlib.sha256()

    def block(self, rows: Sequence[Row]) -> dict[str, object]:
        """Return rows as columns, labels and models as numbers; the label of an error is -1."""
        columns: dict[str, object] = {
            "path": [row.path for row in rows],
            "label": [-1 if row.error else self._label(row.label) for row in rows],
            "confidence": [_finite(row.confidence) for row in rows],
            "unknown": [_finite(row.unknown) for row in rows],
            "review": [int(row.review) for row in rows],
            "error": [row.error for row in rows],
            "model": [self._models.setdefault(row.model, len(self._models)) for row in rows],
            "top": [[part for label, p in row.top for part in (self._label(label), p)] for row in rows],
        }
        if self._truth:
            found = [self._truth.of(row.path) for row in rows]
            columns["truth"] = [-1 if label is None else self._label(label) for label in found]
        if self._files:
            columns["size"], columns["date"] = self._files.columns(rows)
        for row in rows:  # without facts, so that the same rows from any format have the same digest
            self._digest.update(json.dumps(row[:6]).encode())
        return columns

    def end(self) -> dict[str, object]:
        """Return the names of labels and models, and the digest of the rows; call it after the last row."""
        return {"labels": list(self._labels), "models": list(self._models), "digest": self._digest.hexdigest()}

    def _label(self, label: str) -> int:
        return self._labels.setdefault(label, len(self._labels))


class Doubtful:
    """Selects the most doubtful rows that have a label; error rows get no thumbnail.

    Args:
        limit: the most rows to select.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[bool, float, int, str]] = []  # the least doubtful row is at the top

    def add(self, start: int, rows: Sequence[Row]) -> None:
        """Add rows, numbered from `start`."""
        for number, row in enumerate(rows, start):
            if not row.error and self._limit:
                entry = (row.review, -(_finite(row.confidence) or 0.0), -number, row.path)
                if len(self._heap) < self._limit:
                    heapq.heappush(self._heap, entry)
                else:
                    heapq.heappushpop(self._heap, entry)

    def rows(self) -> list[tuple[int, str]]:
        """Return (number, path) of each selected row, most doubtful first."""
        return [(-number, path) for _, _, number, path in sorted(self._heap, reverse=True)]


def _finite(share: float | None) -> float | None:
    """Return a probability for JSON: None for `nan`, which a CSV file may contain."""
    return share if share is not None and math.isfinite(share) else None
