"""The findings of `doctor`. tests/worker/monitoring/test_watched.py runs it with a real worker."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import Client, connect
from pigeonhole.ledger.wire.messages import Group, Row
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from pigeonhole.version import VERSION, install_hint
from producer.doctor.checks import STARTING
from producer.doctor.examine import _disk, _own_redis, _packages, _probe_findings, examine
from producer.doctor.findings import Finding, listed, size
from producer.doctor.probe import classify_probe, probe_image
from tests.e2e.conftest import command
from tests.ledger.conftest import Server, batch_of, piece

ONE = Announcement(name="celery@one", model="digits", digest="a" * 64, version=VERSION, processes=2)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, image_root=str(tmp_path))


def found(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings, None, seconds=0.0)}


def test_without_redis_only_the_broker_and_the_disk_are_examined(tmp_path: Path) -> None:
    findings = found(Settings(broker_url=f"unix://{tmp_path}/none.sock", image_root=str(tmp_path)))
    assert list(findings) == ["broker", "disk"]
    assert findings["broker"].ok is False
    assert f"{tmp_path}/none.sock" in findings["broker"].saw


def test_a_missing_worker_is_reported_and_no_probe_is_sent(settings: Settings) -> None:
    findings = found(settings)
    assert findings["workers"].ok is False
    assert "'digits'" in findings["workers"].saw
    assert "`pigeonhole worker`" in findings["workers"].do
    assert [findings[name].ok for name in ("versions", "checkpoints", "probe")] == [None] * 3
    assert VERSION in findings["versions"].saw
    assert "image root" not in findings


def test_a_probe_that_no_worker_takes_is_reported_and_leaves_nothing_behind(settings: Settings, tmp_path: Path) -> None:
    Workers(settings).announce(ONE)
    findings = found(replace(settings, image_root=str(tmp_path)))
    assert findings["probe"].ok is False
    assert "within 0 s" in findings["probe"].saw
    assert "image root" not in findings
    assert list(tmp_path.iterdir()) == []
    assert Ledger(settings).statuses() == []


def test_workers_that_differ_are_reported(settings: Settings) -> None:
    workers = Workers(settings)
    workers.announce(ONE)
    workers.announce(replace(ONE, name="celery@two", digest="b" * 64, version="0.0.1", processes=0))
    workers.announce(replace(ONE, name="celery@other", model="letters", version="0.0.2"))
    findings = found(settings)
    assert findings["workers"].saw.startswith("celery@two: ")
    assert f"0.0.1, {VERSION}" in findings["versions"].saw
    assert "digits@aaaaaaaaaaaa, digits@bbbbbbbbbbbb" in findings["checkpoints"].saw
    assert not any(findings[name].ok for name in ("workers", "versions", "checkpoints"))


def test_a_starting_worker_is_a_failure_only_after_a_while(settings: Settings) -> None:
    workers = Workers(settings)
    workers.announce(replace(ONE, processes=0))
    assert found(settings)["workers"].ok is None
    key = f"{settings.prefix}:worker:{ONE.name}"
    workers.client.hset(key, "busy", str(workers.time() - STARTING))
    assert found(settings)["workers"].ok is False


def test_workers_of_different_precisions_are_reported_and_those_of_different_runtimes_are_not(
    settings: Settings,
) -> None:
    workers = Workers(settings)
    workers.announce(replace(ONE, runtime="onnxruntime/f32"))
    workers.announce(replace(ONE, name="celery@two", runtime="torch/f32"))
    finding = found(settings)["checkpoints"]
    assert finding.ok
    assert "digits@aaaaaaaaaaaa" in finding.saw
    assert "onnxruntime/f32, torch/f32" in finding.saw
    workers.announce(replace(ONE, name="celery@two", runtime="torch/bf16"))
    finding = found(settings)["checkpoints"]
    assert not finding.ok
    assert "digits@aaaaaaaaaaaa, digits@aaaaaaaaaaaa+bf16" in finding.saw
    assert "PIGEONHOLE_PRECISION" in finding.do


def test_a_workers_clock_that_is_wrong_is_reported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        now = time.time()
        there.setattr("pigeonhole.ledger.workers.time.time", lambda: now - 90)
        Workers(settings).announce(ONE)
    finding = found(settings)["clocks"]
    assert finding.ok is False
    assert re.search(r"celery@one .*\b9\d\.\d s behind", finding.saw)


def test_old_jobs_and_dead_letters_are_reported(settings: Settings) -> None:
    two_days_ago = time.time() - 2 * 86_400
    old = Ledger(settings, now=lambda: two_days_ago).create("digits", ("photos",))
    new = Ledger(settings).create("digits", ("photos",))
    DeadLetters(settings).add("a message", "no JSON")
    finding = found(settings)["leftovers"]
    assert finding.ok is False
    assert old in finding.saw
    assert new not in finding.saw
    assert "1 dead letter" in finding.saw
    assert "`pigeonhole cancel`" in finding.do


def test_a_recent_sweep_and_no_unfinished_job_are_good_findings(settings: Settings) -> None:
    Workers(settings).announce(ONE)
    Ledger(settings).note_sweep()
    findings = found(settings)
    assert (findings["sweeps"].ok, findings["jobs"].ok) == (True, True)
    assert "0 s ago" in findings["sweeps"].saw
    assert "0 unfinished" in findings["jobs"].saw


@pytest.mark.parametrize("value", [None, "x", "nan", "1e10"])
def test_workers_that_do_not_sweep_are_reported(settings: Settings, raw: Client, value: str | None) -> None:
    if value is not None:
        raw.set(f"{settings.prefix}:swept", value)
    assert found(settings)["sweeps"].ok is None, "without a worker, no sweep is expected"
    Workers(settings).announce(ONE)
    assert found(settings)["sweeps"].ok is False
    Ledger(settings, now=lambda: time.time() - 600).note_sweep()
    finding = found(settings)["sweeps"]
    assert finding.ok is False
    assert "10 min ago" in finding.saw


def test_jobs_without_progress_are_reported_with_the_reason(settings: Settings) -> None:
    then = Ledger(settings, now=lambda: time.time() - 600)
    stalled, silent, untried, starving = (then.create("digits", ("photos",)) for _ in range(4))
    now = Ledger(settings)
    batch = batch_of("a.png")
    for job, ledger in ((stalled, then), (untried, now), (starving, now)):
        ledger.add(job, 0, batch)
        ledger.close(job, 1)
    now.claim(untried, piece(batch))
    now.release(untried, piece(batch), untried=True)
    now.client.hset(f"{settings.prefix}:job:{starving}", "promoted", str(piece(batch)))
    finding = found(settings)["jobs"]
    assert finding.ok is False
    reasons = ("no batch done", "interrupted", "isolation runs", "other jobs")
    for reason, job in zip(reasons, (stalled, silent, untried, starving), strict=True):
        assert re.search(rf"{reason}[^:;]*: {job}(;|$)", finding.saw)
    assert "`pigeonhole submit --job`" in finding.do


def test_a_job_for_a_model_that_no_worker_serves_is_reported(settings: Settings) -> None:
    ledger = Ledger(settings)
    ledger.create("digits", ("photos",))
    job = ledger.create("digts", ("photos",))
    Workers(settings).announce(Announcement(name="one", model="digits", digest="0" * 64, version=VERSION))
    finding = found(settings)["jobs"]
    assert finding.ok is False
    assert "2 unfinished" in finding.saw
    assert finding.saw.endswith(f": {job}")
    assert "`pigeonhole cancel`" in finding.do


def test_a_redis_with_durable_settings_has_good_findings(
    start_redis: Callable[..., Server], settings: Settings
) -> None:
    durable = start_redis("--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "1gb")
    findings = found(replace(settings, broker_url=durable.url))
    assert [findings[name].ok for name in ("persistence", "memory", "version")] == [True] * 3
    assert "appendfsync always" in findings["persistence"].saw
    assert "1.1 GB" in findings["memory"].saw
    assert "noeviction" in findings["memory"].saw


def test_a_redis_that_could_lose_jobs_is_reported(start_redis: Callable[..., Server], settings: Settings) -> None:
    evicting = start_redis("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
    findings = found(replace(settings, broker_url=evicting.url))
    assert (findings["persistence"].ok, findings["memory"].ok) == (False, False)
    assert "`appendonly yes`" in findings["persistence"].do
    assert "`maxmemory-policy noeviction`" in findings["memory"].do
    full = start_redis("--maxmemory", "900kb")
    connect(full.url).config_set("save", "60 1")
    findings = found(replace(settings, broker_url=full.url))
    assert "`maxmemory`" in findings["memory"].do
    assert findings["persistence"].ok is None


def test_a_redis_user_with_fewer_rights_is_no_failure(start_redis: Callable[..., Server], settings: Settings) -> None:
    server = start_redis()
    connect(server.url).execute_command(
        "ACL", "SETUSER", "few", "on", ">x", "~*", "+@all", "-info", "-config", "-client"
    )
    findings = found(replace(settings, broker_url=f"unix://few:x@{server.socket}"))
    assert [findings[name].ok for name in ("version", "persistence", "memory")] == [None] * 3
    assert "deploy/redis_users.py" in findings["memory"].do


def test_a_redis_that_refuses_access_is_a_failure(start_redis: Callable[..., Server], settings: Settings) -> None:
    url = start_redis("--requirepass", "x").url
    findings = found(replace(settings, broker_url=url))
    assert list(findings) == ["broker", "disk"]
    assert findings["broker"].ok is False
    assert url in findings["broker"].saw
    assert "password" in findings["broker"].saw


def test_a_folder_outside_the_image_root_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'/usr'.*image root"):
        next(examine(settings, "/usr"))
    for each in (settings, Settings()):
        with pytest.raises(UsageError, match=re.escape(str(tmp_path / "none"))):
            next(examine(each, str(tmp_path / "none")))


def test_a_folder_that_can_not_be_written_to_is_no_failure(settings: Settings) -> None:
    Workers(settings).announce(ONE)
    findings = {one.name: one for one in examine(replace(settings, image_root="/"), "/proc/self/attr", seconds=0.0)}
    assert findings["image root"].ok is None
    assert "'/proc/self/attr'" in findings["image root"].saw
    assert "probe" not in findings


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("", {"probe": True, "image root": True}),
        ("missing: no such file", {"probe": True, "image root": False}),
        ("outside: it is not below", {"probe": True, "image root": False}),
        ("too-small: 28 pixels", {"probe": True, "image root": True}),
        ("internal: the network failed", {"probe": False}),
    ],
)
def test_an_error_row_of_the_probe_concerns_the_worker_or_the_image_root(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: str, expected: dict[str, bool]
) -> None:
    row = Row("a.png", "" if error else "1", None, False, error, "digits@a", ())
    monkeypatch.setattr("producer.doctor.examine.classify_probe", lambda *_: row)
    findings = _probe_findings(
        Connection(settings, Retrying()), "digits", Group("file", "", "", ("a.png",)), 0.0, lambda: None
    )
    assert {finding.name: finding.ok for finding in findings} == expected


def test_a_probe_whose_job_is_cancelled_has_no_row_and_leaves_no_job(settings: Settings) -> None:
    ledger = Ledger(settings)

    def cancel() -> None:
        (job,) = ledger.statuses()
        ledger.cancel(job.job)

    assert classify_probe(ledger, Queue(settings), "digits", Group("file", "", "", ("a.png",)), 60.0, cancel) is None
    assert ledger.statuses() == []


def test_a_probe_image_is_readable_by_all_users_and_is_removed(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with probe_image(str(tmp_path)) as path:
            assert os.stat(path).st_mode & 0o777 == 0o644
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_of_embedded_runs_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("producer.doctor.examine.PACKAGES", ("torch", "no-such-package"))
    packages = _packages()
    assert (packages.ok, packages.do) == (False, install_hint("local"))
    assert packages.saw.endswith(": no-such-package")
    assert _own_redis().ok
    missing = _disk("temporary", str(tmp_path / "missing"), "set TMPDIR")
    assert (missing.ok, missing.do) == (False, "set TMPDIR")


def test_without_a_broker_url_an_embedded_run_is_examined(tmp_path: Path) -> None:
    run = subprocess.run(command("doctor", "--json"), cwd=tmp_path, capture_output=True, timeout=60, check=False)
    output = json.loads(run.stdout)
    assert (run.returncode, output["ok"]) == (ExitCode.OK, True), output
    assert [finding["name"] for finding in output["findings"]] == [
        *("broker", "redis", "packages", "temporary", "started", "probe", "image root", "disk")
    ]


def test_a_finding_is_one_line_and_a_second_line_with_the_remedy() -> None:
    assert Finding("clocks", True, "fine").lines() == ("ok    ", ["clocks      fine"])
    word, lines = Finding("probe", False, "no row\x1b", "start one").lines()
    assert (word, lines) == ("wrong ", [r"probe       no row\x1b", "                  → start one"])


def test_sizes_and_lists_of_names_are_shortened() -> None:
    assert [size(n) for n in (999, 1_500, 45_000_000, 1_073_741_824, 3e12)] == [
        *("999 bytes", "1.5 kB", "45 MB", "1.1 GB", "3.0 TB")
    ]
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
