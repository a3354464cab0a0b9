"""An image that was in hand when a process died is read in a process of its own before it is blamed."""

from pathlib import Path

import pytest

from tests import decoder_faults
from training.preprocess import Preprocessing
from worker.images import ImageReader
from worker.trial import Trial


@pytest.fixture
def reader(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> ImageReader:
    """Reads below a folder with one picture, sound and with faults."""
    images, original = tmp_path / "images", root / "samples" / "003b50.png"
    images.mkdir()
    for name in ("good.png", "caf\udce9\n.png"):
        (images / name).write_bytes(original.read_bytes())
    faults = {"segfault": "signal=SIGSEGV", "exit": "exit=7", "hang": "sleep=60", "once": f"once={tmp_path / 'once'}"}
    for name, fault in faults.items():
        (images / f"{name}.png").write_bytes(decoder_faults.image(original, fault))
    monkeypatch.setenv("PYTHONPATH", decoder_faults.install(tmp_path))
    return ImageReader(str(images), Preprocessing("digit", 28, 28, 1), 10**6, 10**6)


@pytest.mark.parametrize("name", ["good.png", "caf\udce9\n.png", "missing.png", "../outside.png"])
def test_an_image_that_can_be_read_or_is_an_error_row_is_innocent(reader: ImageReader, name: str) -> None:
    assert Trial(reader, 30).verdict(name) is None


@pytest.mark.parametrize(("name", "how"), [("segfault.png", "SIGSEGV"), ("exit.png", "exit code 7")])
def test_an_image_that_ends_whoever_reads_it_is_blamed_in_words(reader: ImageReader, name: str, how: str) -> None:
    assert Trial(reader, 30).verdict(name) == ("crashed", f"reading it ends the process that does ({how})")


def test_one_death_is_not_enough_since_it_may_have_come_from_outside(reader: ImageReader, tmp_path: Path) -> None:
    assert Trial(reader, 30).verdict("once.png") is None
    assert (tmp_path / "once").exists(), "the first process did die"


def test_an_image_that_takes_for_ever_is_given_up(reader: ImageReader) -> None:
    assert Trial(reader, 2).verdict("hang.png") == ("timeout", "reading it took longer than 2 s")
