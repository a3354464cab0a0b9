"""`Rows` as a sequence, as tables, and with progress."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from pigeonhole import Client, Row, Rows
from pigeonhole.errors import BrokerUnreachable, JobCancelled, UsageError
from pigeonhole.jobs.progress import ProgressLine
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.sinks.parquet import Parquet
from pigeonhole.version import install_hint
from tests.jobs.client.conftest import PATHS

ROWS = [Row(f"{number}.png", "1", 0.5, False, "", "digits", ()) for number in range(150)]


def rows_of(*batches: list[Row], read: list[int] | None = None) -> Rows:
    """Return the rows of a job with these batches; the size of each batch that is read is appended to `read`."""

    def batch() -> Iterator[list[Row]]:
        for rows in batches:
            if read is not None:
                read.append(len(rows))
            yield rows

    return Rows("job", batch)


# Length, indices and slices


def test_rows_have_a_length_indices_and_slices(client: Client, photos: Path, answering: None) -> None:
    rows = client.classify("photos")
    assert len(rows) == len(PATHS)
    assert (rows[0].path, rows[149].path, rows[-1].path) == (PATHS[0], PATHS[149], PATHS[149])
    for part in (slice(3), slice(-3, None), slice(10, 40, 7), slice(None, None, -1), slice(140, 1000)):
        assert [row.path for row in rows[part]] == PATHS[part]
    assert [row.path for row in rows] == [row.path for row in rows] == PATHS
    for wrong in (150, -151):
        with pytest.raises(IndexError, match=rf"row {wrong}: .*150 rows"):
            rows[wrong]
    for done in (client.wait(rows.job), client.results(rows.job)):
        assert (len(done), done[-1].path) == (len(PATHS), PATHS[-1])


def test_the_length_is_known_before_any_row(client: Client, photos: Path) -> None:
    assert len(client.classify("photos")) == len(PATHS)


def test_an_index_reads_no_more_batches_than_it_needs() -> None:
    read = list[int]()
    rows = rows_of(ROWS[:64], ROWS[64:128], ROWS[128:], read=read)
    assert [rows[0], rows[63], *rows[:1]] == [ROWS[0], ROWS[63], ROWS[0]]
    assert read == [64]
    assert rows[64:65] == [ROWS[64]]
    assert read == [64, 64]
    assert rows[-1] == ROWS[-1]
    assert read == [64, 64, 22]


def test_rows_are_true_if_there_is_one() -> None:
    read = list[int]()
    assert rows_of(ROWS[:64], ROWS[64:], read=read)
    assert read == [64]
    assert not rows_of()


def test_iteration_keeps_no_rows_in_memory() -> None:
    rows = rows_of(ROWS)
    assert list(rows) == list(rows) == ROWS
    assert rows._kept == []


def test_rows_are_read_from_the_start_again_after_an_error() -> None:
    attempts = list[int]()

    def batches() -> Iterator[list[Row]]:
        attempts.append(1)
        yield ROWS[:64]
        if len(attempts) == 1:
            raise BrokerUnreachable("away")
        yield ROWS[64:]

    rows = Rows("job", batches)
    with pytest.raises(BrokerUnreachable):
        rows[-1]
    assert rows[:] == ROWS


def test_the_length_of_a_cancelled_job_raises_an_error(client: Client, photos: Path) -> None:
    job = client.submit("photos")
    client.cancel(job)
    with pytest.raises(JobCancelled):
        len(client.rows(job))


def test_the_repr_of_rows_and_of_a_client_describes_them(client: Client, photos: Path, answering: None) -> None:
    assert repr(client) == f"<Client of {client._connection.settings.broker_url}, for the model 'digits'>"
    assert repr(Client("")) == "<Client of a Redis and workers of its own, for the model 'digits'>"
    rows = client.classify("photos", review_below=0.95)
    assert repr(rows) == f"<Rows of job {rows.job}>"
    list(rows)
    shown = f"<Rows of job {rows.job}: 150 read, 0 errors, 150 to review>"
    assert repr(rows) == shown
    assert rows[0] == next(iter(client.results(rows.job, review_below=0.95)))
    assert repr(rows) == shown, "an index reads no further rows"
    assert rows.summary.mean_confidence == pytest.approx(0.9)


# Tables


def test_rows_convert_to_the_table_of_a_parquet_file(tmp_path: Path) -> None:
    rows = [*ROWS, Row("x.png", "", None, False, "broken: why", "digits", (), ("a", "b"))]
    table = rows_of(rows[:100], [], rows[100:]).to_arrow()
    status = JobStatus(job="job", state=JobState.FINISHED, model="digits", created=0.0)
    Parquet().write(str(tmp_path / "rows.parquet"), [rows], status, 0)
    written = parquet.read_table(tmp_path / "rows.parquet")
    assert table.schema == written.schema.remove_metadata()
    assert table.to_pylist() == written.to_pylist()
    assert table.column("label").null_count == 1
    assert rows_of().to_arrow().schema == table.schema


def test_without_pyarrow_the_error_has_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pigeonhole.sinks.arrow", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=rf"to_arrow.*{re.escape(install_hint('parquet'))}"):
        rows_of(ROWS).to_arrow()


# Progress


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def _seconds() -> Callable[[], float]:
    """Return a clock that advances by a second at each call."""
    ticks = iter(range(10_000))
    return lambda: float(next(ticks))


def _status(done: int, submitting: bool = False) -> JobStatus:
    status = JobStatus(job="job", state=JobState.RUNNING, submitting=submitting, model="digits", created=0.0)
    return replace(status, images=200, done=done, errors=1, reviews=2)


def test_the_library_prints_progress_only_on_request(
    client: Client, photos: Path, answering: None, capfd: pytest.CaptureFixture[str]
) -> None:
    job = client.classify("photos").job
    list(client.wait(job))
    assert capfd.readouterr() == ("", "")
    rows = client.classify("photos", progress=True)
    assert [rows[:], list(rows)] == 2 * [list(rows)]  # the last state is shown once
    list(client.rows(job, progress=True))
    client.wait(job, progress=True)
    assert capfd.readouterr() == ("", 3 * "150 of 150 images (100%), 0 errors, 0 to review\n")


def test_the_progress_line_disappears_while_the_program_prints() -> None:
    screen = _Screen()
    line = ProgressLine(screen, _seconds())
    line.show(_status(50, submitting=True))
    line.show(_status(100))
    first = "50 of 200… images, 1 error, 2 to review"
    second = "100 of 200 images (50%), 1 error, 2 to review"
    assert screen.getvalue() == f"\r{first}\r{second}"
    for _ in line.around(iter([1])):
        assert screen.getvalue().endswith(f"\r{' ' * len(second)}\r")
    assert screen.getvalue().endswith(f"\r{second}\n")


@pytest.mark.parametrize("stream", [_Screen(), io.StringIO()])
def test_the_progress_line_of_an_unfinished_iteration_disappears_and_a_new_one_shows_it_again(
    stream: io.StringIO,
) -> None:
    line = ProgressLine(stream, _seconds())
    early = line.around(iter([1, 2]))
    next(early)
    line.show(_status(100))
    early.close()  # type: ignore[attr-defined]
    assert not stream.getvalue().rstrip("\r").strip(" ").endswith("review")
    for _ in range(2):
        for _ in line.around(iter([1, 2])):
            line.show(_status(200))
    assert stream.getvalue().endswith("200 of 200 images (100%), 1 error, 2 to review\n")
    assert stream.getvalue().count("\n") == 1
