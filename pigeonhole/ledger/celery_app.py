"""The Celery app: what producer and worker must agree on, whatever the environment says to Celery.

Celery reads `CELERY_BROKER_URL` and its like before anything that an app sets. Another project's variables are this
process's to keep, so nothing here reads or removes them.
"""

from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import pools
from kombu.connection import Connection

from pigeonhole.ledger.redis_client import PasswordFile, connect
from pigeonhole.settings import Settings

#: On Redis 0 is the highest priority.
LOWEST_PRIORITY = 9
#: The transport option in which an app carries its `PasswordFile`, also to the processes that a worker starts.
_PROVIDER = "credential_provider"


class Loader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Imports the worker's modules as Python does: Celery's own loader puts the working folder first."""

    def import_from_cwd(self, module: str, imp: object = None, package: str | None = None) -> object:
        """Import a module, and not from the working folder."""
        return self.import_module(module, package=package)

    def read_configuration(self, env: str = "") -> dict[str, object]:
        """Return no settings: the module that CELERY_CONFIG_MODULE names is another project's."""
        return {}


class App(Celery):  # type: ignore[misc]  # Celery has no types
    """A Celery app whose connections lead to the broker of its settings, whatever the environment names."""

    #: A result backend would double the writes and grow without end: the ledger holds the rows.
    backend_cls = "disabled"

    def connection_for_read(self, url: str | None = None, **options: object) -> Connection:
        """Return a connection for consuming messages."""
        return _authenticating(super().connection_for_read(url or self.conf["broker_url"], **options))

    def connection_for_write(self, url: str | None = None, **options: object) -> Connection:
        """Return a connection for publishing messages."""
        return _authenticating(super().connection_for_write(url or self.conf["broker_url"], **options))

    def connection(self, hostname: str | None = None, **options: object) -> Connection:
        """Return a connection; Flower and Celery's banner ask for one like this."""
        return self.connection_for_write(hostname, **options)


def _authenticating(connection: Connection) -> Connection:
    """Make a connection read its password from the file of the settings, if they name one."""
    provider = (connection.transport_options or {}).get(_PROVIDER)
    if provider:
        connection.credential_provider = provider
        # For `as_uri`, by which Flower connects.
        connection.userid, connection.password = provider.user or None, provider.password
    return connection


def configure(settings: Settings) -> App:
    """Return a Celery app with what producer and worker must agree on."""
    broker, provider = _broker(settings.broker_url)
    # The loader and the fixups are named because Celery would look for others in CELERY_LOADER and
    # DJANGO_SETTINGS_MODULE. Its fixup for Django changes sys.path.
    app = App("pigeonhole", set_as_current=False, loader=Loader, fixups=())
    app.conf.update(
        **broker,
        # The limit that there is: another one would resize the pools of its host's connections.
        broker_pool_limit=pools.get_limit(),
        # JSON only: a pickle from the queue would run whatever its writer wants.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        broker_transport_options={
            # One Redis can be shared: every key of Celery's begins as ours do.
            "global_keyprefix": f"{settings.prefix}:",
            # By default only four levels exist, and queues take turns whatever their messages' priority.
            "priority_steps": list(range(LOWEST_PRIORITY + 1)),
            "queue_order_strategy": "priority",
            # Pending pieces are in the ledger, so the queue keeps no record of its own of what was taken from it:
            # that would double each message's commands, end a worker when Redis is full, and deliver a task again that
            # runs for long.
            "ack_emulation": False,
            # Without these a connection that broke silently goes unnoticed for minutes.
            "socket_keepalive": True,
            "socket_connect_timeout": 3,
            # A stalled Redis holds a publisher for ever without it; a worker's loop would wait as long for each of the
            # commands that it has on the way when its connection stalls.
            "socket_timeout": 4,
            "health_check_interval": 10,
            _PROVIDER: provider,
        },
        # What a remote-control client that vanished did not fetch would stay for ever (celery issue 6089).
        control_queue_expires=60.0,
    )
    return app


def _broker(url: str) -> tuple[dict[str, Any], PasswordFile | None]:
    """Return Celery's settings for a broker URL, read as redis-py reads it, and where its password is if in a file.

    kombu reads one differently: it trusts any certificate where the URL says nothing of them, takes no `?db=` and no
    `unix://` with a user, and a `;` in a password for the start of another URL.
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
