"""What is said when a job is over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.contract.ledger import JobStatus
from worker.contract.messages import Prediction


@dataclass
class Summary:
    """Counts rows as they pass by."""

    models: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    reviews: int = 0
    images: int = 0

    def add(self, rows: Sequence[Prediction]) -> None:
        """Count some rows."""
        self.images += len(rows)
        self.models.update(row.model for row in rows)
        self.errors.update(row.error.partition(":")[0] for row in rows if row.error)
        self.reviews += sum(row.review for row in rows)

    def to_json(self, status: JobStatus, startup_seconds: float) -> dict[str, object]:
        """Give the summary as `--json` prints it.

        Args:
            status: the job's, at its end.
            startup_seconds: what starting the embedded Redis and workers took; not counted in the rate.
        """
        seconds = duration(status)
        return {
            "job": status.job,
            "images": self.images,
            "labels": self.images - self.errors.total(),
            "errors": self.errors.total(),
            "errors_by_kind": dict(sorted(self.errors.items())),
            "reviews": self.reviews,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 1) if seconds else None,
            "startup_seconds": round(startup_seconds, 3),
            "model": ", ".join(sorted(self.models)),
        }

    def to_text(self, status: JobStatus, startup_seconds: float) -> str:
        """Give the summary in two or three lines for a person."""
        errors = self.errors.total()
        seconds = duration(status)
        speed = f"{self.images / seconds:,.0f} images/s" if seconds else "at once"
        startup = f"; start-up took {startup_seconds:.1f} s" if startup_seconds else ""
        lines = [
            f"{_count(self.images, 'image')} in {seconds:.1f} s ({speed}{startup})",
            f"{_count(self.images - errors, 'label')}, {_count(errors, 'error')}, {self.reviews:,} to review",
        ]
        if errors:
            lines.append("errors: " + ", ".join(f"{count} {kind}" for kind, count in self.errors.most_common()))
        lines.append(f"by {', '.join(sorted(self.models))}")
        return "\n".join(lines)


def duration(status: JobStatus) -> float:
    """Give the seconds from a job's first claim to its end, or to now's last word; 0 before the first."""
    if status.started is None or status.finished is None:
        return 0.0
    return max(0.0, status.finished - status.started)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
