"""A volume that is unmounted while a command runs."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import command


def test_a_command_waits_for_an_unmounted_volume_and_loses_no_label(
    home: Path,
) -> None:
    card, elsewhere, stderr = home / "card", home / "elsewhere", home / "stderr"
    card.mkdir()
    for number in range(1000):
        shutil.copy(home / "samples" / "003b50.png", card / f"{number}.png")
    environment = os.environ | {"PYTHONPATH": slow(home.parent / "slow", 0.005), "PIGEONHOLE_PUBLISH_SECONDS": "1"}
    environment["PIGEONHOLE_PROCESSES"] = "1"  # another process would know only the mount points
    with stderr.open("wb") as file:
        line = command("classify", "card", "-o", "rows.csv")
        run = subprocess.Popen(line, cwd=home, env=environment, stderr=file)
    rows = home / "rows.csv.part"
    wait_for(lambda: rows.exists() and rows.stat().st_size > 0, "the first row")
    card.rename(elsewhere)  # unmounting replaces the folder by an empty one
    card.mkdir()
    try:
        wait_for(lambda: f"waiting: the folder '{card}'" in stderr.read_text(), "a message")
        card.rmdir()
        elsewhere.rename(card)
        assert run.wait(60) == 0
    finally:
        run.kill()
    assert "1,000 labels, 0 errors" in stderr.read_text()
    assert len((home / "rows.csv").read_text().splitlines()) == 1001
