"""No command line, log or message contains the broker's password."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings, masked
from tests.conftest import ROOT, wait_for
from tests.ledger.conftest import Server
from tests.security.conftest import produce
from tests.security.target import Target

#: The password in the file, and quoted for a URL; its characters are special in URLs and for kombu.
PASSWORD, QUOTED = "s3;cr@t/W0rd", "s3%3Bcr%40t%2FW0rd"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Start a Redis that requires the password."""
    running = Server(tmp_path, "--requirepass", PASSWORD)
    yield running
    running.kill()


@pytest.fixture
def settings(server: Server) -> Settings:
    """Return settings with the password in the URL, the worst case."""
    return Settings(broker_url=f"{server.url}?password={QUOTED}", image_root=str(ROOT))


def _assert_hidden(text: str, where: str) -> None:
    for secret in (PASSWORD, QUOTED, "cr@t", "cr%40t", "W0rd"):
        assert secret not in text, where


def _command_lines(ancestor: int) -> dict[int, str]:
    """Return the command lines of a process and its descendants."""
    parents, lines, family = {}, {}, {ancestor}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has just ended
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return {process: lines[process] for process in family & lines.keys()}


def test_no_command_line_and_no_log_of_a_worker_shows_the_password(
    settings: Settings, server: Server, tmp_path: Path
) -> None:
    target = Target(settings, tmp_path, "--log-level", "DEBUG")
    try:
        target.send(b"no message", {"headers": {"task": "unknown"}})
        lines = _command_lines(target.process.pid)
        assert len(lines) >= 3  # the parent, its resource tracker, a pool process
        for line in lines.values():
            _assert_hidden(line, "a command line")
        server.kill()
        wait_for(lambda: b"no answer from Redis at" in target.log.read_bytes(), f"a lost connection: {target.log}")
        target.process.terminate()
        _assert_hidden(target.log.read_text(errors="replace"), "the log")
    finally:
        target.close()


@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("status", "20260101-000000-abcdef")])
def test_no_command_prints_the_password(settings: Settings, server: Server, arguments: tuple[str, ...]) -> None:
    ended = produce(settings, *arguments)
    _assert_hidden((ended.stdout + ended.stderr).decode(), "the output")


def test_no_connection_error_shows_the_password(settings: Settings, server: Server) -> None:
    refused = produce(Settings(broker_url=settings.broker_url + "x"), "status")
    server.kill()
    gone = produce(settings, "status")
    assert (refused.returncode, gone.returncode) == (ExitCode.BROKER_UNREACHABLE,) * 2
    _assert_hidden((refused.stderr + gone.stderr).decode(), "an error")


@pytest.mark.parametrize(
    "name", ["password", "pass%77ord", "%70assword", "ssl_password", "ssl%5fpassword", "ssl%5Fpassw%6Frd", "pass\nword"]
)
@pytest.mark.parametrize("before", ["?", "?db=1&", "?health_check_interval=1&"])
def test_settings_mask_the_password_however_the_url_spells_its_argument(name: str, before: str) -> None:
    url = f"rediss://localhost/0{before}{name}={QUOTED}&socket_timeout=1"
    known = connect(url).connection_pool.connection_kwargs
    assert PASSWORD in (known.get("password"), known.get("ssl_password")), "redis-py reads the password"
    _assert_hidden(repr(Settings(broker_url=url)), "the settings")
    assert masked(url) == f"rediss://localhost/0{before}{name}=***&socket_timeout=1"


def test_no_process_of_an_embedded_run_has_the_password_in_its_command_line(tmp_path: Path) -> None:
    """Check an embedded Redis: its socket needs no password, and it must not get the broker's."""
    environment = os.environ | {"PIGEONHOLE_BROKER_PASSWORD_FILE": str(tmp_path / "password")}
    (tmp_path / "password").write_text(PASSWORD)
    images = tmp_path / "images"
    images.mkdir()
    (images / "1.png").write_bytes(next((ROOT / "samples").glob("*.png")).read_bytes())
    command = [sys.executable, "-m", "pigeonhole", "classify", str(images), "-o", str(tmp_path / "rows.csv")]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as running:
        wait_for(lambda: any("spawn_main" in line for line in _command_lines(running.pid).values()), "a pool process")
        lines = _command_lines(running.pid)
        assert any("redis-server" in line for line in lines.values())
        for line in lines.values():
            _assert_hidden(line, "a command line")
        running.communicate(timeout=60)
