"""A hardened Redis: TLS with client certificates, and users with minimal permissions."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from pigeonhole.embedded.servers import redis_server
from pigeonhole.settings import Settings
from tests.conftest import ROOT, tls_redis_server, wait_for
from tests.security.target import Target

PREFIX = "guarded"
#: Not database 0, so that SELECT must be permitted too.
DATABASE = 1
#: Passwords that no log or error may show; their characters are special in URLs and for kombu.
PASSWORDS = {"producer": "pr;od@ucer/s3cret", "worker": "wo;rk@er/s3cret"}


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that uses the `openssl` program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.own = self._create("authority", "-x509", "-days", "2", "-addext", "keyUsage=critical,keyCertSign")

    def sign(self, name: str, days: int = 2, hosts: str = "DNS:localhost") -> Certificate:
        """Create a key, and sign a certificate for it.

        Args:
            name: The common name of the certificate.
            days: The days for which it is valid; negative if it has expired.
            hosts: The host names that it is valid for, as an OpenSSL `subjectAltName`.
        """
        request = self._create(name, "-addext", f"subjectAltName={hosts}")
        _openssl("x509", "-req", "-in", request.certificate, "-out", request.certificate, "-copy_extensions", "copy",
                 "-CA", self.own.certificate, "-CAkey", self.own.key, "-days", days)  # fmt: skip
        return request

    def _create(self, name: str, *arguments: str) -> Certificate:
        created = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        # A key of an elliptic curve is created faster than an RSA key.
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-subj", f"/CN={name}", "-out", created.certificate, "-keyout", created.key, *arguments)  # fmt: skip
        return created


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass(frozen=True)
class Guarded:
    """A Redis with users, and with TLS if its build has it.

    Args:
        place: Its port on `localhost`, or its Unix socket.
        admin: A client with all permissions.
        authority: The authority that signs its certificate and those of its clients; None without TLS.
        client: A client certificate that it accepts; None without TLS.
    """

    place: int | Path
    admin: Any
    authority: Authority | None
    client: Certificate | None

    def url(self, user: str, host: str = "localhost", **changes: Path | None) -> str:
        """Return a user's broker URL.

        Args:
            user: The Redis user.
            host: The host name.
            changes: Parameters of the URL to replace by other files; None removes the parameter.
        """
        login = f"{user}:{quote(PASSWORDS[user], safe='')}"
        if self.authority is None or self.client is None:
            return f"unix://{login}@{self.place}?db={DATABASE}"
        files: dict[str, Path | None] = {
            "ssl_ca_certs": self.authority.own.certificate,
            "ssl_certfile": self.client.certificate,
            "ssl_keyfile": self.client.key,
        }
        named = "&".join(f"{name}={quote(str(file))}" for name, file in (files | changes).items() if file)
        return f"rediss://{login}@{host}:{self.place}/{DATABASE}?{named}"

    def settings(self, user: str) -> Settings:
        """Return a user's settings."""
        return Settings(broker_url=self.url(user), prefix=PREFIX, image_root=str(ROOT))

    def refused(self) -> list[str]:
        """Return the commands that Redis has refused since the last call, with their users."""
        # redis-py sends its name with CLIENT; it also works if that is refused.
        entries = [entry for entry in self.admin.acl_log() if not entry["object"].startswith("client")]
        self.admin.acl_log_reset()
        return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in entries]


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Start the hardened Redis that all tests share."""
    folder, server = tmp_path_factory.mktemp("guarded"), tls_redis_server()
    socket_file, users = folder / "redis.sock", folder / "users.acl"
    users.write_text(f"user default off\nuser admin on nopass ~* &* +@all\n{_users(folder)}", encoding="utf-8")
    command = [server or redis_server(), "--port", "0", "--unixsocket", str(socket_file), "--dir", str(folder)]
    command += ["--aclfile", str(users), "--save", ""]
    admin = redis.Redis(
        unix_socket_path=str(socket_file), db=DATABASE, username="admin", password="", decode_responses=True
    )
    guarded = Guarded(socket_file, admin, None, None)
    if server is not None:
        authority, port = Authority(folder), _free_port()
        own = authority.sign("server")
        command += ["--bind", "127.0.0.1", "--tls-port", str(port), "--tls-auth-clients", "yes"]
        command += ["--tls-cert-file", str(own.certificate), "--tls-key-file", str(own.key)]
        command += ["--tls-ca-cert-file", str(authority.own.certificate)]
        guarded = Guarded(port, admin, authority, authority.sign("client"))
    with (folder / "redis.log").open("wb") as log, subprocess.Popen(command, stdout=log) as process:
        wait_for(lambda: _answers(admin), f"Redis: {folder / 'redis.log'}")
        yield guarded
        process.kill()


def _users(folder: Path) -> str:
    """Return the lines that `deploy/redis_users.py` writes."""
    files = []
    for user, password in PASSWORDS.items():
        (folder / user).write_text(password, encoding="utf-8")
        files.append(str(folder / user))
    command = [sys.executable, str(ROOT / "deploy" / "redis_users.py"), PREFIX, *files]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def produce(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command of the program with these settings, in a process of its own."""
    command = [sys.executable, "-m", "pigeonhole", *arguments]
    environment = os.environ | settings.to_environment()
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session")
def target(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Start a real worker that all tests share; no test may end it."""
    folder = tmp_path_factory.mktemp("target")
    settings = Settings(broker_url=redis_url, prefix=f"test-{folder.name}-{os.getpid()}", image_root=str(ROOT))
    worker = Target(settings, folder)
    yield worker
    worker.close()
