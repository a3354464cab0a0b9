"""Ctrl-C of an embedded run whose supervisor process hangs."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import children, wait_for
from tests.e2e.conftest import command, leftovers

#: A site-packages file: the supervisor, and no other process, creates a file and hangs instead of ending its processes.
_HANGS = """
import os, sys, time

def hang(*_):
    open({hung!r}, "w").close()
    time.sleep(600)

if "pigeonhole.embedded.supervisor" in sys.orig_argv:
    os.killpg = hang
"""


@pytest.fixture(params=["hanging"])
def run(
    home: Path, temporary: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator["subprocess.Popen[bytes]"]:
    """Return a command that has written rows and has many more to write."""
    (home / "list").write_text("samples/003b50.png\n" * 300_000)
    (tmp_path / "hanging").mkdir()
    (tmp_path / "hanging" / "sitecustomize.py").write_text(_HANGS.format(hung=str(tmp_path / "hung")))
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(tmp_path / request.param)}
    line = command("classify", "@list", "-o", "rows.csv")
    process = subprocess.Popen(line, cwd=home, env=environment, stderr=subprocess.PIPE)
    rows = home / "rows.csv.part"
    wait_for(lambda: rows.exists() and rows.stat().st_size > 0, "the first row")
    yield process
    process.kill()
    process.wait()


def test_a_second_interruption_ends_the_command_and_its_processes_at_once(
    run: "subprocess.Popen[bytes]", temporary: Path, tmp_path: Path
) -> None:
    run.send_signal(signal.SIGINT)
    wait_for((tmp_path / "hung").exists, "the hanging supervisor")
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=10)
    assert run.returncode == 130
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")


@pytest.mark.parametrize("run", ["sound"], indirect=True)
def test_an_interruption_ends_a_command_whose_supervisor_was_stopped(
    run: "subprocess.Popen[bytes]", temporary: Path
) -> None:
    [supervisor] = children(run.pid, b"supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=10)
    assert run.returncode == 130
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
