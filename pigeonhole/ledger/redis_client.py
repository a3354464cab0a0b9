"""How everything here connects to Redis, and what its errors become."""

import functools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeAlias, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from pigeonhole.errors import BrokerRefuses, BrokerUnreachable, MessageInvalid, PigeonholeError, SettingsError
from pigeonhole.settings import masked

P = ParamSpec("P")
R = TypeVar("R")

#: A `redis.Redis`, whose annotations differ from version to version and cover sync and async replies at once.
Client: TypeAlias = Any

_REFUSALS = (
    redis.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
    redis.exceptions.ExternalAuthProviderError,
    redis.exceptions.NoPermissionError,
)
_PASSING = (
    redis.BusyLoadingError,
    redis.ReadOnlyError,
    redis.exceptions.ClusterError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.MaxConnectionsError,
)
# What a script meets, Redis tells as the script's error, with the original in its middle.
_NO_PERMISSION = re.compile(
    r"\bNOPERM\b|can't run this command or subcommand|no permissions to|can't access at least one of the keys"
)
_FULL = re.compile(r"\bOOM\b|command not allowed when used memory")
_NOT_NOW = re.compile(
    r"\b(MISCONF|READONLY|MASTERDOWN|NOREPLICAS|BUSY|UNKILLABLE|UNBLOCKED)\b|against a read only replica"
)

#: Seconds that one command may take before the connection counts as lost: every script here takes milliseconds.
COMMAND_TIMEOUT = 10.0
CONNECT_TIMEOUT = 3.0
#: Seconds between two tries of `patiently`.
PAUSE = 0.5


def connect(url: str, retries: int = 4, timeout: float = COMMAND_TIMEOUT) -> Client:
    """Give a client for a `redis://`, `rediss://` or `unix://` URL; nothing is sent yet.

    Args:
        url: as the setting `broker_url` allows.
        retries: how often a command whose connection is lost is sent again; four take some two seconds where
            connecting fails at once, and ten more for each where Redis stalls. All
            commands of the ledger may be: what is done twice there counts once.
        timeout: seconds that one command may take.

    Raises:
        SettingsError: redis-py knows no such URL.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=CONNECT_TIMEOUT,
            health_check_interval=30,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries=retries),
            # A job's name on the command line may be any bytes: then it is unknown, not an error of its own.
            encoding_errors="surrogateescape",
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # checks the URL's arguments; connects to nothing
    except (ValueError, TypeError, redis.RedisError) as exc:
        raise SettingsError(f"the broker's URL {masked(url)!r} can't be used: {exc}") from exc
    return client


def patiently(
    step: Callable[[], R], seconds: float, waiting: Callable[[BrokerUnreachable], None], pause: float = PAUSE
) -> R:
    """Repeat a step while Redis is away or full.

    Args:
        step: may be done more than once.
        seconds: after which it is given up.
        waiting: is told why, before each pause.
        pause: seconds between two tries.

    Raises:
        BrokerRefuses: at once, since waiting does not help.
        BrokerUnreachable: it is still away after that time.
    """
    give_up = time.monotonic() + seconds
    while True:
        try:
            return step()
        except BrokerRefuses:
            raise
        except BrokerUnreachable as exc:
            if time.monotonic() > give_up:
                raise
            waiting(exc)
            time.sleep(pause)


def server_time(client: Client) -> float:
    """Give the time on Redis' clock, in seconds since the epoch."""
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn redis-py's errors into ours.

    Raises:
        BrokerUnreachable: no connection, no answer in time, or access refused.
        MessageInvalid: a key of ours holds something else.
    """
    try:
        yield
    except redis.RedisError as exc:
        raise explained(exc, url) from exc


def explained(exc: redis.RedisError, url: str) -> PigeonholeError:
    """Give the error of ours that one of redis-py's becomes."""
    where, said = f"Redis at {masked(url)}", str(exc)
    if isinstance(exc, _REFUSALS) or _NO_PERMISSION.search(said):
        return BrokerRefuses(f"{where} refuses us: {said}; check its user and password")
    if "DB index" in said:
        return BrokerRefuses(f"{where}: {said}; the number at the end of its URL is the database")
    if isinstance(exc, redis.exceptions.OutOfMemoryError) or _FULL.search(said):
        return BrokerUnreachable(f"{where} is full: {said}; raise its maxmemory or delete jobs")
    if isinstance(exc, _PASSING) or _NOT_NOW.search(said):
        return BrokerUnreachable(f"{where} can't serve us now: {said}; its own log says why")
    if isinstance(exc, (redis.ConnectionError, redis.TimeoutError)):
        tls = ", and do its certificate and ours fit" if url.startswith("rediss:") else ""
        return BrokerUnreachable(f"no answer from {where}: {said}; is it running{tls}?")
    return MessageInvalid(f"{where} can't do what we ask: {said}; do others use our prefix?")


def translates(method: Callable[P, R]) -> Callable[P, R]:
    """Wrap a method of an object that has a `url`, so that only our errors leave it."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with translated(getattr(args[0], "url")):  # noqa: B009  # args[0] is untyped here
            return method(*args, **kwargs)

    return wrapper
