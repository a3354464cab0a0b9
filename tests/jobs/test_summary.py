import json
from dataclasses import replace

import pytest

from pigeonhole.jobs.summary import Summary, duration
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.text import timestamp
from producer.display.summary_text import TOP_LABELS, job_text, next_text, problems_of, summary_text, sweep_text

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


def test_a_summary_tells_images_labels_errors_and_reviews() -> None:
    made = summary(rows(labels=1500), rows(reviews=2, errors=("broken", "missing", "broken")))
    assert summary_text(made, status(), 0.0) == (
        "1,505 images in 2.5 s (602 images/s)\n"
        "1,502 labels, 3 errors, 2 to review; mean confidence 0.900\n"
        "labels: 7: 1,502\n"
        "errors: 2 broken (x.png), 1 missing (x.png)\n"
        "by digits@0123456789ab"
    )


def test_a_summary_without_errors_lists_none_and_counts_one_as_one() -> None:
    assert summary_text(summary(rows(labels=1)), status(finished=1010.5), 1.26) == (
        "1 image in 0.5 s (2 images/s; start-up took 1.3 s)\n"
        "1 label, 0 errors, 0 to review; mean confidence 0.900\n"
        "labels: 7: 1\n"
        "by digits@0123456789ab"
    )


def test_a_summary_of_no_time_has_no_rate() -> None:
    assert summary_text(summary(rows(labels=1)), status(started=1010.0, finished=1010.0), 0.0).startswith(
        "1 image in 0.0 s (at once)\n"
    )
    assert summary(rows(labels=1)).to_json(status(finished=1010.0), 0.0)["images_per_second"] is None


def test_a_summary_as_json_has_these_keys() -> None:
    made = summary(rows(labels=4, reviews=1, errors=("missing", "broken", "missing")))
    made.skipped.add("notes.txt")
    said = made.to_json(status(), 1.23456)
    assert json.loads(json.dumps(said)) == {
        "job": "20270115-080000-abc123",
        "images": 8,
        "kept": 0,
        "labels": 5,
        "unlabelled": 0,
        "images_by_label": {"7": 5},
        "mean_confidence": 0.9,
        "reviews": 1,
        "unknown": 0,
        "errors": 3,
        "errors_by_kind": {"broken": 1, "missing": 2},
        "error_examples": {"broken": "x.png", "missing": "x.png"},
        "skipped": {".txt": 1},
        "seconds": 2.5,
        "images_per_second": 3.2,
        "startup_seconds": 1.235,
        "model": MODEL,
        "images_by_model": {MODEL: 8},
    }


def test_a_run_ends_with_where_the_rows_are_and_what_to_do_next() -> None:
    made = summary(rows(labels=2, errors=("missing",)))
    assert next_text(made, "my rows.csv") == "Wrote my rows.csv (3 rows). Next: pigeonhole report 'my rows.csv'"
    assert next_text(made, None) == ""


def test_unknown_images_are_counted_and_most_of_them_call_for_another_model() -> None:
    known, unknown = rows(labels=2), [row._replace(unknown=0.5, review=True) for row in rows(labels=3)]
    assert ", 3 to review, 3 unknown; " in summary_text(summary(known, unknown), status(), 0.0)
    assert "`--model`" in next_text(summary(known, unknown), None)
    assert next_text(summary(known, known, unknown), None) == ""
    assert summary([unknown[0]._replace(unknown=0.499999), unknown[1]._replace(review=False)]).unknown == 0


def test_where_no_image_was_found_the_image_root_is_named() -> None:
    text = next_text(summary(rows(errors=("missing", "missing"))), "x.csv")
    assert "PIGEONHOLE_IMAGE_ROOT" in text
    assert "`pigeonhole doctor x.png`" in text
    assert text.endswith("Wrote x.csv (2 rows).")
    assert "PIGEONHOLE_IMAGE_ROOT" not in next_text(summary(rows(labels=1, errors=("missing",))), "x.csv")


def test_a_job_that_two_checkpoints_answered_says_so_and_which_share_each_has() -> None:
    other = [row._replace(model="digits@ba9876543210") for row in rows(labels=1)]
    made = summary(rows(labels=1500), other)
    assert made.to_json(status(), 0.0)["model"] == f"{MODEL}, digits@ba9876543210"
    assert made.to_json(status(), 0.0)["images_by_model"] == {MODEL: 1500, "digits@ba9876543210": 1}
    assert summary_text(made, status(), 0.0).splitlines()[-1] == (
        f"by 2 different checkpoints: 1,500 by {MODEL} and 1 by digits@ba9876543210"
    )


def test_as_many_labels_are_told_as_fit_and_all_of_them_as_json() -> None:
    some = [row._replace(label=f"l{number:02}") for number in range(12) for row in rows(labels=20 - number)]
    made = summary(some)
    (line,) = (line for line in summary_text(made, status(), 0.0).splitlines() if line.startswith("labels: "))
    assert line == f"labels: {', '.join(f'l{number:02}: {20 - number}' for number in range(TOP_LABELS))}, and 2 more"
    by_label = made.to_json(status(), 0.0)["images_by_label"]
    assert by_label == {f"l{number:02}": 20 - number for number in range(12)}


