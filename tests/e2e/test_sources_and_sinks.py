"""Every source into every sink, through one real worker."""

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.settings import Settings
from pigeonhole.sinks.format import Format, LineFormat
from pigeonhole.sinks.registry import FORMATS, read_results
from pigeonhole.sources.source import identity_of
from pigeonhole.text import counted
from producer.cli import app
from tests.conftest import starting_workers, wait_for
from tests.e2e.conftest import SAMPLES, Run
from tests.messages import check_message
from tests.packing import KINDS, pack
from tests.sinks.formats import CSV, DB, PARQUET

ODD = os.fsdecode(b"caf\xe9.png")
#: The files of the folder `in`, in their order: name → label, or the kind of its error.
IMAGES = {"a b.png": "8", ODD: "8", "empty.png": "empty", "below/a b.png": "6"}
PACKED = ["below/a b.png", "empty.png", "a b.png"]
#: SOURCE → its files, in their order.
SOURCES = {
    "in/a b.png": ["a b.png"],
    "in": list(IMAGES),
    "in/**/a*.png": ["a b.png", "below/a b.png"],
    "@list": ["below/a b.png", ODD],
    "-": ["below/a b.png", ODD],
    **{f"packed.{kind}": PACKED for kind in KINDS},
}
FILES = sorted(["in", "list", *(f"packed.{kind}" for kind in KINDS)])
Classify = Callable[..., Result]


