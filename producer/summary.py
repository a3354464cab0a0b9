"""What is said of a job, when it is over and before."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from rich.table import Table
from rich.text import Text

from producer.sinks import printable
from worker.contract.dead_letters import DeadLetter
from worker.contract.jobs import JobStatus
from worker.contract.messages import Prediction

_MODEL, _ERROR, _REVIEW = attrgetter("model"), attrgetter("error"), attrgetter("review")


@dataclass
class Summary:
    """Counts rows as they pass by."""

    models: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    reviews: int = 0
    images: int = 0
    kept: int = 0

    def keep(self, row: Prediction) -> None:
        """Count a row that an earlier run made."""
        self.add([row])
        self.kept += 1

    def add(self, rows: Sequence[Prediction]) -> None:
        """Count some rows."""
        self.images += len(rows)
        self.models.update(map(_MODEL, rows))
        self.errors.update(error.partition(":")[0] for error in map(_ERROR, rows) if error)
        self.reviews += sum(map(_REVIEW, rows))

    def of_rows(self, status: JobStatus) -> JobStatus:
        """Give what is said of a job with the counts of these rows, and the checkpoints that made them."""
        return replace(
            status,
            model=", ".join(sorted(filter(None, self.models))) or status.model,
            images=self.images,
            done=self.images,
            errors=self.errors.total(),
            reviews=self.reviews,
        )

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
            "kept": self.kept,
            "labels": self.images - self.errors.total(),
            "errors": self.errors.total(),
            "errors_by_kind": dict(sorted(self.errors.items())),
            "reviews": self.reviews,
            "seconds": round(seconds, 3),
            "images_per_second": round((self.images - self.kept) / seconds, 1) if seconds else None,
            "startup_seconds": round(startup_seconds, 3),
            "model": ", ".join(sorted(self.models)),
        }

    def to_text(self, status: JobStatus, startup_seconds: float) -> str:
        """Give the summary in two or three lines for a person."""
        errors = self.errors.total()
        seconds = duration(status)
        speed = f"{(self.images - self.kept) / seconds:,.0f} images/s" if seconds else "at once"
        kept = f", {self.kept:,} of them kept," if self.kept else ""
        startup = f"; start-up took {startup_seconds:.1f} s" if startup_seconds else ""
        lines = [
            f"{counted(self.images, 'image')}{kept} in {seconds:.1f} s ({speed}{startup})",
            f"{counted(self.images - errors, 'label')}, {counted(errors, 'error')}, {self.reviews:,} to review",
        ]
        if errors:
            lines.append(
                "errors: " + ", ".join(f"{count} {printable(kind)}" for kind, count in self.errors.most_common())
            )
        lines.append(f"by {', '.join(printable(model) for model in sorted(self.models))}")
        return "\n".join(lines)


def duration(status: JobStatus) -> float:
    """Give the seconds from a job's first claim to its end, or to now's last word; 0 before the first."""
    if status.started is None or status.finished is None:
        return 0.0
    return max(0.0, status.finished - status.started)


def job_text(status: JobStatus) -> str:
    """Give one job in full, a line for each thing there is to say."""
    seconds = duration(status)
    lines = {
        "job": status.job,
        "state": status.state,
        "model": status.model,
        "sources": " ".join(status.sources),
        "created": _when(status.created),
        "finished": _when(status.finished) if status.finished else "",
        "images": f"{status.images:,}" + (" so far: it is open" if status.state == "open" else ""),
        "done": f"{status.done:,}",
        "labels": f"{status.labels:,}",
        "errors": f"{status.errors:,}",
        "to review": f"{status.reviews:,}",
        "batches": f"{status.batches:,}: {status.batches_waiting:,} wait, {status.batches_claimed:,} in hand",
        "images/s": f"{status.done / seconds:,.0f}" if seconds else "",
    }
    return "\n".join(f"{name:10}{printable(value)}" for name, value in lines.items() if value)


def jobs_table(statuses: Sequence[JobStatus]) -> Table:
    """Give all jobs as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("job", "state", "model", "images", "done", "errors", "review"):
        table.add_column(name, justify="left" if name in ("job", "state", "model") else "right", no_wrap=True)
    for status in statuses:
        counts = (status.images, status.done, status.errors, status.reviews)
        names = (Text(printable(name)) for name in (status.job, status.state, status.model))
        table.add_row(*names, *(f"{count:,}" for count in counts))
    return table


def dead_letters_text(letters: Sequence[DeadLetter]) -> str:
    """Give the last things that could not be understood, and why."""
    lines = [f"{counted(len(letters), 'thing')} came over Redis that nobody understands; the last:"]
    lines += [f"  {_when(letter.seen)}  {printable(letter.what)}: {printable(letter.why)}" for letter in letters[-5:]]
    return "\n".join(lines)


def minute(seconds: float) -> str:
    """Give a time since the epoch as one that a person can place."""
    return _when(seconds)[: -len(":00")]


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def counted(number: int, noun: str) -> str:
    """Give a number of things in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
