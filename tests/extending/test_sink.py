"""A new output format is one class and one entry in the registry."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.settings import Settings
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format, LineFormat
from pigeonhole.sinks.registry import FORMATS, read_results
from pigeonhole.sinks.whole import WholeFormat
from producer.cli import app
from tests.conftest import starting_workers
from tests.e2e.conftest import SAMPLES


class Tabs(LineFormat):
    """One line for each row, with tabs between the fields."""

    name = "tabs"
    extensions = (".tabs", ".tsv")
    header = b"path\tlabel\terror\n"

    def encode(self, rows: Sequence[Row]) -> bytes:
        return "".join(f"{row.path}\t{row.label}\t{row.error}\n" for row in rows).encode()

    def parse(self, line: bytes) -> Row:
        path, label, error = line.decode().removesuffix("\n").split("\t")
        return Row(path, label, None, False, error, "", ())


class Array(WholeFormat):
    """A JSON array of paths and labels."""

    name = "array"
    extensions = (".array",)

    def write(self, path: str, chunks: Iterable[Sequence[Row]], job: JobStatus, written_ns: int) -> None:
        Path(path).write_text(json.dumps([(row.path, row.label, row.error) for rows in chunks for row in rows]))

    def read(self, path: str, job: JobStatus | None) -> Iterator[Row]:
        for name, label, error in json.loads(Path(path).read_text()):
            yield Row(name, label, None, False, error, "", ())


ROWS = [
    Row("a.png", "7", 0.5, True, "", "digits@0123456789ab", (("7", 0.5),)),
    Row("b.png", "", None, False, "missing: no such file", "digits@0123456789ab", ()),
]


@pytest.fixture(params=[Tabs, Array])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Format:
    monkeypatch.chdir(tmp_path)
    format: Format = request.param()
    monkeypatch.setitem(FORMATS, format.name, format)
    return format


def test_rows_are_written_in_a_new_format_and_read_back(toy: Format) -> None:
    path = f"rows{toy.extensions[-1]}"
    sink = File(path, toy)
    sink.write(ROWS[:1])
    sink.write(ROWS[1:])
    sink.finish(JobStatus(job="one", state=JobState.FINISHED, model="digits", created=1.0))
    assert [(row.path, row.label, row.error) for row in read_results(path)] == [
        ("a.png", "7", ""),
        ("b.png", "", "missing: no such file"),
    ]
    assert [entry.name for entry in Path().iterdir()] == [path]


@pytest.fixture(scope="module")
def broker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(broker_url=redis_url, prefix="test-extending-sink")
    with starting_workers(settings, tmp_path_factory.mktemp("worker")) as start:
        start()
        yield settings


@pytest.mark.parametrize("by_option", [False, True])
def test_a_job_is_written_in_a_new_format(
    toy: Format, by_option: bool, broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in broker.to_environment().items():
        monkeypatch.setenv(variable, value)
    output = ["rows", "--format", toy.name] if by_option else [f"rows{toy.extensions[0]}"]
    images = sorted(map(str, SAMPLES.glob("0*.png")))
    done = CliRunner().invoke(app, ["classify", *images, "-q", "-o", *output], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows = list(read_results(output[0], format=toy))
    assert [row.path for row in rows] == images
    assert all(row.label for row in rows)
