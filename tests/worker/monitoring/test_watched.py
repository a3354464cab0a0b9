"""The interfaces for a worker's operator: its JSON log, its metrics, and the findings of `doctor`."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pigeonhole.errors import SettingsError
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.ledger.workers import Workers
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.runtimes.choice import Choice
from pigeonhole.settings import Settings
from pigeonhole.version import install_hint
from producer.doctor.examine import examine
from producer.doctor.findings import Finding
from tests.conftest import ROOT, children, wait_for
from tests.security.target import SAMPLE, Target
from tests.worker.conftest import published
from worker.monitoring.metric_list import METRICS, MetricSpec
from worker.monitoring.metrics import _GaugeCollector, _remove_abandoned, serve

Series = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def watched(redis_url: str, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Start a worker with metrics that all tests share."""
    folder = tmp_path_factory.mktemp("watched")
    settings = Settings(broker_url=redis_url, prefix=folder.name, image_root=str(ROOT), metrics_port=str(port))
    worker = Target(settings, folder, "--log-format", "json")
    yield worker
    worker.close()


def families(port: int) -> list[Metric]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return list(text_string_to_metric_families(reply.read().decode()))


def scraped(port: int) -> Series:
    """Return the value of each series by its name and the values of its labels, in the order of the labels' names."""
    return {
        (sample.name, *sample.labels.values()): sample.value for family in families(port) for sample in family.samples
    }


def test_a_worker_exports_the_metrics_of_the_reference(watched: Target, port: int) -> None:
    job = published(watched.settings, Batch((Group("file", "", "", (SAMPLE, "samples/text.png")),)))
    wait_for(lambda: watched.ledger.status(job).over, "the job")
    wait_for(lambda: any(family.name == "pigeonhole_errors" for family in families(port)), "its count")
    exported = {
        family.name: MetricSpec(family.type, family.documentation, tuple(sorted(family.samples[0].labels)))
        for family in families(port)
    }
    # In multiprocess mode, prometheus_client replaces the description of counters.
    for name, metric in METRICS.items():
        if metric.kind == "counter":
            exported[name] = exported[name]._replace(description=metric.description)
    assert exported == {name: metric._replace(labels=tuple(sorted(metric.labels))) for name, metric in METRICS.items()}


def test_counts_of_all_processes_are_added_and_survive_a_killed_process(watched: Target, port: int) -> None:
    images = ("pigeonhole_images_total", "digits")
    before = scraped(port)
    batch = Batch((Group("file", "", "", (SAMPLE, "samples/empty.png", "samples/gone.png", SAMPLE)),))
    job = published(watched.settings, batch)
    wait_for(lambda: watched.ledger.status(job).over, "the job")
    wait_for(lambda: scraped(port)[(*images, "label")] >= 2 + before[(*images, "label")], "the job's count")
    [process] = watched.children
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: children(watched.process.pid) not in ([], [process]), "another process")
    watched.children = children(watched.process.pid)
    watched.finish_valid_job()
    wait_for(lambda: scraped(port)[(*images, "label")] >= 3 + before[(*images, "label")], "its count")
    after = scraped(port)
    assert {name: after[(*images, name)] - before[(*images, name)] for name in ("label", "review", "error")} == {
        "label": 3,
        "review": 0,
        "error": 2,
    }
    assert after["pigeonhole_errors_total", "empty", "digits"] == 1
    assert after["pigeonhole_errors_total", "missing", "digits"] == 1
    wait_for(lambda: Workers(watched.settings).alive()[0].processes == 1, "its announcement")
    for stage in ("read", "forward", "commit"):
        assert after["pigeonhole_stage_seconds_total", "digits", stage] > 0


def test_a_scrape_shows_pending_batches_and_the_workers_of_each_model(watched: Target, port: int) -> None:
    job = watched.ledger.create("letters", ("test",))
    watched.ledger.add(job, 0, Batch((Group("file", "", "", (SAMPLE,)),)))
    found = scraped(port)
    watched.ledger.delete(job)
    about = checkpoints.describe(checkpoints.find("digits"))
    name, _, digest = about.identity().partition("@")
    expected = ("cpu", digest, name, "onnxruntime/f32")
    assert [labels[1:5] for labels in found if labels[0] == "pigeonhole_worker_info"] == [expected]
    for gauge, digits, letters in (("workers", 1, 0), ("batches_pending", 0, 1), ("jobs_unfinished", 0, 1)):
        assert (found[f"pigeonhole_{gauge}", "digits"], found[f"pigeonhole_{gauge}", "letters"]) == (digits, letters)
    assert found["pigeonhole_oldest_job_seconds", "letters"] > 0
    assert found[("pigeonhole_redis_up",)] == 1
    assert found[("pigeonhole_redis_memory_bytes",)] > 0
    assert found[("pigeonhole_redis_evicts",)] == 0


