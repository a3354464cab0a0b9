"""The two Redis users have exactly the permissions that Pigeonhole needs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.redis_users import BOTH, WORKER
from pigeonhole.errors import ExitCode
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import Client, connect
from pigeonhole.ledger.sweep import sweep
from pigeonhole.ledger.workers import Workers
from tests.conftest import ROOT, wait_for
from tests.security.conftest import PASSWORDS, PREFIX, Guarded, produce

#: Commands with arguments by which an attacker could read other data, do damage, or gain more rights.
FORBIDDEN = """
FLUSHALL | FLUSHDB | SWAPDB 0 1 | SHUTDOWN NOSAVE | DEBUG SLEEP 0 | SAVE | BGSAVE | BGREWRITEAOF | SCRIPT FLUSH
SCRIPT KILL | MODULE LIST | MODULE LOAD /x.so | REPLICAOF localhost 1 | SYNC | MIGRATE localhost 1 guarded:x 0 1
CONFIG GET * | CONFIG SET dir / | CONFIG REWRITE | ACL LIST | ACL SETUSER x on | CLIENT LIST | CLIENT KILL TYPE normal
KEYS * | SCAN 0 | DBSIZE | RANDOMKEY | INFO | MONITOR | SLOWLOG GET | LATENCY RESET | EVAL return 0
PUBLISH guarded:x 0 | PUBLISH other 0 | SUBSCRIBE guarded:x | PSUBSCRIBE *
MOVE guarded:x 0 | RENAME guarded:x other:x | COPY guarded:x other:x | SORT guarded:x STORE other:x
HGET other:job x | HSET other:job x 0 | DEL other:job | LPUSH other:queue 0 | ZADD other:jobs 0 x
HGET guarded x | HGET guardedly:job x | SET * 0
"""
COMMANDS = [command.strip() for line in FORBIDDEN.strip().split("\n") for command in line.split("|")]
#: Error texts of Redis 6.2 and 7 for commands, for commands in scripts, and for disabled commands.
REFUSED = r"(?i)no permissions|can't run this command|can't access at least one of the keys|not allowed"


@pytest.fixture
def worker(guarded: Guarded, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a real worker after resetting Redis' counts of commands."""
    guarded.refused()
    guarded.admin.config_resetstat()
    settings = guarded.settings("worker")
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
    environment = os.environ | settings.to_environment() | {"PIGEONHOLE_PROCESSES": "1"}
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    wait_for(lambda: any(one.processes for one in Workers(settings).alive()), f"the worker: {tmp_path / 'worker.log'}")
    yield process
    process.kill()
    process.wait()


def test_each_command_works_as_these_users_and_each_right_is_used(
    guarded: Guarded, worker: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        ended = produce(guarded.settings("producer"), *arguments)
        assert ended.returncode in (ExitCode.OK, ExitCode.ERROR_ROWS), ended.stderr.decode()
        return ended.stdout.decode().strip()

    connect(guarded.url("producer")).lpush(f"{PREFIX}:classify.digits", "no message at all")
    run("classify", "samples", "-o", str(tmp_path / "classified.csv"))
    job = run("submit", "samples")
    run("wait", job, "-o", str(tmp_path / "waited.csv"))
    assert guarded.refused() == []
    findings = json.loads(produce(guarded.settings("producer"), "doctor", "samples", "--json").stdout)["findings"]
    # CONFIG contains passwords, so it is refused; one message was invalid.
    assert {one["name"] for one in findings if not one["ok"]} == {"persistence", "leftovers"}
    assert all(line.startswith("producer: command config") for line in guarded.refused())
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    unfinished = run("submit", "samples")
    run("status")
    run("status", unfinished)
    guarded.admin.delete(
        f"{guarded.settings('producer').prefix}:sweeping"
    )  # the worker may still hold the lock of the sweep
    for user in PASSWORDS:
        assert Workers(guarded.settings(user), client=connect(guarded.url(user))).may_sweep() is (user == "producer")
        sweep(Ledger(guarded.settings(user)), Queue(guarded.settings(user)))
    run("resume", unfinished)
    run("cancel", unfinished)
    run("results", job, "-o", str(tmp_path / "again.csv"))
    run("delete", unfinished)
    assert len({(tmp_path / name).read_bytes() for name in ("classified.csv", "waited.csv", "again.csv")}) == 1
    assert [letter.why.partition(":")[0] for letter in DeadLetters(guarded.settings("worker")).all()] == [
        "JSONDecodeError"
    ]
    assert guarded.refused() == []
    used = {name.removeprefix("cmdstat_") for name in guarded.admin.info("commandstats")}
    # Redis 6.2 counts `script|load` as `script`.
    unused = [name for name in BOTH | WORKER if not {name, name.partition("|")[0]} & used]
    assert unused == []


@pytest.fixture(params=PASSWORDS)
def client(request: pytest.FixtureRequest, guarded: Guarded) -> Iterator[Client]:
    """Yield a client of each user, and check afterwards that keys of other programs and the users are unchanged."""
    guarded.admin.hset("other:job", "x", "theirs")
    yield connect(guarded.url(request.param), retries=0)
    assert guarded.admin.hgetall("other:job") == {"x": "theirs"}
    assert set(guarded.admin.acl_users()) == {"default", "admin", "producer", "worker"}


@pytest.mark.parametrize("command", COMMANDS)
def test_neither_user_can_run_another_command(client: Client, command: str) -> None:
    with pytest.raises(redis.ResponseError, match=REFUSED):
        client.execute_command(*command.split(" "))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_script_can_do_no_more_than_its_caller(client: Client, command: str) -> None:
    quoted = ", ".join(f"'{word}'" for word in command.split(" "))
    digest = client.script_load(f"return redis.call({quoted})")
    with pytest.raises(redis.ResponseError, match=REFUSED):
        client.evalsha(digest, 0)


def test_a_producer_can_take_no_message(guarded: Guarded) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        connect(guarded.url("producer")).brpop([f"{PREFIX}:classify.digits"], timeout=1)
