"""Names of jobs: ids, beginnings of ids, and `last`."""

import pytest

from pigeonhole.errors import UnknownJob, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.names import find_job
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock
from tests.messages import check_message

JOBS = ["20261129-080000-abc123", "20261130-080000-abd456", "20261130-091500-ffe000"]


@pytest.mark.parametrize(
    ("name", "at"),
    [("last", 2), ("20261129", 0), ("20261130-08", 1), ("20261130-091500-ffe000", 2)],
)
def test_last_and_a_prefix_of_an_id_name_a_job(name: str, at: int) -> None:
    assert find_job(name, JOBS) == JOBS[at]


def test_an_ambiguous_prefix_lists_its_jobs_newest_first() -> None:
    with pytest.raises(UsageError) as error:
        find_job("20261130", JOBS)
    check_message(error.value, "'20261130'", "2 jobs: 20261130-091500-ffe000, 20261130-080000-abd456.", "`last`")


def test_an_ambiguous_prefix_lists_at_most_the_five_newest_jobs() -> None:
    with pytest.raises(UsageError, match=r"'2'.* 1,000 jobs: 20260101-000999-abcdef, .* and 995 more"):
        find_job("2", [f"20260101-{number:06}-abcdef" for number in range(1000)])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("20261129-08000-abc123", 0), ("20261139-0915", 2), ("ffe000", 2), ("abd456", 1)],
)
def test_a_misspelt_id_and_a_suffix_of_an_id_get_a_suggestion(name: str, meant: int) -> None:
    with pytest.raises(UnknownJob, match=rf"'{name}'.*`pigeonhole status`.* Did you mean {JOBS[meant]}\?$"):
        find_job(name, JOBS)


@pytest.mark.parametrize("name", ["", "photos", "\udcff"])
def test_a_name_unlike_any_id_gets_no_suggestion(name: str) -> None:
    with pytest.raises(UnknownJob, match=r"`pigeonhole status` [^?]*$"):
        find_job(name, JOBS)


def test_without_jobs_last_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"no job.*`pigeonhole submit SOURCE`$"):
        find_job("last", [])


def test_last_names_the_newest_job_that_has_not_expired(
    connection: Connection, settings: Settings, clock: Clock
) -> None:
    first, second, gone = (Ledger(settings, now=clock.__iadd__(60)).create("digits", ()) for _ in range(3))
    assert connection.job_id("last") == gone
    connection.ledger.client.delete(f"{settings.prefix}:job:{gone}")  # as when it expires
    assert connection.job_id("last") == second
    assert connection.job_id(first[:-1]) == first


def test_a_job_with_a_damaged_record_can_be_named(connection: Connection, settings: Settings) -> None:
    job = connection.create(["in"])
    connection.ledger.client.hset(f"{settings.prefix}:job:{job}", "images", "many")
    assert connection.job_id(job) == job


def test_an_id_with_one_wrong_letter_gets_a_suggestion_and_a_deleted_one_does_not(
    connection: Connection,
) -> None:
    existing, deleted = connection.create(["in"]), connection.create(["in"])
    connection.delete(deleted)
    with pytest.raises(UnknownJob, match=r"`pigeonhole status` [^?]*$"):
        connection.job_id(deleted)
    with pytest.raises(UnknownJob, match=rf"Did you mean {existing}\?$"):
        connection.job_id(existing[:-1] + ("0" if existing[-1] != "0" else "1"))
