"""The Python interface with a shared broker; tests/e2e tests it with embedded workers."""

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole import Client, Rows
from pigeonhole.errors import JobCancelled, SourceError, UnknownJob, UsageError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.settings import Settings
from pigeonhole.version import install_hint
from tests.conftest import wait_for
from tests.jobs.client.conftest import PATHS
from tests.ledger.conftest import answers_for
from tests.messages import check_message
from tests.sources.conftest import touch

#: More entries than are read ahead before the first batch.
MANY = 4 * PATHS


# classify


@pytest.mark.parametrize("sources", ["photos", Path("photos"), ["photos"], [Path("photos/"), "photos/00*"]])
def test_rows_come_in_the_order_of_the_files(client: Client, photos: Path, answering: None, sources: object) -> None:
    rows = client.classify(sources)  # type: ignore[arg-type]
    assert [row.path for row in rows] == PATHS
    assert next(iter(rows)) == Row(PATHS[0], "1", 0.9, False, "", "digits@0123456789ab", (("1", 0.9), ("0", 0.1)))


def test_each_reading_of_a_job_may_set_its_own_review_threshold(client: Client, photos: Path, answering: None) -> None:
    job = client.classify("photos", review_below=0.95).job
    for rows in (client.wait(job, review_below=0.95), client.results(job, review_below=0.95)):
        assert all(row.review for row in rows)
        assert rows.summary.reviews == len(PATHS)
    assert not any(row.review for row in client.rows(job, review_below=0.9))
    assert not any(row.review for row in client.rows(job))


@pytest.mark.parametrize("below", [-0.01, 1.01, 95, float("nan")])
def test_an_invalid_review_threshold_is_refused_before_anything_is_submitted(
    client: Client, photos: Path, below: float
) -> None:
    for method in (client.classify, client.rows, client.wait, client.results):
        with pytest.raises(UsageError) as error:
            method("photos", review_below=below)
        check_message(error.value, f"{below} is not a confidence", "from 0 to 1")
    assert client.jobs() == []


def test_rows_can_be_iterated_twice_and_counted(client: Client, photos: Path, answering: None) -> None:
    rows = client.classify("photos")
    assert repr(rows) == f"<Rows of job {rows.job}>"
    for _ in range(2):
        assert len(list(rows)) == len(PATHS)
        assert rows.summary.labels == {"1": len(PATHS)}
    assert [len(batch) for batch in rows.batches()] == [64, 64, 22]
    assert client.status(rows.job).state == "finished"


@pytest.fixture
def feed(photos: Path) -> Iterator[Callable[[list[str]], None]]:
    """Yield a function that writes paths to the list `@list`; without paths, it ends the list."""
    os.mkfifo("list")
    pipe = [os.open("list", os.O_RDWR)]

    def write(paths: list[str]) -> None:
        if paths:
            os.write(pipe[0], "".join(f"{path}\n" for path in paths).encode())
        else:
            os.close(pipe.pop())

    yield write
    for opened in pipe:
        os.close(opened)


def test_a_client_that_closes_early_still_submits_the_whole_list(
    settings: Settings, feed: Callable[[list[str]], None], answering: None
) -> None:
    feed(MANY)
    with Client(settings=settings) as client:
        rows = client.classify("@list")
        assert next(iter(rows)).path == PATHS[0]
        for seconds, more in ((0.1, MANY), (0.2, [])):
            threading.Timer(seconds, feed, [more]).start()
    ledger = Ledger(settings)
    assert ledger.status(rows.job).images == 2 * len(MANY)
    wait_for(lambda: ledger.status(rows.job).state == "finished", "the end of the job")


def test_a_keyboard_interrupt_does_not_wait_for_the_submission(
    settings: Settings, feed: Callable[[list[str]], None]
) -> None:
    feed(MANY)
    jobs = []

    def interrupted() -> None:
        with Client(settings=settings) as client:
            jobs.append(client.classify("@list").job)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    ledger, (job,) = Ledger(settings), jobs
    assert ledger.status(job).submitting
    feed([])
    wait_for(lambda: not ledger.status(job).submitting, "the end of the submission")


