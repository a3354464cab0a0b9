"""The summary of a run: its rows by label, error and model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.limits import UNKNOWN_FROM
from pigeonhole.sources.skipped import Skipped

# By position, which takes half the time of access by name.
_LABEL, _CONFIDENCE, _REVIEW, _ERROR, _MODEL, _LABELS = (
    itemgetter(Row._fields.index(name)) for name in ("label", "confidence", "review", "error", "model", "labels")
)


@dataclass
class Summary:
    """Counts the rows of a run.

    Args:
        models: the number of rows by model.
        labels: the number of images by label; an image counts for each of its labels.
        unlabelled: the number of images that have neither a label nor an error.
        errors: the number of errors by kind.
        examples: the path of the first error of each kind.
        reviews: the number of rows that are marked for review.
        unknown: the number of images to review whose `unknown` is `UNKNOWN_FROM` or more.
        images: the number of all rows.
        kept: the number of rows that come from an earlier run.
        skipped: the number of files that were skipped, by extension.
    """

    models: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    reviews: int = 0
    unknown: int = 0
    images: int = 0
    kept: int = 0
    skipped: Skipped = field(default_factory=Skipped)
    _confidence: float = field(default=0.0, init=False, repr=False)  # the sum over all images with a label

    def keep(self, row: Row) -> None:
        """Count a row of an earlier run."""
        self.images += 1
        self.kept += 1
        self.models[row.model] += 1
        if row.error:
            self._fail(row)
        else:
            self._label(row)
            self._confidence += row.confidence or 0.0
            self.reviews += row.review
            self.unknown += row.review and (row.unknown or 0.0) >= UNKNOWN_FROM

    def add(self, rows: Sequence[Row]) -> None:
        """Count rows; the loops run in C, for speed."""
        self.images += len(rows)
        self.models.update(map(_MODEL, rows))
        if {*map(_LABELS, rows)} != {None}:  # a multi-label model's
            for row in rows:
                if not row.error:
                    self._label(row)
        else:
            self.labels.update(filter(None, map(_LABEL, rows)))
        self._confidence += sum(filter(None, map(_CONFIDENCE, rows)))
        self.reviews += sum(map(_REVIEW, rows))
        self.unknown += sum((row.unknown or 0.0) >= UNKNOWN_FROM for row in filter(_REVIEW, rows))
        for row in filter(_ERROR, rows):
            self._fail(row)

    @property
    def labelled(self) -> int:
        """The number of images with a label."""
        return self.images - self.errors.total() - self.unlabelled

    @property
    def mean_confidence(self) -> float | None:
        """The mean of all labels' confidences; None where there is no label."""
        return self._confidence / self.labelled if self.labelled else None

    def of_rows(self, status: JobStatus) -> JobStatus:
        """Return a job's status with the counts and the models of these rows."""
        return replace(
            status,
            model=", ".join(sorted(filter(None, self.models))) or status.model,
            images=self.images,
            done=self.images,
            errors=self.errors.total(),
            reviews=self.reviews,
        )

    def to_json(self, status: JobStatus, startup_seconds: float) -> dict[str, object]:
        """Return the summary as `--json` prints it.

        Args:
            status: the job's status at its end.
            startup_seconds: the seconds that the start of the embedded Redis and workers took; not part of the rate.
        """
        seconds, confidence = duration(status), self.mean_confidence
        return {
            "job": status.job,
            "images": self.images,
            "kept": self.kept,
            "labels": self.labelled,
            "unlabelled": self.unlabelled,
            "images_by_label": dict(self.labels.most_common()),
            "mean_confidence": None if confidence is None else round(confidence, 6),
            "reviews": self.reviews,
            "unknown": self.unknown,
            "errors": self.errors.total(),
            "errors_by_kind": dict(sorted(self.errors.items())),
            "error_examples": dict(sorted(self.examples.items())),
            "skipped": dict(self.skipped.most_common()),
            "seconds": round(seconds, 3),
            "images_per_second": round((self.images - self.kept) / seconds, 1) if seconds else None,
            "startup_seconds": round(startup_seconds, 3),
            "model": ", ".join(sorted(self.models)),
            "images_by_model": dict(sorted(self.models.items())),
        }

    def _label(self, row: Row) -> None:
        """Count the labels of a row without an error."""
        self.labels.update((row.label,) if row.labels is None else row.labels)
        self.unlabelled += not row.label

    def _fail(self, row: Row) -> None:
        kind = row.error.partition(":")[0]
        self.errors[kind] += 1
        self.examples.setdefault(kind, row.path)


def duration(status: JobStatus) -> float:
    """Return the seconds from a job's first claim to its end; 0 before its end."""
    if status.started is None or status.finished is None:
        return 0.0
    return max(0.0, status.finished - status.started)