def test_each_kind_of_error_has_the_first_path_as_its_example_and_a_terminal_obeys_none() -> None:
    broken = rows(errors=("broken",))[0]
    made = summary([broken._replace(path="a\x1b[2J\udcff"), broken])
    assert summary_text(made, status(), 0.0).splitlines()[2] == r"errors: 2 broken (a\x1b[2J\udcff)"
    assert made.to_json(status(), 0.0)["error_examples"] == {"broken": "a\x1b[2J\udcff"}


def test_without_a_label_there_is_no_mean_confidence() -> None:
    made = summary(rows(errors=("broken",)))
    assert made.to_json(status(), 0.0)["mean_confidence"] is None
    assert summary_text(made, status(), 0.0).splitlines()[1] == "0 labels, 1 error, 0 to review"


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ({}, 2.5),
        ({"started": None, "finished": None}, 0.0),
        ({"finished": None}, 0.0),
        ({"started": None}, 0.0),
        ({"finished": 1009.0}, 0.0),
    ],
)
def test_a_job_takes_from_its_first_claim_to_its_end(times: dict[str, float | None], seconds: float) -> None:
    assert duration(status(**times)) == seconds


def test_a_job_in_full_has_a_line_for_each_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = job_text(
        status(
            sources=("in", "b\x1b[2J\udcff"),
            batches=12,
            batches_waiting=3,
            batches_claimed=1,
            images=2000,
            done=1500,
            errors=5,
            reviews=7,
        ),
        0,
    ).splitlines()
    assert {line[:10].rstrip(): line[10:] for line in said if not line.startswith(("created", "finished"))} == {
        "job": "20270115-080000-abc123",
        "state": "finished",
        "model": "digits",
        "sources": r"in b\x1b[2J\udcff",
        "images": "2,000",
        "done": "1,500",
        "labels": "1,495",
        "errors": "5",
        "to review": "7",
        "batches": "12: 3 waiting, 1 with workers",
        "images/s": "600",
    }


def test_a_job_that_is_still_submitted_shows_that_beside_its_state_and_its_workers() -> None:
    queued = status(state=JobState.QUEUED, submitting=True, started=None, finished=None, images=3)
    text = job_text(queued, 2)
    assert "state     queued, submitting\n" in text
    assert "images    3 so far" in text
    assert "workers   2" in text
    assert "finished " not in text
    assert "images/s" not in text
    silent = job_text(replace(queued, state=JobState.RUNNING, submitter_seen=1000.0, read_at=1060.0), 2)
    assert "state     running, not all submitted\n" in silent


def test_what_keeps_a_job_from_its_end_is_said_with_what_to_do() -> None:
    job = status().job
    assert problems_of(status(read_at=1e6), 0) == []
    open_ = status(state=JobState.RUNNING, submitting=True, sources=("in",), submitter_seen=1000.0, read_at=1060.0)
    assert problems_of(open_, 1) == [
        f"the submission of job {job} was cut off at {timestamp(1000.0)}. Submit the rest: `pigeonhole submit --job "
        f"{job} in`, or cancel the job: `pigeonhole cancel {job}`"
    ]
    assert problems_of(
        status(state=JobState.RUNNING, progressed=1000.0, read_at=1300.0, batches_waiting=3, starving=True, untried=2),
        1,
    ) == [
        f"job {job}: no batch done for 5 min (3 batches waiting, 0 with workers): see `pigeonhole doctor`",
        f"job {job}: slow, because other jobs go first; more workers would help",
        f"job {job}: the isolation run of an image could not start, 2 times: see the workers' logs",
    ]
    assert [sweep_text(age) for age in (None, 3.2, 100_000)] == [
        *("last sweep: none on record", "last sweep: 3 s ago", "last sweep: 28 h ago")
    ]


def test_a_job_without_a_worker_is_said_to_have_none_and_nothing_else() -> None:
    queued = status(state=JobState.QUEUED, model="hands", progressed=1000.0, read_at=1300.0, batches_waiting=3)
    assert problems_of(replace(queued, starving=True), 0) == [
        f"job {queued.job}: no worker for the model 'hands'. Start one: `pigeonhole worker`"
    ]


def test_a_summary_tells_how_many_rows_were_kept_and_counts_only_the_others_as_fast() -> None:
    made = summary()
    for row in rows(labels=1000, errors=("broken",)):
        made.keep(row)
    made.add(rows(labels=500))
    assert summary_text(made, status(), 0.0) == (
        "1,501 images, 1,001 of them kept, in 2.5 s (200 images/s)\n"
        "1,500 labels, 1 error, 0 to review; mean confidence 0.900\n"
        "labels: 7: 1,500\n"
        "errors: 1 broken (x.png)\n"
        "by digits@0123456789ab"
    )
    said = made.to_json(status(), 0.0)
    assert (said["images"], said["kept"], said["images_per_second"]) == (1501, 1001, 200.0)
