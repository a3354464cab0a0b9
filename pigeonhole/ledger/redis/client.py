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
# An error inside a script arrives as the script's error, with the original text in its middle.
_NO_PERMISSION = re.compile(
    r"\bNOPERM\b|can't run this command or subcommand|no permissions to|can't access at least one of the keys"
)
_FULL = re.compile(r"\bOOM\b|command not allowed when used memory")
_NOT_NOW = re.compile(
    r"\b(MISCONF|READONLY|MASTERDOWN|NOREPLICAS|BUSY|UNKILLABLE|UNBLOCKED)\b|against a read only replica"
)

#: Seconds after which a command without a reply counts as lost: each of our scripts takes milliseconds.
COMMAND_TIMEOUT = 10.0
CONNECT_TIMEOUT = 3.0


@dataclass(frozen=True)
class PasswordFile(redis.CredentialProvider):
    """A password file that is read for each connection, so that a changed password needs no restart.

    Args:
        user: the Redis user; empty: the default user.
        file: the path of the file with the password.
    """

    user: str
    file: str

    def password(self) -> str:
        """Return the current password in the file.

        Raises:
            AuthenticationError: the file can't be read.
        """
        try:
            return read_password(self.file)
        except (OSError, UnicodeDecodeError) as exc:
            raise redis.AuthenticationError(f"the password file {self.file!r} can't be read: {exc}") from exc

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the user and the password, or the password alone, as redis-py asks for them."""
        return (self.user, self.password()) if self.user else (self.password(),)


def connect(url: str, retries: int = COMMAND.retries or 0, timeout: float = COMMAND_TIMEOUT) -> Client:
    """Return a client for a `redis://`, `rediss://` or `unix://` URL, without connecting yet.

    Args:
        url: a URL as in the setting `broker_url`.
        retries: the number of times that a command is sent again after its connection was lost.
        timeout: the seconds that a command may take, and connecting as well, up to 3 seconds.

    Raises:
        SettingsError: redis-py does not accept the URL.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
            health_check_interval=30,
            retry=Retry(ExponentialWithJitterBackoff(base=COMMAND.first, cap=COMMAND.longest), retries=retries),
            # A job's name on the command line may be any bytes; it then names no job, and needs no other error.
            encoding_errors="surrogateescape",
        )
        pool = client.connection_pool
        file = pool.connection_kwargs.pop(PASSWORD_FILE, "")
        if file:
            user = pool.connection_kwargs.pop("username", None)
            pool.connection_kwargs["credential_provider"] = PasswordFile(user or "", file)
        pool.connection_class(**pool.connection_kwargs)  # checks the URL's arguments without connecting
    except (ValueError, TypeError, redis.RedisError) as exc:
        raise SettingsError(f"the broker URL {masked(url)!r} is invalid: {exc}") from exc
    return client


def is_transient(exc: Exception) -> bool:
    """Return whether a retry may succeed: Redis is down or full, but does not refuse access."""
    return isinstance(exc, BrokerUnreachable) and not isinstance(exc, BrokerRefuses)


def server_time(client: Client) -> float:
    """Return the time on Redis' clock, in seconds since the epoch."""
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Translate redis-py's errors in the block into ours.

    Raises:
        BrokerUnreachable: no connection, no reply in time, or access refused.
        MessageInvalid: one of our keys has another type.
    """
    try:
        yield
    except redis.RedisError as exc:
        raise explained(exc, url) from exc


def explained(exc: redis.RedisError, url: str) -> PigeonholeError:
    """Return our error for one of redis-py's."""
    where, reply = f"Redis at {masked(url)}", str(exc)
    if isinstance(exc, _REFUSALS) or _NO_PERMISSION.search(reply):
        return BrokerRefuses(f"{where} refuses access: {reply}; check the user and password in its URL")
    if "DB index" in reply:
        return BrokerRefuses(f"{where} has no such database: {reply}; the number at the end of its URL selects one")
    if isinstance(exc, redis.exceptions.OutOfMemoryError) or _FULL.search(reply):
        return BrokerUnreachable(f"{where} is full: {reply}; raise its maxmemory or delete jobs")
    if isinstance(exc, _PASSING) or _NOT_NOW.search(reply):
        return BrokerUnreachable(f"{where} is not available: {reply}; see its log")
    if isinstance(exc, (redis.ConnectionError, redis.TimeoutError)):
        tls = ", and are its certificates right" if url.startswith("rediss:") else ""
        return BrokerUnreachable(f"no answer from {where}: {reply}; is it running{tls}?")
    return MessageInvalid(f"{where} can't run a command: {reply}; does another program use the same key prefix?")


def translates(method: Callable[P, R]) -> Callable[P, R]:
    """Decorate a method of an object with a `url`, so that it raises our errors in place of redis-py's."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with translated(getattr(args[0], "url")):  # noqa: B009  # args[0] is untyped here
            return method(*args, **kwargs)

    return wrapper
