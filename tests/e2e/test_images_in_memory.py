"""Images in memory are classified by a worker that shares no folder with the program."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pigeonhole import Client
from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.settings import Settings
from tests.e2e.conftest import Run, StartWorker
from tests.messages import check_message


@pytest.fixture
def elsewhere(settings: Settings, start_worker: StartWorker, tmp_path: Path) -> Settings:
    """Return settings of a program whose worker has an empty folder as its image root."""
    (tmp_path / "empty").mkdir()
    start_worker(PIGEONHOLE_IMAGE_ROOT=str(tmp_path / "empty"), PIGEONHOLE_MAX_BYTES="100000")
    return replace(settings, image_root="/")


def test_images_in_memory_have_the_rows_of_their_files(elsewhere: Settings, home: Path) -> None:
    files = sorted((home / "samples").glob("*.png"))[:120]
    with Client(settings=replace(elsewhere, image_root="/"), model="digits") as client:
        rows = client.classify([file.read_bytes() for file in files])
        again = client.classify([Image.open(file) for file in files[:40] if _is_sound(file)])
        arrays = client.classify({file.name: np.asarray(Image.open(file)) for file in files[:40] if _is_sound(file)})
        assert [row.path for row in rows] == [f"image {number}" for number in range(120)]
        labels = [row.label for row, file in zip(rows, files, strict=True) if _is_sound(file)]
        assert [row.label for row in again] == labels[: len(again)] == [row.label for row in arrays]
        assert arrays[0].path == next(file.name for file in files if _is_sound(file))
        assert client.status(rows.job).sources == ("memory:120",)


def _is_sound(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except OSError:
        return False
    return True


def test_rows_of_paths_and_images_have_the_order_of_the_arguments(
    settings: Settings, start_worker: StartWorker, home: Path
) -> None:
    start_worker()
    sample = home / "samples" / "003b50.png"
    with Client(settings=settings) as client:
        rows = client.classify([sample, Image.open(sample), b"", str(sample), sample.read_bytes(), b"no image"])
        assert [(row.path, row.label, row.error.partition(":")[0]) for row in rows] == [
            (str(sample), "8", ""),
            ("image 1", "8", ""),
            ("image 2", "", "empty"),
            ("image 4", "8", ""),
            ("image 5", "", "not-an-image"),
        ], "a file that is listed twice has one row"
        assert client.status(rows.job).sources == (str(sample), "memory:2", str(sample), "memory:2")


def test_a_single_image_is_a_source(elsewhere: Settings, home: Path) -> None:
    sample = home / "samples" / "003b50.png"
    with Client(settings=elsewhere) as client:
        for image in (sample.read_bytes(), Image.open(sample), np.asarray(Image.open(sample))):
            (row,) = client.classify(image)
            assert (row.path, row.label) == ("image 0", "8")


def test_the_limits_of_files_apply_to_images_in_memory(elsewhere: Settings) -> None:
    with Client(settings=elsewhere) as client:
        (row,) = client.classify(b"x" * 100_001)
        check_message(row.error, "too-large: ", "100,001 bytes", "PIGEONHOLE_MAX_BYTES is 100,000")


def test_images_in_memory_can_fill_several_batches(elsewhere: Settings, home: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (250, 250), np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    with Client(settings=elsewhere) as client:
        job = client.submit([file.getvalue()] * 150)
        assert client.status(job).batches > 2
        assert client.submit([file.getvalue()] * 150, job=job) == job
        with pytest.raises(UsageError):
            client.submit([file.getvalue()] * 149, job=job)
        assert len({row.label for row in client.wait(job)}) == 1


def test_an_argument_that_is_no_image_creates_no_job(settings: Settings) -> None:
    with Client(settings=settings) as client:
        for sources, parts in [
            ([b"x", 3], ["'image 1'", "int", "an array of uint8"]),
            ({"cat": "cat.png"}, ["'cat'", "str", "a path"]),
            (3, ["'the source'", "int"]),
            ([b"x", np.zeros((2, 2))], ["image 1 ", "float64"]),
        ]:
            with pytest.raises(UsageError) as error:
                client.classify(sources)  # type: ignore[arg-type]
            check_message(error.value, *parts)
        assert client.jobs() == []


def test_commands_work_with_a_job_of_images_in_memory(elsewhere: Settings, brokered: Run, home: Path) -> None:
    with Client(settings=elsewhere) as client:
        job = client.submit({"a digit": (home / "samples" / "003b50.png").read_bytes(), "=nothing": b"no image"})
    for _ in range(2):  # the second run keeps the rows of the first
        run = brokered("wait", job, "-o", "rows.csv", "--sort-into", "sorted")
        assert run.returncode == ExitCode.ERROR_ROWS, run.stderr
        path, label, *_ = (home / "rows.csv").read_text().splitlines()[1].split(",")
        assert (path, label) == ("a digit", "8")
    assert "not-here" in (home / "sorted" / "_errors.csv").read_text()
    again = brokered("submit", "--job", job, "memory:2")
    assert again.returncode == ExitCode.USAGE
    assert b"Client.submit(images, job=" in again.stderr
