"""Runs with many errors end early with `--max-errors`."""

import shutil
from pathlib import Path

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.e2e.conftest import Run, StartWorker, rows_of
from tests.messages import check_message


def list_of(home: Path, absent: int) -> None:
    names = ["samples/003b50.png", *(f"gone-{number}.png" for number in range(absent))]
    (home / "list").write_text("\n".join(names))


def test_a_run_with_too_many_errors_ends_and_the_same_command_keeps_its_rows(home: Path, embedded: Run) -> None:
    list_of(home, 3000)
    ended = embedded("classify", "@list", "-o", "rows.csv", "--max-errors", "10%")
    assert ended.returncode == 1, ended.stderr
    check_message(
        ended.stderr.decode(), "--max-errors is 10%", "'missing'", "'gone-0.png'", "run the same command again"
    )
    assert not (home / "rows.csv").exists()
    for number in range(3000):
        shutil.copy(home / "samples" / "003b50.png", home / f"gone-{number}.png")
    again = embedded("classify", "@list", "-o", "rows.csv", "--max-errors", "10%", "--retry-errors")
    assert again.returncode == 0, again.stderr
    check_message(again.stderr.decode(), "1 row kept", "classified again: ")
    assert len(rows_of((home / "rows.csv").read_bytes())) == 3001


def test_waiting_ends_at_too_many_errors_and_the_job_continues(
    home: Path, brokered: Run, settings: Settings, start_worker: StartWorker
) -> None:
    start_worker()
    list_of(home, 100)
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    assert brokered("wait", job, "-o", "rows.csv", "--max-errors", "100").returncode == 3
    ended = brokered("wait", job, "-o", "others.csv", "--max-errors", "99")
    assert ended.returncode == 1
    assert f"`pigeonhole wait {job} -o others.csv`" in ended.stderr.decode()
    assert Ledger(settings).status(job).done == 101
    refused = brokered("wait", job, "--max-errors", "many")
    assert refused.returncode == 2
    check_message(refused.stderr.decode(), "--max-errors", "'many'")
