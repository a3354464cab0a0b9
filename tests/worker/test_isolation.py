"""An isolation run reads a quarantined image in a separate process before it is blamed."""

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
    """Return isolation runs for a folder with copies of one image; most of them have injected faults."""
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


def with_limit(isolation: IsolationRun, seconds: float) -> IsolationRun:
    """Return isolation runs with another time limit."""
    return IsolationRun(isolation.reader, seconds, isolation.settings)


def check_verdict(verdict: tuple[str, str] | None, kind: str, *parts: str) -> None:
    """Check that a verdict blames the image with this kind of error, and names these parts."""
    assert verdict is not None
    assert verdict[0] == kind
    for part in parts:
        assert part in verdict[1]


@pytest.mark.parametrize("name", ["good.png", "caf\udce9\n.png", "missing.png", "../outside.png", "raises.png"])
def test_an_image_that_ends_no_process_is_not_blamed(isolation: IsolationRun, name: str) -> None:
    assert isolation.verdict(file_at(name)) is None
    assert isolation.verdict(file_at(name), network=True) is None


@pytest.mark.parametrize(
    ("name", "how"), [("segfault.png", "SIGSEGV"), ("exit.png", "exit code 7"), ("ends.png", "exit code 0")]
)
def test_an_image_that_ends_its_process_is_blamed(isolation: IsolationRun, name: str, how: str) -> None:
    check_verdict(isolation.verdict(file_at(name)), "crashed", "reading", how)


def test_four_kills_in_a_row_do_not_blame_the_image(isolation: IsolationRun, tmp_path: Path) -> None:
    assert isolation.verdict(file_at("killed-4.png")) is None
    assert len(os.listdir(tmp_path / "killed")) == 4, "all four kills happened"


def test_five_kills_in_a_row_blame_the_image(isolation: IsolationRun, tmp_path: Path) -> None:
    check_verdict(isolation.verdict(file_at("killed-5.png")), "crashed", "reading", "SIGKILL")
    assert len(os.listdir(tmp_path / "killed")) == 5


def test_an_image_that_exceeds_the_time_limit_is_blamed(isolation: IsolationRun) -> None:
    check_verdict(with_limit(isolation, 2).verdict(file_at("hang.png")), "timeout", "reading", "2 s")


def test_an_image_that_crashes_the_network_is_blamed_only_by_a_run_with_the_network(isolation: IsolationRun) -> None:
    assert isolation.verdict(file_at("network-kill.png")) is None
    check_verdict(isolation.verdict(file_at("network-kill.png"), network=True), "crashed", "network", "SIGKILL")


def test_the_time_limit_of_the_network_starts_after_loading(isolation: IsolationRun) -> None:
    verdict = with_limit(isolation, 8).verdict(file_at("network-hang.png"), network=True)
    check_verdict(verdict, "timeout", "network", "8 s")


def test_a_process_that_ends_before_it_opens_the_image_blames_no_image(isolation: IsolationRun, tmp_path: Path) -> None:
    # A process that gets no memory ends like this.
    (tmp_path / "sitecustomize.py").write_text("import os, sys; sys.stderr.write('no memory\\n'); os._exit(1)\n")
    with pytest.raises(IsolationUnavailable, match=r"5 of 5 .*exit code 1, no memory"):
        isolation.verdict(file_at("segfault.png"))


def test_a_process_that_can_not_be_started_blames_no_image(
    isolation: IsolationRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def fork(*_: object, **__: object) -> None:
        attempts.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fork)
    with pytest.raises(IsolationUnavailable, match="Resource temporarily unavailable"):
        isolation.verdict(file_at("good.png"))
    assert len(attempts) == len(PAUSES)


def test_a_process_that_is_too_slow_to_start_blames_no_image(isolation: IsolationRun) -> None:
    with pytest.raises(IsolationUnavailable, match=r"\b0 s"):
        with_limit(isolation, 0.01).verdict(file_at("good.png"))
