"""The base class of the ledger's parts: the client, the names of the keys, the scripts and the clock."""

import re
from collections.abc import Callable

from pigeonhole.errors import UnknownJob
from pigeonhole.ledger.redis import scripts
from pigeonhole.ledger.redis.client import Client, connect, server_time, translates
from pigeonhole.settings import Settings

JOB = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
#: The endings of a job's keys, in the order of `lua/prelude.lua`; the two lists of jobs follow them.
PARTS = ("", ":refs", ":waiting", ":claimed", ":rows", ":parts", ":digests")
LISTS = ("active", "jobs")


class Store:
    """The records in one Redis.

    Args:
        settings: the broker URL, the prefix of the keys, and the time limits.
        now: a clock for tests; None: the server's clock.
        client: a client to use; None: a new one.
    """

    def __init__(
        self, settings: Settings, now: Callable[[], float] | None = None, client: Client | None = None
    ) -> None:
        self.url = settings.broker_url
        self.client = client or connect(settings.broker_url)
        self.settings = settings
        self._now = now
        self._scripts = dict[str, Client]()

    @translates
    def ping(self) -> None:
        """Raise BrokerUnreachable unless Redis answers."""
        self.client.ping()

    def _run(self, name: str, job: str, *args: object) -> Client:
        """Run the script with this name on a job, and return its reply."""
        return self._script(name, scripts.on_job)(
            [*self._keys(job), *map(self._key, LISTS)], (self._time(), job, *args)
        )

    def _script(self, name: str, source: Callable[[str], str]) -> Client:
        if name not in self._scripts:
            self._scripts[name] = self.client.register_script(source(name))
        return self._scripts[name]

    def _key(self, name: str) -> str:
        return f"{self.settings.prefix}:{name}"

    def _keys(self, job: str) -> tuple[str, ...]:
        """Return a job's keys in the order that the scripts expect; raise UnknownJob if `job` is not a valid id."""
        if not JOB.fullmatch(job):
            raise UnknownJob(job)  # an id such as `ID:rows` would name another job's key
        return tuple([self._key(f"job:{job}{part}") for part in PARTS])

    def _time(self) -> float | str:
        return self._now() if self._now else ""

    def _clock(self) -> float:
        return self._now() if self._now else server_time(self.client)
