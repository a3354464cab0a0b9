"""A volume that is unmounted while a command runs."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import command


def test_a_command_waits_for_a_volume_that_was_unmounted_says_so_and_has_every_label_once_it_is_back(
    home: Path,
) -> None:
    card, elsewhere, said = home / "card", home / "elsewhere", home / "said"
    card.mkdir()
    for number in range(1000):
        shutil.copy(home / "samples" / "003b50.png", card / f"{number}.png")
    environment = os.environ | {"PYTHONPATH": slow(home.parent / "slow", 0.005), "PIGEONHOLE_PUBLISH_SECONDS": "1"}
    environment["PIGEONHOLE_PROCESSES"] = "1"  # a process that has read nothing yet knows only the mount points
    with said.open("wb") as file:
        line = command("classify", "card", "-o", "rows.csv")
        run = subprocess.Popen(line, cwd=home, env=environment, stderr=file)
    rows = home / "rows.csv.part"
    wait_for(lambda: rows.exists() and rows.stat().st_size > 0, "the first row")
    card.rename(elsewhere)  # unmounting replaces the folder by an empty one
    card.mkdir()
    try:
        wait_for(lambda: f"waiting: the folder '{card}' is gone or was replaced" in said.read_text(), "a message")
        card.rmdir()
        elsewhere.rename(card)
        assert run.wait(60) == 0
    finally:
        run.kill()
    assert "1,000 labels, 0 errors" in said.read_text()
    assert len((home / "rows.csv").read_text().splitlines()) == 1001