def test_each_log_line_is_json_and_the_line_of_a_batch_names_its_job(watched: Target) -> None:
    watched.send(b"no message:\n\x1b[2J\xff")
    job = published(watched.settings, Batch((Group("file", "", "", (SAMPLE, "samples/\udcff\n.png")),)))
    done = f"job {job}: batch 0: 2 images"
    wait_for(lambda: done in watched.log.read_text(), "the batch's line")
    lines = [json.loads(line) for line in watched.log.read_text(encoding="ascii").splitlines()]
    assert {"time", "level", "logger", "message", "process", "pid"} <= set.intersection(*map(set, lines))
    assert any(line["message"].startswith("ready: ") for line in lines)
    assert any(line["message"].startswith("dropped") for line in lines)
    [logged] = [line for line in lines if line["message"].startswith(done)]
    assert (logged["job"], logged["batch"], logged["level"]) == (job, "0", "INFO")


def findings_of(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings, None, 10)}


def test_the_doctor_sends_a_probe_through_the_worker_and_leaves_no_file(watched: Target, tmp_path: Path) -> None:
    hidden = set(ROOT.glob(".pigeonhole*"))
    findings = findings_of(watched.settings)
    for name in ("broker", "version", "memory", "workers", "versions", "checkpoints", "clocks", "probe", "image root"):
        assert findings[name].ok, findings[name]
    assert "celery@target" in findings["workers"].saw
    assert "`appendonly yes`" in findings["persistence"].do
    assert repr(str(ROOT)) in findings["image root"].saw
    assert set(ROOT.glob(".pigeonhole*")) == hidden
    assert not watched.ledger.statuses(active_only=True)


def test_the_doctor_reports_a_worker_with_another_image_root(watched: Target, tmp_path: Path) -> None:
    finding = findings_of(replace(watched.settings, image_root=str(tmp_path)))["image root"]
    assert finding.ok is False
    assert "missing: " in finding.saw
    assert "PIGEONHOLE_IMAGE_ROOT" in finding.do
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_sends_an_existing_image_if_it_can_not_write_one(
    watched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("producer.doctor.examine.probe_image", refused)
    findings = {finding.name: finding for finding in examine(watched.settings, str(ROOT / "samples"), 10)}
    assert findings["image root"].ok
    assert "Read-only file system" in findings["image root"].saw


def test_without_redis_a_scrape_has_the_workers_own_metrics(tmp_path: Path) -> None:
    unreachable = Settings(broker_url=f"unix://{tmp_path}/none.sock")
    about = checkpoints.describe(checkpoints.find("digits"))
    values = {
        metric.name: metric.samples[0].value
        for metric in _GaugeCollector(unreachable, about, Choice("onnxruntime")).collect()
    }
    assert values == {"pigeonhole_worker_info": 1, "pigeonhole_batches_in_flight": 0, "pigeonhole_redis_up": 0}


def test_a_metrics_port_in_use_is_an_error(port: int, watched: Target) -> None:
    about = checkpoints.describe(checkpoints.find("digits"))
    with pytest.raises(SettingsError, match=rf"PIGEONHOLE_METRICS_PORT.*'{port}'.*Address already in use"):
        serve(watched.settings, about, Choice("onnxruntime"))


def test_a_missing_prometheus_client_is_an_error_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    about = checkpoints.describe(checkpoints.find("digits"))
    with pytest.raises(SettingsError, match=re.escape(install_hint("metrics"))):
        serve(Settings(metrics_port="9100"), about, Choice("onnxruntime"))


def test_a_full_disk_for_the_counts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(prefix: str) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    about = checkpoints.describe(checkpoints.find("digits"))
    with pytest.raises(SettingsError, match=r"No space left on device.*TMPDIR"):
        serve(Settings(metrics_port="9100"), about, Choice("onnxruntime"))


def test_counts_of_a_killed_worker_are_removed_and_those_of_a_running_one_are_not(tmp_path: Path) -> None:
    program = "from worker.monitoring.metrics import _folder\nprint(_folder(), flush=True)\ninput()"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    killed, living = (
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    with killed, living:
        folders = [Path(str(each.stdout and each.stdout.readline()).strip()) for each in (killed, living)]
        killed.kill()
        killed.wait()
        _remove_abandoned(tmp_path)
        assert all(folder.is_dir() for folder in folders), "a new folder may not be locked yet"
        for folder in folders:
            os.utime(folder, (0, 0))
        _remove_abandoned(tmp_path)
        assert [folder.is_dir() for folder in folders] == [False, True]
        living.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_a_second_worker_of_the_same_name_withdraws_only_its_own_announcement(watched: Target, tmp_path: Path) -> None:
    second = Target(replace(watched.settings, metrics_port=""), tmp_path, "--log-format", "json")
    try:
        wait_for(lambda: [one.processes for one in Workers(watched.settings).alive()] == [1, 1], "both workers")
        assert "celery@target, celery@target" in findings_of(watched.settings)["workers"].saw
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(timeout=30) == 0
    finally:
        second.close()
    lines = [json.loads(line) for line in second.log.read_text(encoding="ascii").splitlines()]
    assert "worker: Warm shutdown (MainProcess)" in [line["message"] for line in lines]
    assert [one.name for one in Workers(watched.settings).alive()] == ["celery@target"]


def test_without_a_port_prometheus_client_is_not_imported() -> None:
    program = "import sys, worker.processing.pipeline, worker.monitoring.metrics as m\n"
    program += "counts = m.counts(m.Settings(), 'digits')\nwith counts.stage('read'):\n    pass\n"
    program += "m.serve(m.Settings(), None, None)\nprint('prometheus_client' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
