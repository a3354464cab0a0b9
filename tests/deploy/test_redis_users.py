"""The script that writes the two Redis users; tests/security/test_acl.py tests their permissions."""

import hashlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.redis_users import BOTH, WORKER
from pigeonhole.ledger.redis import scripts
from pigeonhole.ledger.redis.client import Client, connect
from tests.conftest import ROOT

SCRIPT = ROOT / "deploy" / "redis_users.py"


@pytest.fixture
def passwords(tmp_path: Path) -> list[str]:
    """Write the password files of both users, and return their paths."""
    for name in ("producer", "worker"):
        (tmp_path / name).write_text(f"s3cret of the {name}\n", encoding="utf-8")
    return [str(tmp_path / name) for name in ("producer", "worker")]


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_the_lines_contain_no_password_and_redis_accepts_them(passwords: list[str], redis_url: str) -> None:
    lines = _run("shared.redis:one", *passwords).stdout.splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["user", name, "reset", "on", f"#{hashlib.sha256(f's3cret of the {name}'.encode()).hexdigest()}"]
        for name in ("producer", "worker")
    ]
    client: Client = connect(redis_url)
    for line in lines:
        _, name, *rules = line.split()
        assert client.execute_command("ACL", "SETUSER", name, *rules)
        assert client.acl_deluser(name)


@pytest.mark.parametrize("prefix", ["*", "", "a?", "a b", "[a]", "a\nuser x on nopass"])
def test_a_prefix_that_is_empty_a_pattern_or_several_words_is_refused(prefix: str, passwords: list[str]) -> None:
    completed = _run(prefix, *passwords)
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr.startswith("usage: ")


def test_an_empty_password_is_refused(passwords: list[str]) -> None:
    Path(passwords[1]).write_text("\n", encoding="utf-8")
    completed = _run("pigeonhole", *passwords)
    assert (completed.returncode, completed.stdout) == (1, "")
    assert "empty password" in completed.stderr


def test_each_command_of_the_ledgers_scripts_is_allowed() -> None:
    called = re.findall(r"redis\.call\('(\w+)'", inspect.getsource(scripts))
    assert {name.lower() for name in called} <= BOTH.keys() | WORKER.keys(), "allow it in deploy/redis_users.py"
