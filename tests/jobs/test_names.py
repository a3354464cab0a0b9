"""Names of jobs: ids, beginnings of ids, and `last`."""

import pytest

from pigeonhole.errors import UnknownJob, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.names import find_job
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock

JOBS = ["20261129-080000-abc123", "20261130-080000-abd456", "20261130-091500-ffe000"]


@pytest.mark.parametrize(
    ("name", "at"),
    [("last", 2), ("20261129", 0), ("20261130-08", 1), ("20261130-091500-ffe000", 2)],
)
def test_last_and_the_beginning_of_an_id_name_a_job(name: str, at: int) -> None:
    assert find_job(name, JOBS) == JOBS[at]


def test_a_beginning_of_several_ids_lists_them_newest_first() -> None:
    with pytest.raises(UsageError) as raised:
        find_job("20261130", JOBS)
    assert str(raised.value) == (
        "'20261130' matches 2 jobs: 20261130-091500-ffe000, 20261130-080000-abd456. Type more of the id, or `last` for "
        "the newest job"
    )


def test_of_many_jobs_that_fit_the_newest_five_are_listed() -> None:
    with pytest.raises(UsageError, match=r"^'2' matches 1,000 jobs: 20260101-000999-abcdef, .* and 995 more. Type"):
        find_job("2", [f"20260101-{number:06}-abcdef" for number in range(1000)])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("20261129-08000-abc123", 0), ("20261139-0915", 2), ("ffe000", 2), ("abd456", 1)],
)
def test_a_misspelt_id_and_the_end_of_one_are_guessed(name: str, meant: int) -> None:
    with pytest.raises(UnknownJob, match=rf"^no job '{name}': .* lists them\. Did you mean {JOBS[meant]}\?$"):
        find_job(name, JOBS)


@pytest.mark.parametrize("name", ["", "photos", "\udcff"])
def test_what_is_like_no_id_is_not_guessed(name: str) -> None:
    with pytest.raises(UnknownJob, match=r"lists them$"):
        find_job(name, JOBS)


def test_without_jobs_there_is_no_last_one() -> None:
    with pytest.raises(UsageError, match=r"there is no job yet. Try: `pigeonhole submit SOURCE`$"):
        find_job("last", [])


def test_the_last_job_is_the_newest_that_redis_has(connection: Connection, settings: Settings, clock: Clock) -> None:
    first, second, gone = (Ledger(settings, now=clock.__iadd__(60)).create("digits", ()) for _ in range(3))
    assert connection.job_id("last") == gone
    connection.ledger.client.delete(f"{settings.prefix}:job:{gone}")  # as when it expires
    assert connection.job_id("last") == second
    assert connection.job_id(first[:-1]) == first


def test_a_job_whose_record_is_damaged_has_a_name(connection: Connection, settings: Settings) -> None:
    job = connection.create(["in"])
    connection.ledger.client.hset(f"{settings.prefix}:job:{job}", "images", "many")
    assert connection.job_id(job) == job


def test_a_whole_id_that_is_wrong_in_one_letter_is_guessed_and_one_that_was_deleted_is_not(
    connection: Connection,
) -> None:
    there, deleted = connection.create(["in"]), connection.create(["in"])
    connection.delete(deleted)
    with pytest.raises(UnknownJob, match=r"lists them$"):
        connection.job_id(deleted)
    with pytest.raises(UnknownJob, match=rf"Did you mean {there}\?$"):
        connection.job_id(there[:-1] + ("0" if there[-1] != "0" else "1"))
