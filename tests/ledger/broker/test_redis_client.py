"""All errors of redis-py, kombu and Redis become errors of ours."""

import inspect
import re
from collections.abc import Callable, Iterator

import pytest
import redis

from pigeonhole.errors import BrokerUnreachable, MessageInvalid, PigeonholeError, SettingsError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import connect, explained, translated
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from tests.ledger.conftest import Server, answers_for, batch_of, piece
from tests.messages import check_message

Starts = Callable[..., Server]
URL = "redis://user:hunter2@localhost:6379/0"
#: The arguments for each public method in these tests; add a new method here.
NO_JOB = "20200101-000000-abcdef"
LEDGER_CALLS: dict[str, tuple[object, ...]] = {
    "ping": (),
    "create": ("digits", ("photos",)),
    "new_job": (),
    "add": (NO_JOB, 0, batch_of("a.png")),
    "close": (NO_JOB, 1),
    "cancel": (NO_JOB,),
    "delete": (NO_JOB,),
    "claim": (NO_JOB, piece(batch_of("a.png"))),
    "commit": (NO_JOB, piece(batch_of("a.png")), answers_for(batch_of("a.png"))),
    "renew": (NO_JOB, [piece(batch_of("a.png"))]),
    "release": (NO_JOB, piece(batch_of("a.png"))),
    "note_sweep": (),
    "swept_lately": (),
    "lose": (NO_JOB, piece(batch_of("a.png")), "digits"),
    "losses": (NO_JOB, piece(batch_of("a.png"))),
    "divide": (NO_JOB, piece(batch_of("a.png")), 0, 1),
    "overdue": (NO_JOB, 1),
    "last_sweep": (),
    "sweep_age": (),
    "job_ids": (),
    "note_submitter": (NO_JOB,),
    "untried": (NO_JOB, piece(batch_of("a.png"))),
    "mend_lists": (),
    "list_again": (NO_JOB,),
    "digests": (NO_JOB, [0]),
    "pending": (NO_JOB,),
    "status": (NO_JOB,),
    "statuses": (),
    "read": (NO_JOB, 0, 8),
}
WORKERS_CALLS: dict[str, tuple[object, ...]] = {
    "ping": (),
    "announce": (Announcement(name="w", model="digits", digest="d", version="1"),),
    "leave": ("w",),
    "alive": (),
    "may_sweep": (),
    "time": (),
}


def every_kind(base: type[redis.RedisError] = redis.RedisError) -> Iterator[type[redis.RedisError]]:
    yield base
    for kind in base.__subclasses__():
        yield from every_kind(kind)


KINDS = sorted(set(every_kind()), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_redis_py_becomes_one_of_ours_and_keeps_its_cause(kind: type[redis.RedisError]) -> None:
    # The text of a redirection is a slot and an address.
    text = "7 it:1" if issubclass(kind, redis.exceptions.AskError) else "failed"
    original = kind(text)
    with pytest.raises(PigeonholeError) as caught, translated(URL):
        raise original
    assert isinstance(caught.value, BrokerUnreachable | MessageInvalid)
    assert caught.value.__cause__ is original
    assert str(original) in str(caught.value)
    assert "redis://user:***@localhost:6379/0" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (redis.ConnectionError("refused"), ("no answer", "refused", "is it running?")),
        (redis.TimeoutError("late"), ("no answer", "late", "is it running?")),
        (redis.AuthenticationError("no"), ("refuses access: no", "user and password")),
        (redis.exceptions.NoPermissionError("x"), ("refuses access: x", "user and password")),
        (redis.exceptions.OutOfMemoryError("x"), ("full: x", "maxmemory")),
        (redis.BusyLoadingError("x"), ("not available: x", "its log")),
        (redis.ReadOnlyError("x"), ("not available: x", "its log")),
        (redis.exceptions.ClusterDownError("x"), ("not available: x", "its log")),
        (redis.ResponseError("WRONGTYPE x"), ("WRONGTYPE x", "key prefix")),
    ],
)
def test_each_error_has_a_remedy(error: redis.RedisError, parts: tuple[str, ...]) -> None:
    check_message(explained(error, URL), "redis://user:***@localhost:6379/0", *parts)


