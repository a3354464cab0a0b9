"""End to end: producer → real Redis → real worker processes → rows."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.settings import Settings
from tests.conftest import ROOT
from tests.e2e.conftest import Run, StartWorker, rows_of

ODD_NAMES = [b"caf\xe9.png", b"new\nline.png", b'comma,"quote".png', b"-dash.png", "größe 7.PNG".encode()]


def with_odd_names(home: Path) -> list[str]:
    """Copy a sample to hostile names; return the paths as the rows must show them."""
    image = (home / "samples" / "003b50.png").read_bytes()
    (home / "odd").mkdir()
    for name in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(home / "odd") + b"/" + name)).write_bytes(image)
    return sorted(f"odd/{os.fsdecode(name)}" for name in ODD_NAMES)


def test_a_folder_has_the_same_rows_embedded_and_with_a_broker(
    home: Path, embedded: Run, brokered: Run, start_worker: StartWorker
) -> None:
    odd = with_odd_names(home)
    embedded_run = embedded("classify", "samples", "odd", "-o", "embedded.csv")
    assert embedded_run.returncode == 3, embedded_run.stderr
    assert embedded_run.stdout == b""
    assert not (home / "embedded.csv.part").exists()
    rows = rows_of((home / "embedded.csv").read_bytes())
    names = sorted(file.name for file in (home / "samples").iterdir())
    assert [row["path"] for row in rows] == [f"samples/{name}" for name in names] + odd
    assert list(rows[0]) == ["path", "label", "confidence", "unknown", "review", "error", "model"]

    truth = {row["path"]: row["label"] for row in rows_of((ROOT / "samples-labels.csv").read_bytes())}
    assert sum(truth.get(row["path"]) == row["label"] for row in rows) >= 196, "of 200 labelled samples"
    failed = {row["path"]: row["error"].partition(":")[0] for row in rows if row["error"]}
    assert failed == {
        "samples/empty.png": "empty",
        "samples/text.png": "not-an-image",
        "samples/92ce53-truncated.png": "truncated",
    }
    assert all(not row["label"] and not row["confidence"] and row["review"] == "false" for row in rows if row["error"])
    assert all(0 < float(row["confidence"]) <= 1 for row in rows if not row["error"])

    start_worker()
    brokered_run = brokered("classify", "samples", "odd", "-o", "brokered.csv")
    assert brokered_run.returncode == 3, brokered_run.stderr
    assert (home / "brokered.csv").read_bytes() == (home / "embedded.csv").read_bytes()


def test_a_job_can_be_submitted_waited_for_inspected_and_deleted(
    home: Path, brokered: Run, start_worker: StartWorker
) -> None:
    submitted = brokered("submit", "samples")
    job = submitted.stdout.decode().removesuffix("\n")
    assert submitted.returncode == 0
    assert submitted.stdout.count(b"\n") == 1
    waiting = json.loads(brokered("status", job, "--json").stdout)
    assert (waiting["state"], waiting["images"], waiting["done"]) == ("queued", 203, 0)
    assert brokered("results", job).stdout == b"path,label,confidence,unknown,review,error,model\n"

    start_worker()
    first = brokered("wait", job, "-o", "rows.jsonl", "--json")
    assert first.returncode == 3
    summary = json.loads(first.stdout)
    assert {key: summary[key] for key in ("job", "images", "labels", "errors")} == {
        "job": job,
        "images": 203,
        "labels": 200,
        "errors": 3,
    }
    assert summary["seconds"] > 0
    assert summary["images_per_second"] > 0
    assert summary["startup_seconds"] == 0
    assert summary["model"].startswith("digits@")
    rows = [json.loads(line) for line in (home / "rows.jsonl").read_bytes().splitlines()]
    assert list(rows[0]) == ["path", "label", "confidence", "review", "error", "model", "top", "unknown"]
    assert rows[0]["top"][0] == {"label": rows[0]["label"], "p": rows[0]["confidence"]}

    again = brokered("wait", job, "--quiet")
    assert again.returncode == 3
    assert rows_of(again.stdout) == rows_of(brokered("results", job).stdout)
    assert job in brokered("status").stdout.decode()
    assert b"finished" in brokered("status", job).stdout
    assert brokered("delete", job).returncode == 0
    gone = brokered("status", job)
    assert gone.returncode == 2
    assert gone.stderr.startswith(f"pigeonhole: no job '{job}'".encode())


def test_a_list_can_name_files_with_any_names(home: Path, brokered: Run, start_worker: StartWorker) -> None:
    start_worker()
    odd = with_odd_names(home)
    (home / "image.data").write_bytes((home / "samples" / "003b50.png").read_bytes())
    listed = [*odd, "image.data", "image.data", "gone.png", "/etc/hostname"]
    nul = b"\0".join(os.fsencode(path) for path in listed)
    run = brokered("classify", "-0", "-", "--format", "csv", "-q", input=nul)
    rows = rows_of(run.stdout)
    assert [row["path"] for row in rows] == listed
    assert [row["error"].partition(":")[0] for row in rows] == [""] * (len(odd) + 2) + ["missing", "outside"]


def test_a_source_outside_the_image_root_is_refused_with_the_setting(brokered: Run) -> None:
    run = brokered("submit", "/etc")
    assert run.returncode == 2
    assert b"'/etc'" in run.stderr
    assert b"PIGEONHOLE_IMAGE_ROOT" in run.stderr


def test_two_jobs_share_a_worker_and_each_gets_its_own_rows(
    settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    first, second = (brokered("submit", source, "-q").stdout.decode().strip() for source in ("samples", "samples/0*"))
    start_worker()
    assert brokered("wait", second, "-q").returncode == 0
    assert brokered("wait", first, "-q").returncode == 3
    statuses = {status.job: status for status in Ledger(settings).statuses()}
    assert statuses[first].images == 203
    assert 0 < statuses[second].images < 203
    assert {status.state for status in statuses.values()} == {"finished"}


def test_a_second_model_has_a_queue_of_its_own(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    about, network = checkpoints.load(checkpoints.find("digits"))
    calibration = replace(about.calibration, temperature=2 * about.calibration.temperature)
    checkpoints.save(home / "digits-v2.safetensors", network, replace(about, name="digits-v2", calibration=calibration))
    start_worker("celery@one")
    start_worker("celery@two", PIGEONHOLE_MODEL=str(home / "digits-v2.safetensors"))
    answers = {}
    for model in ("digits", "digits-v2"):
        rows = rows_of(brokered("classify", "samples/003b50.png", "--model", model, "-q").stdout)
        answers[model] = rows[0]
        assert rows[0]["model"].startswith(f"{model}@")
    assert answers["digits"]["label"] == answers["digits-v2"]["label"]
    assert answers["digits"]["confidence"] != answers["digits-v2"]["confidence"]


def test_modules_in_the_users_folder_are_never_imported(home: Path) -> None:
    for name in ("worker", "producer", "training", "celery", "redis", "kombu", "torch"):
        (home / f"{name}.py").write_text("raise SystemExit('imported from the user')\n")
    shutil.copy(checkpoints.find("digits"), home / "mine.safetensors")
    program = str(Path(sys.executable).parent / "pigeonhole")
    line = [program, "classify", "samples/003b50.png", "--model", "mine.safetensors", "-q"]
    run = subprocess.run(line, cwd=home, capture_output=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    assert rows_of(run.stdout)[0]["label"] == "8"
