"""Records of jobs: expiry, lists, and damaged records."""

import itertools

import pytest

from pigeonhole.errors import JobDamaged, MessageInvalid, UnknownJob
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import Client
from pigeonhole.settings import Settings
from tests.ledger.conftest import FIRST, SECOND, A, B, Clock, answers_for, finished_job, open_job
from tests.messages import check_message


def keys_of(raw: Client, settings: Settings, job: str) -> list[bytes]:
    return sorted(raw.scan_iter(f"{settings.prefix}:job:{job}*"))


def test_answers_without_their_references_raise_an_error(ledger: Ledger, settings: Settings) -> None:
    job = finished_job(ledger, "a.png")
    ledger.client.hdel(f"{settings.prefix}:job:{job}:refs", "0")
    with pytest.raises(JobDamaged) as error:
        [done.pieces for done in ledger.read(job, 0, 1)]
    check_message(error.value, f"job {job}", f"`pigeonhole delete {job}`")


def test_the_keys_of_a_job_expire_only_after_its_end(ledger: Ledger, raw: Client, settings: Settings) -> None:
    finished, cancelled, closed, still_open = (finished_job(ledger, "a.png"), *(open_job(ledger) for _ in range(3)))
    ledger.commit(cancelled, FIRST, answers_for(A))
    ledger.cancel(cancelled)
    ledger.close(closed, 2)
    ledger.claim(closed, FIRST)
    ledger.commit(closed, SECOND, answers_for(B))
    for job in (finished, cancelled):
        assert keys_of(raw, settings, job)
        for key in keys_of(raw, settings, job):
            assert settings.result_ttl - 5 < raw.ttl(key) <= settings.result_ttl
    for job in (closed, still_open):
        assert keys_of(raw, settings, job)
        assert {raw.ttl(key) for key in keys_of(raw, settings, job)} == {-1}


def test_jobs_are_listed_in_order_and_the_active_ones_can_be_selected(settings: Settings, clock: Clock) -> None:
    ledger = Ledger(settings, now=clock)
    jobs = []
    for _ in range(4):
        clock += 1
        jobs.append(open_job(ledger))
    ledger.cancel(jobs[1])
    ledger.close(jobs[2], 2)
    assert [status.job for status in ledger.statuses()] == jobs
    assert ledger.statuses() == [ledger.status(job) for job in jobs]
    assert [status.job for status in ledger.statuses(active_only=True)] == [jobs[0], jobs[2], jobs[3]]


def test_the_list_of_jobs_can_be_empty(ledger: Ledger) -> None:
    assert ledger.statuses() == ledger.statuses(active_only=True) == []


def test_a_job_that_has_expired_is_forgotten(ledger: Ledger, raw: Client, settings: Settings) -> None:
    expired, other = finished_job(ledger, "a.png"), finished_job(ledger, "b.png")
    for key in keys_of(raw, settings, expired):
        raw.pexpire(key, 0)  # as expiry would do
    assert [status.job for status in ledger.statuses()] == [other]
    assert raw.zrange(f"{settings.prefix}:jobs", 0, -1) == [other.encode()]
    with pytest.raises(UnknownJob):
        ledger.status(expired)


@pytest.mark.parametrize("version", ["3", "9"])
def test_a_job_of_another_version_is_refused_and_hides_no_other(
    ledger: Ledger, settings: Settings, version: str
) -> None:
    ours, theirs, also_ours = open_job(ledger), open_job(ledger), open_job(ledger)
    ledger.client.hset(f"{settings.prefix}:job:{theirs}", "v", version)
    with pytest.raises(MessageInvalid) as error:
        ledger.status(theirs)
    check_message(error.value, f"job {theirs}", f"version '{version}'", "ours is 4", f"`pigeonhole delete {theirs}`")
    states = {status.job: (status.state, status.over) for status in ledger.statuses()}
    assert states == {ours: ("queued", False), theirs: ("unreadable", True), also_ours: ("queued", False)}
    ledger.delete(theirs)
    assert {status.job for status in ledger.statuses()} == {ours, also_ours}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", None),
        ("created", "yesterday"),
        ("images", "many"),
        ("sources", "{"),
        ("sources", "5"),
        ("sources", "[" * 100_000),
        ("finished", b"\xff"),
    ],
)
def test_a_damaged_record_raises_an_error_and_hides_no_other_job(
    ledger: Ledger, settings: Settings, field: str, value: str | bytes | None
) -> None:
    ours, damaged = open_job(ledger), open_job(ledger)
    key = f"{settings.prefix}:job:{damaged}"
    if value is None:
        ledger.client.hdel(key, field)
    else:
        ledger.client.hset(key, field, value)
    with pytest.raises(MessageInvalid, match=f"job {damaged} .*`pigeonhole delete {damaged}`"):
        ledger.status(damaged)
    assert {status.job: status.state for status in ledger.statuses()} == {ours: "queued", damaged: "unreadable"}


def test_unreadable_references_and_answers_raise_an_error(ledger: Ledger, settings: Settings) -> None:
    job = open_job(ledger)
    ledger.client.hset(f"{settings.prefix}:job:{job}:refs", "0", b"something else")
    with pytest.raises(MessageInvalid):
        ledger.claim(job, FIRST)
    ledger.commit(job, SECOND, answers_for(B))
    ledger.client.hset(f"{settings.prefix}:job:{job}:rows", "1", b"something else")
    with pytest.raises(MessageInvalid):
        [done.pieces for done in ledger.read(job, 1, 1)]


def test_a_status_takes_three_commands_however_large_the_job(settings: Settings) -> None:
    ledger = Ledger(settings)
    job = ledger.create("digits", ())
    for number in range(50):
        ledger.add(job, number, B)
    reader = Ledger(settings)
    reader.ping()
    with reader.client.monitor() as monitor:
        reader.status(job)
        reader.client.echo("over")
        commands = [command["command"] for command in itertools.takewhile(_is_not_echo, monitor.listen())]
    assert [command.split()[0] for command in commands if job in command] == ["HGETALL", "ZCARD", "ZCARD"]


def _is_not_echo(command: dict[str, str]) -> bool:
    return not command["command"].startswith("ECHO")
