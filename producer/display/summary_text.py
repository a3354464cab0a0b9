"""Texts for a terminal: the summary of a run, one job, dead letters."""

import shlex
from collections.abc import Sequence

from pigeonhole.errors import ErrorKind
from pigeonhole.jobs.submitter import no_submitter
from pigeonhole.jobs.summary import Summary, duration
from pigeonhole.ledger.dead_letters import DeadLetter
from pigeonhole.ledger.status import JobStatus
from pigeonhole.text import counted, printable, span, timestamp
from producer.jobs.table import sources_text

#: Number of labels in the summary; `--json` has all of them.
TOP_LABELS = 10
#: Number of SOURCEs in `status JOB`; `--json` has all of them.
TOP_SOURCES = 5


def summary_text(summary: Summary, status: JobStatus, startup_seconds: float) -> str:
    """Return the summary of a run in a few lines.

    Args:
        summary: counters of the run's rows.
        status: status of the finished job.
        startup_seconds: time to start the embedded Redis and workers, in seconds; 0 with a broker.
    """
    seconds, confidence = duration(status), summary.mean_confidence
    speed = f"{(summary.images - summary.kept) / seconds:,.0f} images/s" if seconds else "at once"
    kept = f", {summary.kept:,} of them kept," if summary.kept else ""
    startup = f"; start-up took {startup_seconds:.1f} s" if startup_seconds else ""
    mean = "" if confidence is None else f"; mean confidence {confidence:.3f}"
    labels, errors = counted(summary.labelled, "label"), counted(summary.errors.total(), "error")
    unlabelled = f", {summary.unlabelled:,} without a label" if summary.unlabelled else ""
    unknown = f", {summary.unknown:,} unknown" if summary.unknown else ""
    lines = [
        f"{counted(summary.images, 'image')}, all of them kept"
        if summary.kept == summary.images > 0
        else f"{counted(summary.images, 'image')}{kept} in {seconds:.1f} s ({speed}{startup})",
        f"{labels}{unlabelled}, {errors}, {summary.reviews:,} to review{unknown}{mean}",
    ]
    if summary.labels:
        first = [f"{printable(label)}: {count:,}" for label, count in summary.labels.most_common(TOP_LABELS)]
        more = len(summary.labels) - len(first)
        lines.append("labels: " + ", ".join(first) + (f", and {more:,} more" if more else ""))
    if summary.errors:
        kinds = [
            f"{count:,} {printable(kind)} ({printable(summary.examples[kind])})"
            for kind, count in summary.errors.most_common()
        ]
        lines.append("errors: " + ", ".join(kinds))
    lines.append(summary.skipped.text())
    return "\n".join([*filter(None, lines), _models_text(summary)])


def next_text(summary: Summary, file: str | None) -> str:
    """Return where the rows are and what to do next, or what to do if no image was found.

    Args:
        summary: counters of the run's rows.
        file: the file with the rows; None: there is none.
    """
    lines = []
    if summary.errors[ErrorKind.MISSING] == summary.images > 0:
        example = shlex.quote(summary.examples[ErrorKind.MISSING])
        lines.append(
            "The workers found none of the images. If they see your images under another path, set "
            f"PIGEONHOLE_IMAGE_ROOT on each side; `pigeonhole doctor {example}` checks it."
        )
    if summary.unknown > summary.labelled / 2:
        lines.append(
            "Most images belong to none of the model's classes. Choose another model with `--model`, or make one with "
            "`pigeonhole train` or `pigeonhole import`."
        )
    if file is not None:
        report = "" if summary.errors.total() == summary.images else f" Next: pigeonhole report {shlex.quote(file)}"
        lines.append(f"Wrote {file} ({counted(summary.images, 'row')}).{report}")
    return "\n".join(lines)


def _models_text(summary: Summary) -> str:
    """Return the models of a run and, if there are several, the number of rows of each."""
    if len(summary.models) < 2:
        return f"by {', '.join(map(printable, summary.models))}"
    shares = " and ".join(f"{count:,} by {printable(model)}" for model, count in sorted(summary.models.items()))
    return f"by {len(summary.models)} different checkpoints: {shares}"


def job_text(status: JobStatus, workers: int) -> str:
    """Return one job in full, a line for each field.

    Args:
        status: status of the job.
        workers: number of workers for its model.
    """
    speed = status.images_per_second
    lines = {
        "job": status.job,
        "state": _state_text(status),
        "model": status.model,
        "sources": sources_text(status.sources, TOP_SOURCES),
        "created": f"{timestamp(status.created)}, {span(status.age)} ago",
        "finished": timestamp(status.finished) if status.finished else "",
        "images": f"{status.images:,}{' so far' if status.submitting else ''}",
        "done": f"{status.done:,}",
        "labels": f"{status.labels:,}",
        "errors": f"{status.errors:,}",
        "to review": f"{status.reviews:,}",
        "batches": f"{status.batches:,}: {status.batches_waiting:,} waiting, {status.batches_claimed:,} with workers",
        "images/s": "" if speed is None else f"{speed:,.0f}",
        "workers": "" if status.over else f"{workers:,}",
    }
    return "\n".join(f"{name:10}{printable(value)}" for name, value in lines.items() if value)


def _state_text(status: JobStatus) -> str:
    if not status.submitting or status.over:
        return status.state
    return f"{status.state}, {'submitting' if status.silent is None else 'not all submitted'}"


def problems_of(status: JobStatus, workers: int) -> list[str]:
    """Return the problems that delay a job, a sentence each, with what to do.

    Args:
        status: status of the job.
        workers: number of workers for its model.
    """
    found = []
    if status.silent is not None:
        found.append(no_submitter(status))
    pending = status.batches_waiting + status.batches_claimed
    if pending and not workers and not status.over:
        return [*found, f"job {status.job}: no worker for the model {status.model!r}. Start one: `pigeonhole worker`"]
    if status.stalled is not None:
        batches = f"{status.batches_waiting:,} batches waiting, {status.batches_claimed:,} with workers"
        found.append(f"job {status.job}: no batch done for {span(status.stalled)} ({batches}): see `pigeonhole doctor`")
    if status.starving:
        found.append(f"job {status.job}: slow, because other jobs go first; more workers would help")
    if status.untried and not status.over:
        times = counted(status.untried, "time")
        found.append(f"job {status.job}: the isolation run of an image could not start, {times}: see the workers' logs")
    return found


def sweep_text(age: float | None) -> str:
    """Return how long ago the last sweep was.

    Args:
        age: in seconds; None: no sweep is on record.
    """
    return "last sweep: none on record" if age is None else f"last sweep: {span(age)} ago"


def dead_letters_text(letters: Sequence[DeadLetter]) -> str:
    """Return the latest dead letters and their reasons."""
    what = "a batch" if len(letters) == 1 else "batches"
    lines = [f"{counted(len(letters), 'dead letter')} ({what} that no worker could finish); the latest:"]
    lines += [
        f"  {timestamp(letter.seen)}  {printable(letter.what)}: {printable(letter.why)}" for letter in letters[-5:]
    ]
    return "\n".join(lines)