def test_other_errors_are_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), translated(URL):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "url", ["redis://localhost?no_such=1", "redis://localhost?socket_timeout=x", "http://localhost"]
)
def test_an_invalid_broker_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(repr(url))):
        connect(url)


def public_methods(thing: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(thing, inspect.isfunction) if not name.startswith("_")}


def test_every_public_method_has_arguments_in_these_tests() -> None:
    assert public_methods(Ledger) == set(LEDGER_CALLS)
    assert public_methods(Workers) == set(WORKERS_CALLS)


def test_every_method_raises_our_error_when_redis_is_killed(start_redis: Starts) -> None:
    server = start_redis()
    settings = Settings(broker_url=server.url)
    client = connect(server.url, retries=0)
    ledger, workers, queue = Ledger(settings, client=client), Workers(settings, client=client), Queue(settings)
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, batch_of("a.png"))
    queue.publish("digits", job, piece(batch_of("a.png")))
    server.kill()
    calls: list[Callable[[], object]] = [
        *(lambda name=name: getattr(ledger, name)(*LEDGER_CALLS[name]) for name in LEDGER_CALLS),
        *(lambda name=name: getattr(workers, name)(*WORKERS_CALLS[name]) for name in WORKERS_CALLS),
        lambda: queue.publish("digits", job, piece(batch_of("b.png"), 1)),
        lambda: queue.depth("digits"),
        lambda: Queue(settings).publish("digits", job, piece(batch_of("b.png"), 1)),
    ]
    for call in calls:
        with pytest.raises(BrokerUnreachable) as caught:
            call()
        check_message(caught.value, server.url, "is it running?")


def test_a_lost_connection_is_opened_again(start_redis: Starts) -> None:
    server = start_redis()
    ledger = Ledger(Settings(broker_url=server.url))
    job = ledger.create("digits", ("photos",))
    connect(server.url).client_kill_filter(_type="normal", skipme=True)
    ledger.add(job, 0, batch_of("a.png"))
    assert ledger.status(job).images == 1


@pytest.mark.parametrize("user", [":hunter2@", "nobody:hunter2@"])
def test_a_wrong_password_is_reported_and_not_shown(start_redis: Starts, user: str) -> None:
    server = start_redis("--requirepass", "correct horse")
    settings = Settings(broker_url=f"unix://{user}{server.socket}")
    for call in (Ledger(settings).ping, lambda: Queue(settings).publish("digits", "job", piece(batch_of("a.png")))):
        with pytest.raises(BrokerUnreachable) as caught:
            call()
        check_message(caught.value, "refuses access", "user and password")
        assert "hunter2" not in str(caught.value)


def test_a_missing_password_is_reported(start_redis: Starts) -> None:
    server = start_redis("--requirepass", "correct horse")
    with pytest.raises(BrokerUnreachable, match=r"refuses access: .*user and password"):
        Ledger(Settings(broker_url=server.url), client=connect(server.url, retries=0)).ping()


def test_ledger_and_queue_use_the_same_database_and_password(start_redis: Starts) -> None:
    server = start_redis("--requirepass", "correct horse")
    url = f"unix://:correct%20horse@{server.socket}"
    settings = Settings(broker_url=f"{url}?db=3", prefix="here")
    Ledger(settings).create("digits", ("photos",))
    Queue(settings).publish("digits", "job", piece(batch_of("a.png")))
    assert Queue(settings).depth("digits") == 1
    assert connect(f"{url}?db=0").dbsize() == 0
    assert b"here:classify.digits" in connect(f"{url}?db=3").scan_iter("*")


