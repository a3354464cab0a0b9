"""The state of Redis: its version, its memory, and what it keeps when it stops.

A Redis user with the least rights (`deploy/redis_users.py`) may ask for what `INFO` tells, not for the configuration.
"""

from dataclasses import dataclass
from typing import Any

from pigeonhole.errors import BrokerRefuses
from pigeonhole.ledger.redis_client import Client, connect, translated, translates
from pigeonhole.settings import Settings


@dataclass(frozen=True)
class Memory:
    """The memory of Redis, in bytes.

    Args:
        used, most: what it uses, and may use at the most; 0: it has no limit.
        policy: what becomes of a key when it is full.
    """

    used: int
    most: int
    policy: str

    @property
    def evicts(self) -> bool:
        """True if a full Redis deletes keys instead of refusing more."""
        return self.policy != "noeviction"


class Server:
    """One Redis.

    Args:
        settings: where it is.
        client: a client in place of a new one.

    All methods raise BrokerRefuses where our user may not ask, and BrokerUnreachable without an answer.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.url = settings.broker_url
        self.client = client or connect(settings.broker_url)

    @translates
    def version(self) -> str:
        """Return its version; of Valkey, the version of Redis that it stands for."""
        return str(self.client.info("server")["redis_version"])

    @translates
    def memory(self) -> Memory:
        """Return how full it is."""
        reply = self.client.info("memory")
        return Memory(reply["used_memory"], reply["maxmemory"], reply["maxmemory_policy"])

    @translates
    def appends(self) -> bool:
        """Return whether it keeps an append-only file."""
        return bool(self.client.info("persistence")["aof_enabled"])

    def configured(self, name: str) -> str | None:
        """Return one of its settings; None where we may not ask."""
        try:
            with translated(self.url):
                reply: dict[str, Any] = self.client.config_get(name)
        except BrokerRefuses:
            return None
        return reply.get(name)
