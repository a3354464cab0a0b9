"""Rows → columns of JSON, and the few rows that get a thumbnail."""

import hashlib
import heapq
import json
import math
from collections.abc import Sequence

from pigeonhole.ledger.messages import Row
from producer.report.file_facts import FileFacts
from producer.report.truth import Truth


class Columns:
    """Turns rows into columns; a text that is repeated is written once, at the end.

    Args:
        truth: the true labels; None: not known.
        files: looks up the size and the date of each image; None: nothing is looked up.
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
        for row in rows:  # the same rows from another format, or with more facts, are the same report
            self._digest.update(json.dumps(row[:6]).encode())
        return columns

    def end(self) -> dict[str, object]:
        """Return what is only known after the last row."""
        return {"labels": list(self._labels), "models": list(self._models), "digest": self._digest.hexdigest()}

    def _label(self, label: str) -> int:
        return self._labels.setdefault(label, len(self._labels))


class Doubtful:
    """Keeps the most doubtful rows that have a label; an image that gave an error is not decoded again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[bool, float, int, str]] = []  # the least doubtful of them is at its top

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
        """Return (number, path) of each, most doubtful first."""
        return [(-number, path) for _, _, number, path in sorted(self._heap, reverse=True)]


def _finite(share: float | None) -> float | None:
    """Return a share as JSON can have it: somebody else's CSV may say `nan`."""
    return share if share is not None and math.isfinite(share) else None
