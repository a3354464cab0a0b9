"""The Python interface with a shared broker; tests/e2e/test_client.py tests it with embedded workers."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole import Client, Rows
from pigeonhole.embedded.servers import embedded
from pigeonhole.errors import (
    BrokerUnreachable,
    EmbeddedFailed,
    JobCancelled,
    SettingsError,
    SourceError,
    UnknownJob,
    UsageError,
)
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from pigeonhole.version import install_hint
from tests.conftest import children, wait_for
from tests.ledger.conftest import answers_for
from tests.sources.conftest import touch

PATHS = [f"photos/{number:03}.png" for number in range(150)]

#: More entries than are read ahead before the first batch.
MANY = 4 * PATHS


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, image_root="/")


@pytest.fixture
def photos(folder: Path) -> Path:
    """Return a folder of 150 images: three batches."""
    touch(*PATHS)
    return folder


@pytest.fixture
def answering(settings: Settings) -> Iterator[None]:
    """Answer all batches in a thread as a worker would, while the test runs."""
    over = threading.Event()

    def work() -> None:
        ledger, workers = Ledger(settings), Workers(settings)
        workers.announce(Announcement(name="celery@one", model="digits", digest="d", version="1", processes=1))
        while not over.wait(0.01):
            for status in ledger.statuses(active_only=True):
                for piece in ledger.pending(status.job):
                    if batch := ledger.claim(status.job, piece):
                        ledger.commit(status.job, piece, answers_for(batch))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings=settings) as client:
        yield client


# classify


@pytest.mark.parametrize("sources", ["photos", Path("photos"), ["photos"], [Path("photos/"), "photos/00*"]])
def test_rows_come_in_the_order_of_the_files(client: Client, photos: Path, answering: None, sources: object) -> None:
    rows = client.classify(sources)  # type: ignore[arg-type]
    assert [row.path for row in rows] == PATHS
    assert next(iter(rows)) == Row(PATHS[0], "1", 0.9, False, "", "digits@0123456789ab", (("1", 0.9), ("0", 0.1)))


def test_what_is_to_review_may_be_decided_anew_for_a_jobs_rows(client: Client, photos: Path, answering: None) -> None:
    job = client.classify("photos", review_below=0.95).job
    for rows in (client.wait(job, review_below=0.95), client.results(job, review_below=0.95)):
        assert all(row.review for row in rows)
        assert rows.summary.reviews == len(PATHS)
    assert not any(row.review for row in client.rows(job, review_below=0.9))
    assert not any(row.review for row in client.rows(job))


@pytest.mark.parametrize("below", [-0.01, 1.01, 95, float("nan")])
def test_a_threshold_that_is_no_confidence_is_refused_before_anything_is_submitted(
    client: Client, photos: Path, below: float
) -> None:
    for ask in (client.classify, client.rows, client.wait, client.results):
        with pytest.raises(UsageError) as error:
            ask("photos", review_below=below)
        assert str(error.value).startswith(f"{below} is not a confidence")
    assert client.jobs() == []


def test_rows_may_be_iterated_again_and_counted(client: Client, photos: Path, answering: None) -> None:
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
    there = [os.open("list", os.O_RDWR)]

    def write(paths: list[str]) -> None:
        if paths:
            os.write(there[0], "".join(f"{path}\n" for path in paths).encode())
        else:
            os.close(there.pop())

    yield write
    for left in there:
        os.close(left)


def test_leaving_early_cancels_nothing_and_what_was_begun_is_submitted(
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


def test_an_interruption_waits_for_no_submission(settings: Settings, feed: Callable[[list[str]], None]) -> None:
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
    """Return a list that breaks after its first hundred paths."""
    Path("list").write_bytes("".join(f"{path}\n" for path in PATHS[:100]).encode() + b"\0\n")


def test_what_goes_wrong_with_the_submission_is_raised_where_the_rows_are_read(
    client: Client, breaking: None, answering: None
) -> None:
    rows = client.classify("@list")
    with pytest.raises(SourceError, match=r"^the list '@list' holds NUL bytes"):
        list(rows)
    client.close()  # the error is raised once


def test_or_when_the_client_is_closed(settings: Settings, breaking: None) -> None:
    with pytest.raises(SourceError, match=r"^the list '@list' holds NUL bytes"), Client(settings=settings) as client:
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
    for question in (client.status, client.wait, client.rows, client.results, client.cancel, client.delete):
        with pytest.raises(UnknownJob):
            question(job)


def test_a_job_that_is_cancelled_has_no_end_to_wait_for(client: Client, photos: Path) -> None:
    job = client.submit("photos")
    assert list(client.results(job)) == []
    client.cancel(job)
    for wait in (client.wait, lambda job: list(client.rows(job))):
        with pytest.raises(JobCancelled):
            wait(job)


def test_a_submission_that_breaks_says_which_job_to_go_on_with(client: Client, breaking: None) -> None:
    with pytest.raises(SourceError) as broke:
        client.submit("@list")
    (status,) = client.jobs()
    assert broke.value.__notes__ == [
        f"job {status.job} stays open, with the images so far: submit(…, job={status.job!r}) adds the rest"
    ]
    Path("list").write_text("".join(f"{path}\n" for path in PATHS))
    assert client.submit("@list", job=status.job) == status.job
    assert client.status(status.job).images == len(PATHS)


def test_a_source_that_is_not_there_leaves_no_job(client: Client, folder: Path) -> None:
    for ask in (client.classify, client.submit):
        with pytest.raises(SourceError, match=r"^'gone': No such file or directory$"):
            ask("gone")
    assert client.jobs() == []


# Broker and model


def test_the_environment_says_which_broker_and_an_argument_says_it_louder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIGEONHOLE_BROKER_URL", f"unix://{tmp_path}/no.sock")
    monkeypatch.setenv("PIGEONHOLE_PREFIX", settings.prefix)
    monkeypatch.setenv("PIGEONHOLE_IMAGE_ROOT", str(tmp_path))
    with pytest.raises(BrokerUnreachable, match=r"no\.sock"):
        Client()
    with Client(settings.broker_url, model="letters") as client:
        assert _settings_of(client) == replace(settings, model="letters", image_root=str(tmp_path))
    assert _settings_of(Client("")).image_root == "/", "workers of its own may read what the user may"
    assert _settings_of(Client("", image_root=tmp_path)).image_root == str(tmp_path)


def _settings_of(client: Client) -> Settings:
    return client._connection.settings


def test_a_password_file_is_for_the_broker_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    monkeypatch.setenv("PIGEONHOLE_BROKER_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(BrokerUnreachable) as away:
        Client("redis://127.0.0.1:1/0")
    assert f"redis://127.0.0.1:1/0?password_file={tmp_path / 'password'}" in str(away.value)
    assert "s3cret" not in str(away.value)


@pytest.mark.parametrize("model", ["org/letters", "Letters", "let ters", "x" * 65, "é", "/models/Letters.safetensors"])
def test_a_name_that_no_model_can_have_is_refused(settings: Settings, photos: Path, model: str) -> None:
    with Client(settings=settings, model=model) as client:
        with pytest.raises(UsageError) as refused:
            client.submit("photos")
        assert str(refused.value) == (
            f"{model!r} is not the name of a model: use 1 to 64 lower-case letters, digits or any of - _ . (or a "
            "model file, which ends with .safetensors)"
        )
        assert client.jobs() == []
    with pytest.raises(SettingsError, match="PIGEONHOLE_MODEL is ''"):
        Client(settings=settings, model="")


def test_a_model_that_nobody_serves_yet_is_waited_for_by_its_job(settings: Settings, photos: Path) -> None:
    with Client(settings=settings, model="later.v2") as client:
        assert client.status(client.submit("photos")).model == "later.v2"


# An embedded Redis that loses its workers


def test_when_its_own_redis_ends_it_says_so_and_waits_for_nothing() -> None:
    with Client("") as client:
        assert client.jobs() == []
        (supervisor,) = children(os.getpid(), b"pigeonhole.embedded.supervisor")
        (redis,) = children(supervisor, b"redis")
        os.kill(redis, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(EmbeddedFailed, match="the embedded redis stopped with exit code -9"):
                client.jobs()


def test_its_own_workers_leave_the_metrics_port_to_those_that_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[Settings]()

    def start(own: Settings, folder: str, commands: list[str]) -> None:
        started.append(own)
        raise EmbeddedFailed("so far only")

    monkeypatch.setattr("pigeonhole.embedded.servers._start_supervisor", start)
    with pytest.raises(EmbeddedFailed, match="so far only"), embedded(Settings(metrics_port="9100")):
        pass
    assert [own.metrics_port for own in started] == [""]


def test_a_closed_client_answers_nothing(settings: Settings) -> None:
    client = Client(settings=settings)
    job = Ledger(settings).create("digits", ("in",))
    rows = client.rows(job)
    client.close()
    client.close()
    for ask in (client.jobs, lambda: list(rows), lambda: client.submit(__file__)):
        with pytest.raises(UsageError, match=r"^this Client is closed, .*: make a new one$"):
            ask()


# to_pandas


def test_rows_are_a_table_in_pandas(client: Client, ledger: Ledger, folder: Path) -> None:
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


def test_no_rows_are_an_empty_table(client: Client, ledger: Ledger) -> None:
    job = ledger.create("digits", ())
    ledger.close(job, 0)
    frame = client.rows(job).to_pandas()
    assert (len(frame), list(frame.columns)) == (0, list(Row._fields))


def test_without_pandas_it_says_how_to_get_it(client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=rf"^to_pandas\(\) needs pandas: {re.escape(install_hint('pandas'))}$"):
        client.results(ledger.create("digits", ())).to_pandas()
