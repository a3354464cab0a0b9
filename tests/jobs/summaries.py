"""Summaries of jobs with rows of each kind."""

from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row

MODEL = "digits@0123456789ab"


def status(**changes: object) -> JobStatus:
    known: dict[str, object] = {"job": "20270115-080000-abc123", "state": JobState.FINISHED, "model": "digits"}
    times = {"created": 1000.0, "started": 1010.0, "finished": 1012.5}
    return JobStatus(**(known | times | changes))  # type: ignore[arg-type]


def rows(labels: int = 0, reviews: int = 0, errors: tuple[str, ...] = ()) -> list[Row]:
    label = Row("a.png", "7", 0.9, False, "", MODEL, (("7", 0.9),))
    return [
        *[label] * labels,
        *[label._replace(review=True)] * reviews,
        *[Row("x.png", "", None, False, f"{kind}: why: because", MODEL, ()) for kind in errors],
    ]


def summary(*parts: list[Row]) -> Summary:
    made = Summary()
    for part in parts:
        made.add(part)
    return made
