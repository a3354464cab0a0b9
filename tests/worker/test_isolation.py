"""Isolation runs: a quarantined image is read in a process of its own before it is blamed."""

import os
import subprocess
from pathlib import Path

import pytest

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.worker.conftest import file_at
from worker.processing.isolation import PAUSES, IsolationRun, IsolationUnavailable


@pytest.fixture
def isolation(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> IsolationRun:
    """Isolation runs for a folder of copies of one picture, valid ones and ones with injected faults."""
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
    return IsolationRun(reader, 30, Settings())


def within(isolation: IsolationRun, seconds: float) -> IsolationRun:
    return IsolationRun(isolation.reader, seconds, isolation.settings)


@pytest.mark.parametrize("name", ["good.png", "caf\udce9\n.png", "missing.png", "../outside.png", "raises.png"])
def test_an_image_that_ends_no_process_is_not_blamed(isolation: IsolationRun, name: str) -> None:
    assert isolation.verdict(file_at(name)) is None
    assert isolation.verdict(file_at(name), network=True) is None


@pytest.mark.parametrize(
    ("name", "how"), [("segfault.png", "SIGSEGV"), ("exit.png", "exit code 7"), ("ends.png", "exit code 0")]
)
def test_an_image_that_ends_its_process_is_blamed(isolation: IsolationRun, name: str, how: str) -> None:
    assert isolation.verdict(file_at(name)) == ("crashed", f"reading it ends the process ({how})")


def test_four_kills_in_a_row_do_not_blame_the_image(isolation: IsolationRun, tmp_path: Path) -> None:
    assert isolation.verdict(file_at("killed-4.png")) is None
    assert len(os.listdir(tmp_path / "killed")) == 4, "all four kills happened"


def test_five_kills_in_a_row_blame_the_image(isolation: IsolationRun, tmp_path: Path) -> None:
    assert isolation.verdict(file_at("killed-5.png")) == ("crashed", "reading it ends the process (SIGKILL)")
    assert len(os.listdir(tmp_path / "killed")) == 5


def test_an_image_that_exceeds_the_time_limit_is_blamed(isolation: IsolationRun) -> None:
    assert within(isolation, 2).verdict(file_at("hang.png")) == ("timeout", "reading it took longer than 2 s")


def test_an_image_that_crashes_the_network_is_blamed_only_by_a_run_with_the_network(isolation: IsolationRun) -> None:
    assert isolation.verdict(file_at("network-kill.png")) is None
    ends = "running the network on it ends the process (SIGKILL)"
    assert isolation.verdict(file_at("network-kill.png"), network=True) == ("crashed", ends)


def test_the_time_limit_of_the_network_starts_after_loading(isolation: IsolationRun) -> None:
    took = "running the network on it took longer than 8 s"
    assert within(isolation, 8).verdict(file_at("network-hang.png"), network=True) == ("timeout", took)


def test_a_process_that_ends_before_it_opens_the_image_blames_no_image(isolation: IsolationRun, tmp_path: Path) -> None:
    # A process ends like this if there is no memory for it.
    (tmp_path / "sitecustomize.py").write_text("import os, sys; sys.stderr.write('no memory\\n'); os._exit(1)\n")
    with pytest.raises(IsolationUnavailable, match=r"5 of 5 runs .*: exit code 1, no memory"):
        isolation.verdict(file_at("segfault.png"))


def test_a_process_that_can_not_be_started_blames_no_image(
    isolation: IsolationRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fork(*_: object, **__: object) -> None:
        tries.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fork)
    with pytest.raises(IsolationUnavailable, match="Resource temporarily unavailable"):
        isolation.verdict(file_at("good.png"))
    assert len(tries) == len(PAUSES)


def test_a_process_that_is_too_slow_to_start_blames_no_image(isolation: IsolationRun) -> None:
    with pytest.raises(IsolationUnavailable, match="did not end within"):
        within(isolation, 0.01).verdict(file_at("good.png"))
