"""Connections to Redis, and the translation of its errors."""

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeAlias, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from pigeonhole.errors import BrokerRefuses, BrokerUnreachable, MessageInvalid, PigeonholeError, SettingsError
from pigeonhole.retry import COMMAND
from pigeonhole.settings import PASSWORD_FILE, masked, read_password

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


@dataclass(frozen=True)
class PasswordFile(redis.CredentialProvider):
    """A password in a file that is read for each connection, so that a new one needs no restart.

    Args:
        user: Redis' user; empty: the default one.
        file: holds the password.
    """

    user: str
    file: str

    def password(self) -> str:
        """Return the password that the file holds now.

        Raises:
            AuthenticationError: the file can't be read.
        """
        try:
            return read_password(self.file)
        except (OSError, UnicodeDecodeError) as exc:
            raise redis.AuthenticationError(f"the password's file {self.file!r} can't be read: {exc}") from exc

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return what redis-py sends when it connects."""
        return (self.user, self.password()) if self.user else (self.password(),)


def connect(url: str, retries: int = COMMAND.retries or 0, timeout: float = COMMAND_TIMEOUT) -> Client:
    """Return a client for a `redis://`, `rediss://` or `unix://` URL; nothing is sent yet.

    Args:
        url: as the setting `broker_url` allows.
        retries: how often a command whose connection is lost is sent again.
        timeout: seconds that one command, and connecting, may take; connecting never takes longer than 3.

    Raises:
        SettingsError: redis-py knows no such URL.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
            health_check_interval=30,
            retry=Retry(ExponentialWithJitterBackoff(base=COMMAND.first, cap=COMMAND.longest), retries=retries),
            # A job's name on the command line may be any bytes: then it is unknown, not an error of its own.
            encoding_errors="surrogateescape",
        )
        pool = client.connection_pool
        file = pool.connection_kwargs.pop(PASSWORD_FILE, "")
        if file:
            user = pool.connection_kwargs.pop("username", None)
            pool.connection_kwargs["credential_provider"] = PasswordFile(user or "", file)
        pool.connection_class(**pool.connection_kwargs)  # checks the URL's arguments; connects to nothing
    except (ValueError, TypeError, redis.RedisError) as exc:
        raise SettingsError(f"the broker's URL {masked(url)!r} can't be used: {exc}") from exc
    return client


def is_transient(exc: Exception) -> bool:
    """Return whether an error may be gone at the next try: Redis is away or full, and does not refuse us."""
    return isinstance(exc, BrokerUnreachable) and not isinstance(exc, BrokerRefuses)


def server_time(client: Client) -> float:
    """Return the time on Redis' clock, in seconds since the epoch."""
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
    """Return the error of ours that one of redis-py's becomes."""
    where, reply = f"Redis at {masked(url)}", str(exc)
    if isinstance(exc, _REFUSALS) or _NO_PERMISSION.search(reply):
        return BrokerRefuses(f"{where} refuses us: {reply}; check its user and password")
    if "DB index" in reply:
        return BrokerRefuses(f"{where}: {reply}; the number at the end of its URL is the database")
    if isinstance(exc, redis.exceptions.OutOfMemoryError) or _FULL.search(reply):
        return BrokerUnreachable(f"{where} is full: {reply}; raise its maxmemory or delete jobs")
    if isinstance(exc, _PASSING) or _NOT_NOW.search(reply):
        return BrokerUnreachable(f"{where} can't serve us now: {reply}; its own log says why")
    if isinstance(exc, (redis.ConnectionError, redis.TimeoutError)):
        tls = ", and do its certificate and ours fit" if url.startswith("rediss:") else ""
        return BrokerUnreachable(f"no answer from {where}: {reply}; is it running{tls}?")
    return MessageInvalid(f"{where} can't do what we ask: {reply}; do others use our prefix?")


def translates(method: Callable[P, R]) -> Callable[P, R]:
    """Wrap a method of an object that has a `url`, so that only our errors leave it."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with translated(getattr(args[0], "url")):  # noqa: B009  # args[0] is untyped here
            return method(*args, **kwargs)

    return wrapper
