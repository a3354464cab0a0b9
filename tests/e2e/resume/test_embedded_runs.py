"""Interrupted embedded runs that are run again: every image in exactly one row."""

import json
import os
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from pigeonhole.jobs.record_file import RecordFile
from pigeonhole.sinks.registry import read_results
from tests.conftest import wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import SAMPLES, Run, command, leftovers, rows_of, start
from tests.e2e.resume.runs import create_many_images, interrupt_at_rows, paths
from tests.messages import check_message


@pytest.mark.parametrize(
    ("name", "number"),
    [("rows.csv", signal.SIGINT), ("rows.csv", signal.SIGKILL), ("rows.db", signal.SIGTERM)],
)
def test_the_same_command_resumes_an_interrupted_embedded_run(
    home: Path, temporary: Path, embedded: Run, number: signal.Signals, name: str
) -> None:
    listed = create_many_images(home)
    line = ("classify", "many", "-o", name)
    interrupt_at_rows(start(home, temporary, *line), home / f"{name}.part", number)
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
    rows_before = (home / f"{name}.part").read_bytes().count(b"\n") - (name == "rows.csv")
    assert 0 < rows_before < len(listed), "the run was interrupted in its middle"
    (home / f"{name}.part").unlink()  # the rows come from the resume state

    again = embedded(*line, "--json")
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    assert summary["kept"] >= rows_before, "the resume state is written before the rows"
    assert f"{summary['kept']:,} rows kept" in again.stderr.decode()
    assert (summary["images"], summary["errors"]) == (len(listed), 0)
    if name == "rows.csv":
        assert paths(home / name) == listed
    else:
        assert [row.path for row in read_results(str(home / name))] == listed
    assert sorted(file.name for file in home.iterdir()) == [f".{name}.pigeonhole", "many", name, "samples"]


def test_a_finished_run_is_repeated_and_its_file_is_replaced_unless_it_was_changed(home: Path, embedded: Run) -> None:
    line = ("classify", "samples/0*", "-o", "rows.csv")
    assert embedded(*line).returncode == 0
    again = embedded(*line)
    assert again.returncode == 0
    assert b"kept" not in again.stderr
    (home / "rows.csv").write_bytes(b"changed by the user\n")
    refused = embedded(*line)
    assert refused.returncode == 2
    check_message(refused.stderr.decode(), "'rows.csv' exists", "changed", "--overwrite")
    assert embedded(*line, "--overwrite").returncode == 0
    assert paths(home / "rows.csv")


@pytest.mark.parametrize("name", ["rows.csv", "rows.db"])
def test_a_run_that_was_killed_after_its_last_row_writes_its_file(home: Path, embedded: Run, name: str) -> None:
    line = ("classify", "samples/0*", "-o", name, "--json")
    images = json.loads(embedded(*line).stdout)["images"]
    (home / name).unlink()
    with closing(RecordFile.locked(str(home / f".{name}.pigeonhole"), pytest.fail)) as records:
        end = next(record.offset for record in records if record.kind == 7)  # FILE is about to be written
    os.truncate(home / f".{name}.pigeonhole", end)
    again = embedded(*line)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["kept"] == images
    assert len(list(read_results(str(home / name)))) == images


def test_a_run_of_a_list_on_standard_input_resumes_with_the_same_input(
    home: Path, temporary: Path, embedded: Run
) -> None:
    listed = [path for path in create_many_images(home, 20) for _ in range(2)]  # each image twice
    (home / "list").write_bytes("\n".join(listed).encode())
    line = ("classify", "-", "-o", "rows.csv")
    with (home / "list").open("rb") as feed:
        environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": slow(home.parent / "slow")}
        run = subprocess.Popen(command(*line), cwd=home, env=environment, stdin=feed)
    interrupt_at_rows(run, home / "rows.csv.part")
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
    again = embedded(*line, input=(home / "list").read_bytes())
    assert again.returncode == 0, again.stderr
    assert b"resuming: " in again.stderr
    assert paths(home / "rows.csv") == listed


def test_resuming_classifies_changed_and_new_images_and_keeps_all_other_rows(
    home: Path, temporary: Path, embedded: Run
) -> None:
    listed = create_many_images(home)
    line = ("classify", "many", "-o", "rows.csv")
    interrupt_at_rows(start(home, temporary, *line), home / "rows.csv.part")
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
    (home / "many" / "00000.png").unlink()
    (home / "many" / "00000.png").write_bytes(b"other bytes")
    (home / "many" / "new.png").write_bytes((home / "samples" / "003b50.png").read_bytes())
    again = embedded(*line)
    assert again.returncode == 3, again.stderr
    assert b"again: 1 whose file has changed" in again.stderr
    rows = {row["path"]: row["error"].partition(":")[0] for row in rows_of((home / "rows.csv").read_bytes())}
    assert sorted(paths(home / "rows.csv")) == sorted([*listed, "many/new.png"])
    assert {path for path in rows if rows[path]} == {"many/00000.png"}


@pytest.mark.parametrize(("source", "linked"), [("now", False), ("-", True)])
def test_older_images_that_replaced_others_are_classified_again(
    home: Path, temporary: Path, embedded: Run, source: str, linked: bool
) -> None:
    listed = [path.replace("many", "now") for path in create_many_images(home)]
    shutil.copytree(home / "many", home / "others")
    for path in (home / "others").iterdir():
        path.write_bytes(b"no image")
        os.utime(path, (0, 0))
    if linked:
        (home / "now").symlink_to("many")
    else:
        (home / "many").rename(home / "now")
    same = ("samples/003b50.png", "samples/007313.png")
    feed = "\n".join([*same, *listed]).encode() if source == "-" else None
    line = ("classify", *(same if feed is None else ()), source, "-o", "rows.csv")
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": slow(home.parent / "slow")}
    run = subprocess.Popen(command(*line), cwd=home, env=environment, stdin=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(feed or b"")
    run.stdin.close()
    wait_for(lambda: (home / "rows.csv.part").exists() and paths(home / "rows.csv.part")[2:] != [], "the first rows")
    run.kill()
    run.wait(timeout=30)
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
    if linked:
        (home / "now").unlink()
        (home / "now").symlink_to("others")
    else:
        (home / "now").rename(home / "before")
        (home / "others").rename(home / "now")
    again = embedded(*line, input=feed)
    assert again.returncode == 3, again.stderr
    check_message(again.stderr.decode(), "2 rows kept", "classified again: ")
    rows = rows_of((home / "rows.csv").read_bytes())
    assert [row["path"] for row in rows] == [*same, *listed]
    assert [row["path"] for row in rows if row["error"]] == listed


def test_retry_errors_classifies_only_the_error_rows_again(home: Path, embedded: Run) -> None:
    assert embedded("classify", "samples", "-o", "rows.csv").returncode == 3
    before = rows_of((home / "rows.csv").read_bytes())
    (home / "samples" / "empty.png").write_bytes((SAMPLES / "003b50.png").read_bytes())
    again = embedded("classify", "samples", "-o", "rows.csv", "--retry-errors")
    assert again.returncode == 3
    check_message(again.stderr.decode(), "200 rows kept", "again: 3 with an error")
    rows = rows_of((home / "rows.csv").read_bytes())
    assert sorted(row["path"] for row in rows) == sorted(row["path"] for row in before)
    assert [row for row in rows if not row["error"]][:200] == [row for row in before if not row["error"]]
    assert {row["path"] for row in rows if row["error"]} == {"samples/text.png", "samples/92ce53-truncated.png"}
