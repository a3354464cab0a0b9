"""How everything here connects to Redis, and what its errors become."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeAlias, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from worker.contract.errors import BrokerUnreachable, MessageInvalid
from worker.contract.settings import masked

P = ParamSpec("P")
R = TypeVar("R")

#: A `redis.Redis`, whose annotations differ from version to version and cover sync and async replies at once.
Client: TypeAlias = Any

#: Seconds that one command may take before the connection counts as lost: every script here takes milliseconds.
COMMAND_TIMEOUT = 10.0
CONNECT_TIMEOUT = 3.0


def connect(url: str, retries: int = 4) -> Client:
    """Give a client for a `redis://`, `rediss://` or `unix://` URL; nothing is sent yet.

    Args:
        url: as the setting `broker_url` allows.
        retries: how often a command whose connection is lost is sent again; four take some two seconds. All
            commands of the ledger may be: what is done twice there counts once.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=COMMAND_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries=retries),
    )


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn redis-py's errors into ours.

    Raises:
        BrokerUnreachable: no connection, no answer in time, or access refused.
        MessageInvalid: a key of ours holds something else.
    """
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as exc:
        raise BrokerUnreachable(f"Redis at {masked(url)} refuses us: {exc}; check its user and password") from exc
    except (redis.ConnectionError, redis.TimeoutError) as exc:
        raise BrokerUnreachable(f"no answer from Redis at {masked(url)}: {exc}; is it running?") from exc
    except redis.exceptions.OutOfMemoryError as exc:
        raise BrokerUnreachable(f"Redis at {masked(url)} is full: {exc}; raise its maxmemory or delete jobs") from exc
    except redis.RedisError as exc:
        raise MessageInvalid(f"Redis at {masked(url)} can't do what we ask: {exc}; do others use our prefix?") from exc


def translates(method: Callable[P, R]) -> Callable[P, R]:
    """Wrap a method of an object that has a `url`, so that only our errors leave it."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with translated(getattr(args[0], "url")):  # noqa: B009  # args[0] is untyped here
            return method(*args, **kwargs)

    return wrapper
