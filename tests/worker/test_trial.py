"""An image that was in hand when a process died is read in a process of its own before it is blamed."""

import os
import subprocess
from pathlib import Path

import pytest

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.worker.conftest import file_at
from worker.trial import PAUSES, NotHeld, Trial


@pytest.fixture
def trial(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """Of images below a folder with one picture, sound and with faults."""
    images, original = tmp_path / "images", root / "samples" / "003b50.png"
    images.mkdir()
    for name in ("good.png", "caf\udce9\n.png"):
        (images / name).write_bytes(original.read_bytes())
    faults = {"segfault": "signal=SIGSEGV", "kill": "signal=SIGKILL", "exit": "exit=7", "ends": "exit=0"}
    faults |= {"hang": "sleep=60", "raises": "raise=words"}
    faults |= {f"killed-{times}": f"killed={times},{tmp_path / 'killed'}" for times in (4, 5)}
    faults |= {"network-kill": "network=signal:SIGKILL", "network-hang": "network=sleep:60"}
    for name, fault in faults.items():
        (images / f"{name}.png").write_bytes(decoder_faults.image(original, fault))
    monkeypatch.setenv("PYTHONPATH", decoder_faults.install(tmp_path))
    reader = ImageReader(str(images), Preprocessing("digit", 28, 28, 1), 10**6, 10**6)
    return Trial(reader, 30, Settings())


def within(trial: Trial, seconds: float) -> Trial:
    return Trial(trial.reader, seconds, trial.settings)


@pytest.mark.parametrize("name", ["good.png", "caf\udce9\n.png", "missing.png", "../outside.png", "raises.png"])
def test_an_image_that_can_be_read_or_is_an_error_row_is_innocent(trial: Trial, name: str) -> None:
    assert trial.verdict(file_at(name)) is None
    assert trial.verdict(file_at(name), network=True) is None


@pytest.mark.parametrize(
    ("name", "how"), [("segfault.png", "SIGSEGV"), ("exit.png", "exit code 7"), ("ends.png", "exit code 0")]
)
def test_an_image_that_ends_whoever_reads_it_is_blamed_in_words(trial: Trial, name: str, how: str) -> None:
    assert trial.verdict(file_at(name)) == ("crashed", f"reading it ends the process that does ({how})")


def test_four_kills_from_outside_are_not_enough(trial: Trial, tmp_path: Path) -> None:
    assert trial.verdict(file_at("killed-4.png")) is None
    assert len(os.listdir(tmp_path / "killed")) == 4, "so many were killed"


def test_five_kills_in_a_row_are_the_images_doing(trial: Trial, tmp_path: Path) -> None:
    assert trial.verdict(file_at("killed-5.png")) == ("crashed", "reading it ends the process that does (SIGKILL)")
    assert len(os.listdir(tmp_path / "killed")) == 5


def test_an_image_that_takes_for_ever_is_given_up(trial: Trial) -> None:
    assert within(trial, 2).verdict(file_at("hang.png")) == ("timeout", "reading it took longer than 2 s")


def test_an_image_on_which_the_network_ends_its_process_is_found_with_the_network(trial: Trial) -> None:
    assert trial.verdict(file_at("network-kill.png")) is None
    ends = "the network ends the process that runs it on this image (SIGKILL)"
    assert trial.verdict(file_at("network-kill.png"), network=True) == ("crashed", ends)


def test_the_time_that_the_network_may_take_begins_when_it_is_loaded(trial: Trial) -> None:
    took = "running the network on it took longer than 8 s"
    assert within(trial, 8).verdict(file_at("network-hang.png"), network=True) == ("timeout", took)


def test_a_process_that_ends_before_it_opens_the_image_says_nothing_about_it(trial: Trial, tmp_path: Path) -> None:
    # As one does for which there is no memory.
    (tmp_path / "sitecustomize.py").write_text("import os, sys; sys.stderr.write('no memory\\n'); os._exit(1)\n")
    with pytest.raises(NotHeld, match="5 of 5 processes ended before they began: exit code 1, no memory"):
        trial.verdict(file_at("segfault.png"))


def test_a_process_that_can_not_be_started_says_nothing_about_the_image(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fork(*_: object, **__: object) -> None:
        tries.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fork)
    with pytest.raises(NotHeld, match="Resource temporarily unavailable"):
        trial.verdict(file_at("good.png"))
    assert len(tries) == len(PAUSES)


def test_a_process_that_is_too_slow_to_start_says_nothing_about_the_image(trial: Trial) -> None:
    with pytest.raises(NotHeld, match="did not come to an end"):
        within(trial, 0.01).verdict(file_at("good.png"))