def test_missing_rights_are_reported(start_redis: Starts) -> None:
    server = start_redis()
    open_to_all = Ledger(Settings(broker_url=server.url))
    job = open_to_all.create("digits", ("photos",))
    open_to_all.client.execute_command(
        "ACL", "SETUSER", "weak", "on", ">w", "~*", "+@all", "-hexists", "-lpush", "-zrange"
    )
    settings = Settings(broker_url=f"unix://weak:w@{server.socket}")
    ledger, queue = Ledger(settings), Queue(settings)
    for call in (
        lambda: ledger.add(job, 0, batch_of("a.png")),
        ledger.statuses,
        lambda: queue.publish("digits", job, piece(batch_of("a.png"))),
    ):
        with pytest.raises(BrokerUnreachable, match=r"refuses access: .*user and password"):
            call()


def test_a_full_redis_is_reported_and_still_allows_deletion(start_redis: Starts) -> None:
    server = start_redis()
    settings = Settings(broker_url=server.url)
    ledger, queue = Ledger(settings), Queue(settings)
    job, other = (ledger.create("digits", ("photos",)) for _ in range(2))
    ledger.add(job, 0, batch_of("a.png"))
    queue.publish("digits", job, piece(batch_of("a.png")))
    ledger.client.config_set("maxmemory", "1")
    for call in (
        lambda: ledger.create("digits", ()),
        lambda: ledger.add(job, 1, batch_of("b.png")),
        lambda: queue.publish("digits", job, piece(batch_of("b.png"), 1)),
        lambda: ledger.commit(job, piece(batch_of("a.png")), answers_for(batch_of("a.png"))),
    ):
        with pytest.raises(BrokerUnreachable, match=r"full: .*maxmemory"):
            call()
    assert (ledger.status(job).batches, ledger.status(job).batches_waiting) == (1, 1), "nothing has changed"
    ledger.delete(other)
    ledger.client.config_set("maxmemory", "0")
    ledger.add(job, 1, batch_of("b.png"))
    assert ledger.commit(job, piece(batch_of("a.png")), answers_for(batch_of("a.png")))
    assert ledger.status(job).batches == 2


def test_a_missing_database_is_reported(start_redis: Starts) -> None:
    settings = Settings(broker_url=f"{start_redis().url}?db=99")
    with pytest.raises(BrokerUnreachable, match=r"DB index is out of range; .* its URL"):
        Ledger(settings).ping()


def test_a_replica_is_reported(start_redis: Starts) -> None:
    server = start_redis()
    settings = Settings(broker_url=server.url)
    ledger, queue = Ledger(settings), Queue(settings)
    job = ledger.create("digits", ("photos",))
    ledger.client.replicaof("127.0.0.1", "1")
    for call in (
        lambda: ledger.create("digits", ()),
        lambda: ledger.add(job, 0, batch_of("a.png")),
        lambda: queue.publish("digits", job, piece(batch_of("a.png"))),
    ):
        with pytest.raises(BrokerUnreachable, match=r"not available: .*its log"):
            call()


@pytest.mark.parametrize(
    ("part", "call"),
    [
        ("job:J", lambda ledger, job: ledger.status(job)),
        ("job:J:refs", lambda ledger, job: ledger.claim(job, piece(batch_of("a.png")))),
        ("job:J:waiting", lambda ledger, job: ledger.overdue(job, 1)),
        ("job:J:claimed", lambda ledger, job: ledger.claim(job, piece(batch_of("a.png")))),
        ("job:J:rows", lambda ledger, job: [done.pieces for done in ledger.read(job, 0, 1)]),
        ("active", lambda ledger, job: ledger.statuses(active_only=True)),
        ("jobs", lambda ledger, job: ledger.create("digits", ())),
    ],
)
def test_foreign_keys_under_the_prefix_are_reported(
    ledger: Ledger, settings: Settings, part: str, call: Callable[[Ledger, str], object]
) -> None:
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, batch_of("a.png"))
    key = f"{settings.prefix}:{part.replace('J', job)}"
    ledger.client.delete(key)
    ledger.client.set(key, "not ours")
    with pytest.raises(MessageInvalid, match=r"WRONGTYPE.*key prefix"):
        call(ledger, job)
