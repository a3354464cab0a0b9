"""Real workers with `--top`, `--label-map`, and a multi-label model."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pigeonhole import Client
from pigeonhole.errors import ExitCode
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.settings import Settings
from pigeonhole.sinks.registry import read_results
from tests.conftest import starting_workers
from tests.e2e.conftest import Run, StartWorker, command, rows_of
from tests.messages import check_message

CLASSES = ("sky", "sea", "sand", "sun", "sail")
IMAGES = Preprocessing("stretch", 32, 32, 3)
#: Image → its labels and the probabilities of all classes, computed by torch.
Expected = dict[str, tuple[set[str], dict[str, float]]]


@pytest.fixture(scope="module")
def beach(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """Return a folder with a multi-label model, 24 images, and a text file."""
    folder = tmp_path_factory.mktemp("beach")
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (24, 1, 1, 3))
    pictures = np.clip(colours + rng.normal(0, 40, (24, 32, 32, 3)), 0, 255).astype(np.uint8)
    (folder / "in").mkdir()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / "in" / f"{number:02}.png")
    (folder / "in" / "text.png").write_text("no image")
    torch.manual_seed(5)
    arguments = networks.complete("residual-small", {}, IMAGES)
    network = networks.build("residual-small", arguments, len(CLASSES)).fold().eval()
    with torch.inference_mode():
        shares = torch.sigmoid(network(torch.from_numpy(pictures)).double())
    ordered = shares.sort(dim=0).values
    thresholds = ((ordered[11] + ordered[12]) / 2).tolist()  # half of the images have each class
    record = Checkpoint(
        *("beach", "residual-small", arguments, CLASSES, IMAGES),
        Calibration(review_below=1e-9, thresholds=tuple(thresholds)),
    )
    checkpoint.save(folder / "beach.safetensors", network, record)
    return folder, {
        f"in/{number:02}.png": (
            {name for name, share, threshold in zip(CLASSES, row, thresholds, strict=True) if share > threshold},
            dict(zip(CLASSES, row, strict=True)),
        )
        for number, row in enumerate(shares.tolist())
    }


@pytest.fixture(scope="module")
def served(
    beach: tuple[Path, Expected], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    settings = Settings(broker_url=redis_url, prefix="test-beach", image_root=str(beach[0]), model="beach")
    with starting_workers(settings, tmp_path_factory.mktemp("worker")) as start:
        start(PIGEONHOLE_MODEL=str(beach[0] / "beach.safetensors"))
        yield settings


def check(rows: list[Row], expected: Expected, top: int) -> None:
    """Compare rows with the results of torch."""
    assert [row.path for row in rows] == [*expected, "in/text.png"]
    for row in rows[:-1]:
        labels, shares = expected[row.path]
        assert row.labels is not None
        assert set(row.labels) == labels
        assert list(row.labels) == sorted(row.labels, key=lambda name: -shares[name])
        assert (row.label, row.error) == ("|".join(row.labels), "")
        assert row.confidence == (pytest.approx(shares[row.labels[0]], abs=1e-4) if labels else None)
        best = sorted(CLASSES, key=lambda name: -shares[name])
        assert [name for name, _ in row.top] == [name for at, name in enumerate(best) if at < top or name in labels]
        assert [share for _, share in row.top] == pytest.approx([shares[name] for name, _ in row.top], abs=1e-4)
    assert rows[-1].error.startswith("not-an-image: ")
    assert (rows[-1].label, rows[-1].labels) == ("", None)
    assert {len(labels) for labels, _ in expected.values()} >= {0, 1, 2, 3}, "images have several labels, one or none"


@pytest.mark.parametrize("top", [1, 3, 5])
def test_a_multi_label_model_has_the_labels_of_torch(
    beach: tuple[Path, Expected], served: Settings, top: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = beach
    monkeypatch.chdir(folder)
    with Client(settings=served) as client:
        rows = client.classify("in", top=top)
        check(list(rows), expected, top)
        unlabelled = sum(not labels for labels, _ in expected.values())
        assert (rows.summary.unlabelled, rows.summary.errors.total()) == (unlabelled, 1)
        assert [rows.summary.labels[name] for name in CLASSES] == [12] * len(CLASSES)
        renamed = client.wait(rows.job, top=1, label_map={"sky": "above", "sun": "above"})
        for row, (labels, _) in zip(renamed, expected.values(), strict=False):
            assert set(row.labels or ()) == {"above" if name in ("sky", "sun") else name for name in labels}


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "db"])
def test_several_labels_are_written_in_every_format(
    beach: tuple[Path, Expected], served: Settings, format: str, tmp_path: Path
) -> None:
    folder, expected = beach
    output = tmp_path / f"rows.{format}"
    top = len(CLASSES) if format == "csv" else 2  # CSV has columns for this number of classes
    words = ["classify", "in", "-o", str(output), "--top", str(top), "--sort-into", str(tmp_path / "sorted")]
    done = subprocess.run(
        command(*words), cwd=folder, env=served.to_environment(), capture_output=True, timeout=100, check=False
    )
    assert done.returncode == ExitCode.ERROR_ROWS, done.stderr  # text.png's
    unlabelled = sorted(path for path, (labels, _) in expected.items() if not labels)
    assert f"{len(unlabelled)} without a label, 1 error, 0 to review".encode() in done.stderr
    rows = list(read_results(str(output)))
    if format == "csv":
        rows = [row._replace(labels=None if row.error else tuple(filter(None, row.label.split("|")))) for row in rows]
    check(rows, expected, top)
    sorted_images = sorted(f"in/{file.name}" for file in (tmp_path / "sorted" / "_unlabelled").iterdir())
    assert sorted_images == unlabelled


def test_an_embedded_run_writes_several_labels(beach: tuple[Path, Expected], tmp_path: Path) -> None:
    folder, expected = beach
    words = ["classify", "in", "--model", "beach.safetensors", "-o", str(tmp_path / "rows.jsonl"), "-q"]
    done = subprocess.run(command(*words), cwd=folder, capture_output=True, timeout=100, check=False)
    assert done.returncode == ExitCode.ERROR_ROWS, done.stderr
    check(list(read_results(str(tmp_path / "rows.jsonl"))), expected, 3)


def test_a_job_that_was_submitted_with_top_has_this_number_of_classes(
    home: Path, brokered: Run, start_worker: StartWorker
) -> None:
    start_worker()
    job = brokered("submit", "samples/003b50.png", "--top", "10", "-q").stdout.decode().strip()
    waited = brokered("wait", job, "--top", "10", "-q", "-o", "ten.csv")
    assert waited.returncode == 0, waited.stderr
    (row,) = rows_of((home / "ten.csv").read_bytes())
    assert sorted(row[f"top_{rank}"] for rank in range(1, 11)) == list("0123456789")
    assert (row["top_1"], row["p_1"]) == ("8", row["confidence"])
    assert sum(float(row[f"p_{rank}"]) for rank in range(1, 11)) == pytest.approx(1, abs=1e-4)
    results = brokered("results", job, "--top", "2").stdout
    assert [(one["top_2"], one["p_2"]) for one in rows_of(results)] == [(row["top_2"], row["p_2"])]
    assert "top_1" not in rows_of(brokered("results", job).stdout)[0]


def test_another_top_or_label_map_is_another_command(home: Path, brokered: Run, start_worker: StartWorker) -> None:
    start_worker()
    (home / "map.json").write_text('{"8": "eight"}')
    (home / "same.csv").write_text("8,eight\n")
    (home / "other.csv").write_text("8,ocho\n")
    words = ["classify", "samples/003b50.png", "-q", "-o", "x.csv", "--label-map"]
    assert brokered(*words, "map.json").returncode == 0
    assert [row["label"] for row in rows_of((home / "x.csv").read_bytes())] == ["eight"]
    assert brokered(*words, "same.csv").returncode == 0, "the content counts, not the file"
    for others in (["other.csv"], ["map.json", "--top", "3"]):
        refused = brokered(*words, *others)
        assert refused.returncode == ExitCode.USAGE
        assert b"'x.csv' exists" in refused.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_a_label_map_of_another_model_is_refused_before_any_row(
    shared: bool, home: Path, brokered: Run, embedded: Run, request: pytest.FixtureRequest
) -> None:
    (home / "map.csv").write_text("class,label\n8,eight\n88,many\n")
    if shared:
        request.getfixturevalue("start_worker")()
    run = brokered if shared else embedded
    words = ["classify", "samples", "-o", "x.csv", "--label-map", "map.csv"]
    refused = run(*words)
    assert refused.returncode == ExitCode.USAGE
    check_message(refused.stderr.decode(), "'map.csv'", "'88'", "did you mean '8'?")
    assert not (home / "x.csv").exists()
    (home / "map.csv").write_text("class,label\n8,eight\n")
    corrected = run(*words, "-q")
    assert corrected.returncode == ExitCode.ERROR_ROWS, corrected.stderr
    assert {row["label"] for row in rows_of((home / "x.csv").read_bytes())} >= {"eight", "7"}


def test_an_invalid_top_or_label_map_is_reported_with_the_option(embedded: Run, home: Path) -> None:
    (home / "map.csv").write_text("a b\n")
    for words, parts in {
        ("--top", "0"): ["'--top'", "0 classes", "from 1 to 1,000"],
        ("--label-map", "none"): ["'--label-map'", "'none'"],
        ("--label-map", "map.csv"): ["'--label-map'", "'map.csv'", "1 columns"],
    }.items():
        refused = embedded("classify", "samples", *words, env={"COLUMNS": "300", "PATH": "/usr/bin:/bin"})
        assert refused.returncode == ExitCode.USAGE
        check_message(refused.stderr.decode(), *parts)