@pytest.fixture(scope="module")
def broker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield the settings of a Redis with one worker, which these tests share."""
    settings = Settings(broker_url=redis_url, prefix="test-sources-and-sinks")
    with starting_workers(settings, tmp_path_factory.mktemp("worker")) as start:
        start()
        yield settings


@pytest.fixture
def run(broker: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classify:
    """Return a function that runs the program in this process, in a folder with images and a list."""
    monkeypatch.chdir(tmp_path)
    for variable, value in broker.to_environment().items():
        monkeypatch.setenv(variable, value)
    Path("in/below").mkdir(parents=True)
    shutil.copy(SAMPLES / "003b50.png", "in/a b.png")
    shutil.copy(SAMPLES / "003b50.png", f"in/{ODD}")
    shutil.copy(SAMPLES / "00c5e3.png", "in/below/a b.png")
    Path("in/empty.png").touch()
    for kind in KINDS:
        pack(Path(f"packed.{kind}"), [(name, Path("in", name).read_bytes()) for name in PACKED])
    Path("list").write_bytes(b"".join(os.fsencode(f"in/{name}\n") for name in SOURCES["@list"]))
    until_trusted("list")

    def run(*arguments: str) -> Result:
        with standard_input("list"):
            return CliRunner().invoke(app, [*arguments], catch_exceptions=False)

    return run


def until_trusted(path: str) -> None:
    """Wait until the modification times of new files are trusted, so that they are sorted."""
    wait_for(lambda: identity_of(os.stat(path), time.time_ns()) != 0, "a tick of the file system's clock")


@contextmanager
def standard_input(path: str) -> Iterator[None]:
    """Replace standard input by a file."""
    before = os.dup(0)
    with open(path, "rb") as file:
        os.dup2(file.fileno(), 0)
        try:
            yield
        finally:
            os.dup2(before, 0)
            os.close(before)


def check(rows: list[Row], source: str) -> None:
    """Check that each image of the sources has its row, in order."""
    names = SOURCES[source]
    inside = f"{source}::" if source.startswith("packed.") else "in/"
    assert [row.path for row in rows] == [f"{inside}{name}" for name in names]
    assert [row.label or row.error.partition(":")[0] for row in rows] == [IMAGES[name] for name in names]
    assert all(row.model.startswith("digits@") for row in rows)
    assert all((row.confidence is None) == bool(row.error) for row in rows)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("format", FORMATS.values())
def test_every_source_is_written_in_every_format(run: Classify, source: str, format: Format) -> None:
    done = run("classify", source, "-q", "-o", f"rows.{format.name}")
    assert done.exit_code == (3 if "empty.png" in SOURCES[source] else 0), done.output
    found = read_results(f"rows.{format.name}")
    check(list(found), source)
    assert sorted(os.listdir()) == [f".rows.{format.name}.pigeonhole", *FILES, f"rows.{format.name}"]
    if not isinstance(format, LineFormat):
        assert found.job is not None
        assert (found.job.state, found.job.sources) == ("finished", (source,))


def test_the_review_threshold_of_the_user_applies_to_every_output(run: Classify) -> None:
    rows = CSV.scan(io.BytesIO(run("classify", "in", "-q").stdout_bytes))
    whole = [row.confidence for _, row in rows]
    below = max(filter(None, whole))
    marked = [confidence is not None and confidence < below for confidence in whole]
    assert any(marked)
    done = run("classify", "in", "-o", "rows.db", "--sort-into", "out", "--json", "--review-below", str(below))
    assert json.loads(done.stdout)["reviews"] == sum(marked)
    assert f"{sum(marked)} to review" in done.stderr
    found = read_results("rows.db")
    assert [row.review for row in found] == marked
    assert found.job is not None
    assert found.job.reviews == sum(marked)
    assert len(list(Path("out/_review").rglob("*.png"))) == sum(marked)
    for again in ("results", "wait"):
        done = run(again, found.job.job, "-o", f"{again}.csv", "--review-below", str(below))
        assert [row.review for row in read_results(f"{again}.csv")] == marked, done.output


@pytest.mark.parametrize("command", ["classify", "wait", "results"])
@pytest.mark.parametrize("below", ["1.01", "-1.0", "nan"])
def test_an_invalid_review_threshold_is_refused(run: Classify, command: str, below: str) -> None:
    done = run(command, "in", "--review-below", below)
    assert done.exit_code == 2
    check_message(done.stderr, "'--review-below'", f"{below} is not a confidence")


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_written_to_standard_output(run: Classify, source: str) -> None:
    done = run("classify", source, "-q")
    check([row for _, row in CSV.scan(io.BytesIO(done.stdout_bytes))], source)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_sorted_into_folders(run: Classify, source: str) -> None:
    done = run("classify", source, "--sort-into", "out", "--json")
    assert done.exit_code == (3 if "empty.png" in SOURCES[source] else 0), done.output
    images = sorted((path.parent.name, path.read_bytes()) for path in Path("out").rglob("*.png"))
    labelled = [name for name in SOURCES[source] if name != "empty.png"]
    assert images == sorted((IMAGES[name], Path("in", name).read_bytes()) for name in labelled)
    assert Path("out/_errors.csv").exists() == ("empty.png" in SOURCES[source])
    assert f"{counted(len(labelled), 'image')} sorted into 'out'" in done.stderr


def test_a_glob_that_matches_the_sorted_folder_classifies_each_image_once(run: Classify) -> None:
    first = run("classify", "in/*", "--sort-into", "in/sorted", "-o", "rows.csv")
    again = run("classify", "in/*", "--sort-into", "in/sorted", "-o", "rows.csv")
    assert (first.exit_code, again.exit_code) == (3, 3), again.output
    assert len(list(read_results("rows.csv"))) == len(IMAGES)
    check_message(again.stderr, "'in/sorted'", "left out")
    assert f"0 images sorted into 'in/sorted' ({len(IMAGES) - 1} already there)" in again.stderr


def test_waiting_twice_writes_a_database_and_sorts_once(run: Classify) -> None:
    job = run("submit", "in", "-q").stdout.strip()
    for _ in range(2):
        done = run("wait", job, "-q", "-o", "rows.db", "--sort-into", "out", "--copy")
        assert done.exit_code == 3, done.output
    check(list(read_results("rows.db", job)), "in")
    assert len(list(Path("out").rglob("*.png"))) == 3
    assert run("results", job, "-o", "rows.parquet").exit_code == 0
    assert list(read_results("rows.parquet")) == list(read_results("rows.db"))


@pytest.mark.parametrize("format", [PARQUET, DB])
def test_retry_errors_keeps_the_labels_in_parquet_and_sqlite(run: Classify, format: Format) -> None:
    line = ("classify", "in", "-o", f"rows.{format.name}", "--json")
    assert run(*line, "-q").exit_code == 3
    shutil.copy(SAMPLES / "003b50.png", "in/empty.png")
    until_trusted("in/empty.png")
    again = run(*line, "--retry-errors", "--sort-into", "out")
    assert again.exit_code == 0, again.output
    check_message(again.stderr, "3 rows kept", "again: 1 with an error")
    rows = {row.path: row.label for row in read_results(f"rows.{format.name}")}
    assert rows == {f"in/{name}": label for name, label in (IMAGES | {"empty.png": "8"}).items()}
    assert len(list(Path("out").rglob("*.png"))) == 4, "images of kept rows are sorted too"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--format", "xlsx"], ["'--format'", "'xlsx'"]),
        (["--format", "db"], ["standard output", ".db"]),
        (["--link", "hard"], ["--link", "--sort-into DIR"]),
        (["--sort-into", "out", "--copy", "--link", "hard"], ["--link", "--copy"]),
        (["--sort-into", "in/out"], ["'in/out'", "'in'", "choose another DIR"]),
    ],
)
def test_impossible_options_are_refused_before_the_run(run: Classify, options: list[str], parts: list[str]) -> None:
    done = run("classify", "in", *options)
    assert done.exit_code == 2
    check_message(done.stderr, *parts)
    assert sorted(os.listdir()) == FILES
    assert not Path("in/out").exists()


def test_the_list_of_errors_has_the_paths_of_the_rows(run: Classify) -> None:
    run("classify", "in", "--sort-into", "out", "-q", "-o", "rows.csv")
    with open("out/_errors.csv", newline="") as file:
        ((path, error),) = [(row["path"], row["error"]) for row in csv.DictReader(file)]
    assert path == "in/empty.png"
    assert error.startswith("empty: ")


def test_rows_that_are_safe_for_spreadsheets_are_read_back_by_the_report(home: Path, embedded: Run) -> None:
    formula = '=HYPERLINK("http:example.org").png'
    (home / formula).write_bytes((home / "samples" / "003b50.png").read_bytes())
    (home / "list").write_text(f"{formula}\n-gone.png\n")
    classify = ("classify", "@list", "--csv-safe")
    run = embedded(*classify, "-o", "rows.csv", "--sort-into", "sorted")
    assert run.returncode == 3, run.stderr
    [header, *lines] = csv.reader((home / "rows.csv").read_text().splitlines())
    assert header[0] == "path"
    assert [line[0] for line in lines] == [f"'{formula}", "'-gone.png"]
    assert (home / "sorted" / "_errors.csv").read_text() == "path,error\n'-gone.png,missing: no such file\n"
    assert [row.path for row in read_results(str(home / "rows.csv"))] == [formula, "-gone.png"]
    assert embedded("report", "rows.csv", "-o", "report.html").returncode == 0
    refused = embedded(*classify, "-o", "rows.jsonl")
    assert refused.returncode == 2
    check_message(refused.stderr.decode(), "--csv-safe", ".csv", "--format csv")
