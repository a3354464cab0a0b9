"""The Celery app: the configuration that producer and worker share.

Celery prefers variables such as `CELERY_BROKER_URL` to an app's own settings. Those variables may belong to another
project in the same process, so this module neither reads nor removes them.
"""

from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import pools
from kombu.connection import Connection

from pigeonhole.ledger.redis.client import PasswordFile, connect
from pigeonhole.settings import Settings

#: On Redis, 0 is the highest priority.
LOWEST_PRIORITY = 9
#: The transport option that holds the `PasswordFile`, so that a worker's child processes get it too.
_PROVIDER = "credential_provider"


class Loader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Loads the worker's modules from Python's path only: Celery's own loader tries the working folder first."""

    def import_from_cwd(self, module: str, imp: object = None, package: str | None = None) -> object:
        """Import a module from Python's path, not from the working folder."""
        return self.import_module(module, package=package)

    def read_configuration(self, env: str = "") -> dict[str, object]:
        """Return no settings: the module that CELERY_CONFIG_MODULE names is another project's."""
        return {}


class App(Celery):  # type: ignore[misc]  # Celery has no types
    """A Celery app that connects to the broker of its settings and ignores Celery's environment variables."""

    #: The ledger holds the rows. A result backend would double the writes and keep growing.
    backend_cls = "disabled"

    def connection_for_read(self, url: str | None = None, **options: object) -> Connection:
        """Return a connection for consuming messages."""
        return _authenticating(super().connection_for_read(url or self.conf["broker_url"], **options))

    def connection_for_write(self, url: str | None = None, **options: object) -> Connection:
        """Return a connection for publishing messages."""
        return _authenticating(super().connection_for_write(url or self.conf["broker_url"], **options))

    def connection(self, hostname: str | None = None, **options: object) -> Connection:
        """Return a connection; Flower and Celery's start-up banner call this method."""
        return self.connection_for_write(hostname, **options)


def _authenticating(connection: Connection) -> Connection:
    """Set a connection up to read its password from a file, if the settings name one."""
    provider = (connection.transport_options or {}).get(_PROVIDER)
    if provider:
        connection.credential_provider = provider
        # For `as_uri`, by which Flower connects.
        connection.userid, connection.password = provider.user or None, provider.password
    return connection


def configure(settings: Settings) -> App:
    """Return a Celery app with the configuration that producer and worker share."""
    broker, provider = _broker(settings.broker_url)
    # Without a loader and fixups, Celery takes them from CELERY_LOADER and DJANGO_SETTINGS_MODULE, and its fixup for
    # Django changes sys.path.
    app = App("pigeonhole", set_as_current=False, loader=Loader, fixups=())
    app.conf.update(
        **broker,
        # The current limit: any other would resize the connection pools of the whole process.
        broker_pool_limit=pools.get_limit(),
        # JSON only: unpickling a message would run code that its sender chose.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        broker_transport_options={
            # Several programs may share one Redis, so Celery's keys get our prefix too.
            "global_keyprefix": f"{settings.prefix}:",
            # The default has four levels only, and serves queues in turn without regard to priority.
            "priority_steps": list(range(LOWEST_PRIORITY + 1)),
            "queue_order_strategy": "priority",
            # The ledger records pending pieces, so the queue needs no record of unacknowledged messages. That record
            # would double the commands, stop a worker when Redis is full, and deliver long tasks twice.
            "ack_emulation": False,
            # Without these, a silently broken connection goes unnoticed for minutes.
            "socket_keepalive": True,
            "socket_connect_timeout": 3,
            # Without it, a stalled Redis blocks a publisher for ever, and a worker for each command that it has sent.
            "socket_timeout": 4,
            "health_check_interval": 10,
            _PROVIDER: provider,
        },
        # Otherwise replies that a vanished remote-control client did not fetch stay for ever (celery issue 6089).
        control_queue_expires=60.0,
    )
    return app


def _broker(url: str) -> tuple[dict[str, Any], PasswordFile | None]:
    """Return Celery's settings for a broker URL, and its password file if it has one.

    redis-py parses the URL, because kombu parses it differently. kombu accepts any certificate by default, supports
    neither `?db=` nor `unix://` with a user, and splits a password at `;`.
    """
    read = connect(url).connection_pool.connection_kwargs
    provider: PasswordFile | None = read.get("credential_provider")
    user, password = (quote(read.get(part) or "", safe="") for part in ("username", "password"))
    login = f"{user}:{password}@" if user or password else ""
    if "path" in read:
        place = f"{login}{quote(read['path'])}?virtual_host={read.get('db', 0)}"
        return {"broker_url": f"redis+socket://{place}"}, provider
    host, port, database = read.get("host", "localhost"), read.get("port", 6379), read.get("db", 0)
    place = f"{login}{f'[{host}]' if ':' in host else host}:{port}/{database}"
    if not url.startswith("rediss://"):
        return {"broker_url": f"redis://{place}"}, provider
    tls = {name: value for name, value in read.items() if name.startswith("ssl_")}
    return {"broker_url": f"rediss://{place}", "broker_use_ssl": {"ssl_cert_reqs": "required"} | tls}, provider