@pytest.fixture
def breaking(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a list that has an invalid entry after its first hundred paths."""
    Path("list").write_bytes("".join(f"{path}\n" for path in PATHS[:100]).encode() + b"\0\n")


def test_an_error_of_the_submission_is_raised_by_the_rows(client: Client, breaking: None, answering: None) -> None:
    rows = client.classify("@list")
    with pytest.raises(SourceError, match=r"'@list'.* with -0 "):
        list(rows)
    client.close()  # the error is raised once


def test_an_error_of_the_submission_is_raised_when_the_client_closes(settings: Settings, breaking: None) -> None:
    with pytest.raises(SourceError, match=r"'@list'.* with -0 "), Client(settings=settings) as client:
        client.classify("@list")


# submit, wait and the others


def test_a_job_is_submitted_waited_for_and_deleted(client: Client, photos: Path, answering: None) -> None:
    job = client.submit("photos")
    assert client.status(job).images == len(PATHS)
    for rows in (client.wait(job), client.rows(job), client.results(job)):
        assert isinstance(rows, Rows)
        assert [row.path for row in rows] == PATHS
    assert [status.job for status in client.jobs()] == [job]
    client.delete(job)
    for method in (client.status, client.wait, client.rows, client.results, client.cancel, client.delete):
        with pytest.raises(UnknownJob):
            method(job)


def test_waiting_for_a_cancelled_job_raises_an_error(client: Client, photos: Path) -> None:
    job = client.submit("photos")
    assert list(client.results(job)) == []
    client.cancel(job)
    for wait in (client.wait, lambda job: list(client.rows(job))):
        with pytest.raises(JobCancelled):
            wait(job)


def test_the_error_of_a_failed_submission_names_the_job_to_resume(client: Client, breaking: None) -> None:
    with pytest.raises(SourceError) as error:
        client.submit("@list")
    (status,) = client.jobs()
    (note,) = error.value.__notes__
    check_message(note, f"job {status.job}", f"submit(…, job={status.job!r})")
    Path("list").write_text("".join(f"{path}\n" for path in PATHS))
    assert client.submit("@list", job=status.job) == status.job
    assert client.status(status.job).images == len(PATHS)


def test_a_missing_source_creates_no_job(client: Client, folder: Path) -> None:
    for method in (client.classify, client.submit):
        with pytest.raises(SourceError, match=r"^'gone': "):
            method("gone")
    assert client.jobs() == []


def test_a_closed_client_refuses_every_call(settings: Settings) -> None:
    client = Client(settings=settings)
    job = Ledger(settings).create("digits", ("in",))
    rows = client.rows(job)
    client.close()
    client.close()
    for method in (client.jobs, lambda: list(rows), lambda: client.submit(__file__)):
        with pytest.raises(UsageError, match=r"Client is closed.* make a new one"):
            method()


# to_pandas


def test_rows_convert_to_a_pandas_table(client: Client, ledger: Ledger, folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    touch("in/a.png", "in/b.png", os.fsencode(f"in/{name}"))
    rows = client.classify("in")
    wait_for(lambda: not client.status(rows.job).submitting, "the end of the submission")
    (piece,) = ledger.pending(rows.job)
    batch = ledger.claim(rows.job, piece)
    assert batch is not None
    ledger.commit(rows.job, piece, replace(answers_for(batch), errors={1: ("broken", "why")}))
    frame = rows.to_pandas()
    assert list(frame.columns) == list(Row._fields)
    assert list(frame.path) == ["in/a.png", "in/b.png", f"in/{name}"]
    assert list(frame.label) == ["1", None, "1"]
    assert frame.confidence.mean() == 0.9
    assert frame.review.sum() == 0
    assert list(frame.error) == ["", "broken: why", ""]
    assert frame[frame.label.isna()].path.tolist() == ["in/b.png"]
    assert frame.dtypes.astype(str).to_dict() | {"confidence": "float64", "review": "bool"} == (
        frame.dtypes.astype(str).to_dict()
    )


def test_no_rows_convert_to_an_empty_table(client: Client, ledger: Ledger) -> None:
    job = ledger.create("digits", ())
    ledger.close(job, 0)
    frame = client.rows(job).to_pandas()
    assert (len(frame), list(frame.columns)) == (0, list(Row._fields))


def test_without_pandas_the_error_has_the_command_to_install_it(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=rf"to_pandas.*{re.escape(install_hint('pandas'))}"):
        client.results(ledger.create("digits", ())).to_pandas()
