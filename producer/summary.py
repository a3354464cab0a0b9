"""What is said of a job, when it is over and before."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from rich.table import Table
from rich.text import Text

from worker.contract.dead_letters import DeadLetter
from worker.contract.jobs import JobStatus
from worker.contract.messages import Prediction
from worker.contract.text import printable

#: So many labels are counted in the closing words; `--json` has them all.
TOP_LABELS = 10
_LABEL, _CONFIDENCE, _REVIEW, _ERROR, _MODEL = map(attrgetter, ("label", "confidence", "review", "error", "model"))


@dataclass
class Summary:
    """Counts rows as they pass by.

    Args:
        models: rows by the checkpoint that answered.
        labels: images by label; those with an error have none.
        errors, examples: errors by kind, and the first path of each kind.
        confidence: the sum of all labels'.
        reviews: labels that are marked for review.
        images: all rows, and
        kept: those of them that an earlier run made.
    """

    models: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    confidence: float = 0.0
    reviews: int = 0
    images: int = 0
    kept: int = 0

    def keep(self, row: Prediction) -> None:
        """Count a row that an earlier run made."""
        self.images += 1
        self.kept += 1
        self.models[row.model] += 1
        if row.error:
            self._fail(row)
        else:
            self.labels[row.label] += 1
            self.confidence += row.confidence or 0.0
            self.reviews += row.review

    def add(self, rows: Sequence[Prediction]) -> None:
        """Count some rows; the loops are C's, since this is done for each of them."""
        self.images += len(rows)
        self.models.update(map(_MODEL, rows))
        self.labels.update(filter(None, map(_LABEL, rows)))
        self.confidence += sum(filter(None, map(_CONFIDENCE, rows)))
        self.reviews += sum(map(_REVIEW, rows))
        for row in filter(_ERROR, rows):
            self._fail(row)

    @property
    def labelled(self) -> int:
        """How many images have a label."""
        return self.images - self.errors.total()

    @property
    def mean_confidence(self) -> float | None:
        """The mean of all labels' confidences; None where there is no label."""
        return self.confidence / self.labelled if self.labelled else None

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
        seconds, confidence = duration(status), self.mean_confidence
        return {
            "job": status.job,
            "images": self.images,
            "kept": self.kept,
            "labels": self.labelled,
            "images_by_label": dict(self.labels.most_common()),
            "mean_confidence": None if confidence is None else round(confidence, 6),
            "reviews": self.reviews,
            "errors": self.errors.total(),
            "errors_by_kind": dict(sorted(self.errors.items())),
            "error_examples": dict(sorted(self.examples.items())),
            "seconds": round(seconds, 3),
            "images_per_second": round((self.images - self.kept) / seconds, 1) if seconds else None,
            "startup_seconds": round(startup_seconds, 3),
            "model": ", ".join(sorted(self.models)),
            "images_by_model": dict(sorted(self.models.items())),
        }

    def to_text(self, status: JobStatus, startup_seconds: float) -> str:
        """Give the summary in a few lines for a person."""
        seconds, confidence = duration(status), self.mean_confidence
        speed = f"{(self.images - self.kept) / seconds:,.0f} images/s" if seconds else "at once"
        kept = f", {self.kept:,} of them kept," if self.kept else ""
        startup = f"; start-up took {startup_seconds:.1f} s" if startup_seconds else ""
        mean = "" if confidence is None else f"; mean confidence {confidence:.3f}"
        labels, errors = counted(self.labelled, "label"), counted(self.errors.total(), "error")
        lines = [
            f"{counted(self.images, 'image')}{kept} in {seconds:.1f} s ({speed}{startup})",
            f"{labels}, {errors}, {self.reviews:,} to review{mean}",
        ]
        if self.labels:
            first = [f"{printable(label)}: {count:,}" for label, count in self.labels.most_common(TOP_LABELS)]
            more = len(self.labels) - len(first)
            lines.append("labels: " + ", ".join(first) + (f", and {more:,} more" if more else ""))
        if self.errors:
            kinds = [
                f"{count:,} {printable(kind)} ({printable(self.examples[kind])})"
                for kind, count in self.errors.most_common()
            ]
            lines.append("errors: " + ", ".join(kinds))
        return "\n".join([*lines, self._by()])

    def _fail(self, row: Prediction) -> None:
        kind = row.error.partition(":")[0]
        self.errors[kind] += 1
        self.examples.setdefault(kind, row.path)

    def _by(self) -> str:
        """Say who answered; where that changed in the middle, the rows may not be of one mind."""
        if len(self.models) < 2:
            return f"by {', '.join(map(printable, self.models))}"
        shares = " and ".join(f"{count:,} by {printable(model)}" for model, count in sorted(self.models.items()))
        return f"answered by {len(self.models)} different checkpoints: {shares}"


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
