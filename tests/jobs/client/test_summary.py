"""The summary at the end of a run, and the texts of `pigeonhole status`."""

import json
from dataclasses import replace

import pytest

from pigeonhole.jobs.summary import duration
from pigeonhole.ledger.status import JobState
from pigeonhole.text import timestamp
from producer.display.summary_text import TOP_LABELS, job_text, next_text, problems_of, summary_text, sweep_text
from tests.jobs.summaries import MODEL, rows, status, summary
from tests.messages import check_message


def test_a_summary_counts_images_labels_errors_and_reviews() -> None:
    made = summary(rows(labels=1500), rows(reviews=2, errors=("broken", "missing", "broken")))
    assert summary_text(made, status(), 0.0) == (
        "1,505 images in 2.5 s (602 images/s)\n"
        "1,502 labels, 3 errors, 2 to review; mean confidence 0.900\n"
        "labels: 7: 1,502\n"
        "errors: 2 broken (x.png), 1 missing (x.png)\n"
        "by digits@0123456789ab"
    )


def test_a_summary_without_errors_has_no_error_line_and_uses_the_singular() -> None:
    assert summary_text(summary(rows(labels=1)), status(finished=1010.5), 1.26) == (
        "1 image in 0.5 s (2 images/s; start-up took 1.3 s)\n"
        "1 label, 0 errors, 0 to review; mean confidence 0.900\n"
        "labels: 7: 1\n"
        "by digits@0123456789ab"
    )


def test_a_summary_of_zero_seconds_has_no_rate() -> None:
    assert summary_text(summary(rows(labels=1)), status(started=1010.0, finished=1010.0), 0.0).startswith(
        "1 image in 0.0 s (at once)\n"
    )
    assert summary(rows(labels=1)).to_json(status(finished=1010.0), 0.0)["images_per_second"] is None


def test_a_summary_as_json_has_these_keys() -> None:
    made = summary(rows(labels=4, reviews=1, errors=("missing", "broken", "missing")))
    made.skipped.add("notes.txt")
    values = made.to_json(status(), 1.23456)
    assert json.loads(json.dumps(values)) == {
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


def test_the_last_line_names_the_file_of_rows_and_the_next_command() -> None:
    made = summary(rows(labels=2, errors=("missing",)))
    assert next_text(made, "my rows.csv") == "Wrote my rows.csv (3 rows). Next: pigeonhole report 'my rows.csv'"
    assert next_text(made, None) == ""


def test_a_majority_of_unknown_images_suggests_another_model() -> None:
    known, unknown = rows(labels=2), [row._replace(unknown=0.5, review=True) for row in rows(labels=3)]
    assert ", 3 to review, 3 unknown; " in summary_text(summary(known, unknown), status(), 0.0)
    assert "`--model`" in next_text(summary(known, unknown), None)
    assert next_text(summary(known, known, unknown), None) == ""
    assert summary([unknown[0]._replace(unknown=0.499999), unknown[1]._replace(review=False)]).unknown == 0


def test_if_every_image_is_missing_the_summary_names_the_image_root() -> None:
    text = next_text(summary(rows(errors=("missing", "missing"))), "x.csv")
    assert "PIGEONHOLE_IMAGE_ROOT" in text
    assert "`pigeonhole doctor x.png`" in text
    assert text.endswith("Wrote x.csv (2 rows).")
    assert "PIGEONHOLE_IMAGE_ROOT" not in next_text(summary(rows(labels=1, errors=("missing",))), "x.csv")


def test_a_summary_of_two_checkpoints_counts_the_images_of_each() -> None:
    other = [row._replace(model="digits@ba9876543210") for row in rows(labels=1)]
    made = summary(rows(labels=1500), other)
    assert made.to_json(status(), 0.0)["model"] == f"{MODEL}, digits@ba9876543210"
    assert made.to_json(status(), 0.0)["images_by_model"] == {MODEL: 1500, "digits@ba9876543210": 1}
    assert summary_text(made, status(), 0.0).splitlines()[-1] == (
        f"by 2 different checkpoints: 1,500 by {MODEL} and 1 by digits@ba9876543210"
    )


def test_the_text_lists_the_most_frequent_labels_and_the_json_lists_all() -> None:
    some = [row._replace(label=f"l{number:02}") for number in range(12) for row in rows(labels=20 - number)]
    made = summary(some)
    (line,) = (line for line in summary_text(made, status(), 0.0).splitlines() if line.startswith("labels: "))
    assert line == f"labels: {', '.join(f'l{number:02}: {20 - number}' for number in range(TOP_LABELS))}, and 2 more"
    by_label = made.to_json(status(), 0.0)["images_by_label"]
    assert by_label == {f"l{number:02}": 20 - number for number in range(12)}


def test_each_error_kind_has_its_first_path_as_an_escaped_example() -> None:
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
def test_the_duration_of_a_job_is_from_its_first_claim_to_its_end(
    times: dict[str, float | None], seconds: float
) -> None:
    assert duration(status(**times)) == seconds


def test_the_text_of_a_job_has_a_line_for_each_field(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = job_text(
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
    assert {line[:10].rstrip(): line[10:] for line in lines if not line.startswith(("created", "finished"))} == {
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


def test_the_text_of_an_open_job_shows_its_submission_and_its_workers() -> None:
    queued = status(state=JobState.QUEUED, submitting=True, started=None, finished=None, images=3)
    text = job_text(queued, 2)
    assert "state     queued, submitting\n" in text
    assert "images    3 so far" in text
    assert "workers   2" in text
    assert "finished " not in text
    assert "images/s" not in text
    silent = job_text(replace(queued, state=JobState.RUNNING, submitter_seen=1000.0, read_at=1060.0), 2)
    assert "state     running, not all submitted\n" in silent


def test_each_problem_of_a_job_is_reported_with_a_remedy() -> None:
    job = status().job
    assert problems_of(status(read_at=1e6), 0) == []
    open_ = status(state=JobState.RUNNING, submitting=True, sources=("in",), submitter_seen=1000.0, read_at=1060.0)
    (problem,) = problems_of(open_, 1)
    check_message(problem, timestamp(1000.0), f"`pigeonhole submit --job {job} in`", f"`pigeonhole cancel {job}`")
    stalled, slow, untried = problems_of(
        status(state=JobState.RUNNING, progressed=1000.0, read_at=1300.0, batches_waiting=3, starving=True, untried=2),
        1,
    )
    check_message(stalled, f"job {job}", "5 min", "3 batches waiting, 0 with workers", "`pigeonhole doctor`")
    check_message(slow, f"job {job}", "more workers")
    check_message(untried, f"job {job}", "isolation run", "2 times", "workers' logs")
    assert [sweep_text(age) for age in (None, 3.2, 100_000)] == [
        *("last sweep: none on record", "last sweep: 3 s ago", "last sweep: 28 h ago")
    ]


def test_a_missing_worker_is_the_only_problem_that_is_reported() -> None:
    queued = status(state=JobState.QUEUED, model="hands", progressed=1000.0, read_at=1300.0, batches_waiting=3)
    (problem,) = problems_of(replace(queued, starving=True), 0)
    check_message(problem, f"job {queued.job}", "'hands'", "`pigeonhole worker`")


def test_a_summary_counts_kept_rows_and_leaves_them_out_of_the_rate() -> None:
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
    values = made.to_json(status(), 0.0)
    assert (values["images"], values["kept"], values["images_per_second"]) == (1501, 1001, 200.0)
