"""The state of the Redis server: version, memory and persistence.

A Redis user with the least rights (`deploy/redis_users.py`) may run `INFO`, but not read the configuration.
"""

from dataclasses import dataclass
from typing import Any

from pigeonhole.errors import BrokerRefuses
from pigeonhole.ledger.redis.client import Client, connect, translated, translates
from pigeonhole.settings import Settings


@dataclass(frozen=True)
class Memory:
    """The memory of Redis, in bytes.

    Args:
        used: the bytes in use.
        most: the limit in bytes; 0: no limit.
        policy: the eviction policy, such as `noeviction`.
    """

    used: int
    most: int
    policy: str

    @property
    def evicts(self) -> bool:
        """True if a full Redis deletes keys instead of refusing writes."""
        return self.policy != "noeviction"


class Server:
    """Reads the state of one Redis server.

    Args:
        settings: the settings with the broker URL.
        client: a client to use; None: a new one.

    All methods raise BrokerRefuses if our Redis user lacks the right, and BrokerUnreachable if there is no reply.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.url = settings.broker_url
        self.client = client or connect(settings.broker_url)

    @translates
    def version(self) -> str:
        """Return the server's version; for Valkey, the Redis version with which it is compatible."""
        return str(self.client.info("server")["redis_version"])

    @translates
    def memory(self) -> Memory:
        """Return the server's use of memory."""
        reply = self.client.info("memory")
        return Memory(reply["used_memory"], reply["maxmemory"], reply["maxmemory_policy"])

    @translates
    def appends(self) -> bool:
        """Return whether the server writes an append-only file."""
        return bool(self.client.info("persistence")["aof_enabled"])

    def configured(self, name: str) -> str | None:
        """Return a value of the server's configuration; None if our Redis user may not read it."""
        try:
            with translated(self.url):
                reply: dict[str, Any] = self.client.config_get(name)
        except BrokerRefuses:
            return None
        return reply.get(name)
