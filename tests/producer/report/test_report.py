"""`pigeonhole report`; tests/browser/ tests the page in a browser."""

import base64
import hashlib
import io
import json
import os
import re
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pigeonhole.errors import ExitCode
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.settings import Settings
from producer import report
from producer.cli import app
from producer.report.facts import Facts
from producer.report.page import Links, Options, write
from tests.ledger.conftest import answers_for, batch_of
from tests.sinks.formats import CSV
from tests.sinks.result_files import write as save

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(1)</script>.png",
    "<!--<script>.png",
    "]]>&lt;&amp;.png",
    'a,"b"\nc.png',
    os.fsdecode(b"caf\xe9 \xff.png"),
    "日本 \u2028\u202e😀.png",
)


class Page(HTMLParser):
    """Parses a report into its elements, the texts of its scripts and style, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.data: dict[str, list[Any]] = {"rows": [], "thumbnails": [], "facts": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag == "script" and (kind := attributes.get("data-kind")) and data.strip():
            self.data[kind].append(json.loads(data))
        elif tag in self.texts and data.strip():
            self.texts[tag].append(data)

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(("/" + tag, {}))

    def column(self, name: str) -> list[Any]:
        return [value for block in self.data["rows"] for value in block[name]]


class Pictures:
    """Returns the same bytes for each thumbnail, and records the requested paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        self.paths += paths
        return ((position, b"picture") for position in range(len(paths)))


def labelled(path: str, label: str = "7", confidence: float = 0.9, review: bool = False) -> Row:
    return Row(path, label, confidence, review, "", "digits@0123456789ab", ())


def failed(path: str, error: str = "missing: no such file") -> Row:
    return Row(path, "", None, False, error, "digits@0123456789ab", ())


def page_of(rows: Sequence[Row], facts: Facts | None = None, **options: Any) -> Page:
    file = io.BytesIO()
    write(file, rows, facts or Facts(source="results.csv"), Links("./", ".."), 0.0, Options(**options))
    return Page(file.getvalue().decode())


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(
        app, ["report", *map(str, arguments)], env={"COLUMNS": "120", **environment}, catch_exceptions=False
    )


def test_hostile_paths_are_text_and_are_read_back_unchanged() -> None:
    empty, page = page_of([]), page_of([labelled(path, label=path[:4]) for path in HOSTILE])
    assert page.column("path") == list(HOSTILE)
    tags = [tag for tag, attributes in page.elements if attributes.get("data-kind") != "rows"]
    tags.remove("/script")  # the block of rows ends once
    assert tags == [tag for tag, _ in empty.elements]


def test_the_policy_allows_its_own_script_and_style_and_nothing_else() -> None:
    page = page_of([labelled("a.png")])
    (policy,) = [one["content"] for _, one in page.elements if one.get("http-equiv") == "Content-Security-Policy"]
    directives = dict(part.strip().partition(" ")[::2] for part in str(policy).split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data: file: 'self'"
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        (text,) = page.texts[tag]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"


def test_the_page_fetches_nothing_and_its_markup_has_no_handler_or_style() -> None:
    page = page_of([labelled("a.png")])
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")], tag
        assert attributes.get("href", "#") in ("#sheet", "data:,", "#")
    (script,) = page.texts["script"]
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", script)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", script + page.texts["style"][0])


def test_a_page_of_rows_alone_has_the_models_and_no_times() -> None:
    (facts,) = page_of([labelled("a.png"), labelled("b.png")._replace(model="digits@ba9876543210")]).data["facts"]
    assert facts["models"] == ["digits@0123456789ab", "digits@ba9876543210"]
    assert (facts["source"], facts["job"]) == ("results.csv", "")
    assert {facts[name] for name in ("images", "started", "finished", "seconds", "images_per_second")} == {None}


def test_the_digest_depends_on_the_rows_alone() -> None:
    def digest(*rows: Row, **options: Any) -> str:
        found: str = page_of(rows, **options).data["facts"][0]["digest"]
        return found

    one = digest(labelled("a.png"))
    assert digest(labelled("a.png"), facts=Facts(source="elsewhere.db"), thumbnails=Pictures(), limit=1) == one
    assert digest(labelled("a.png")._replace(top=(("7", 0.9),))) == one  # a CSV file has no top classes
    assert digest(labelled("a.png", label="1")) != one


def test_the_least_confident_rows_have_thumbnails_and_errors_have_none() -> None:
    pictures = Pictures()
    rows = [labelled("certain", confidence=0.99), failed("broken"), labelled("uncertain", confidence=0.6)]
    rows += [labelled("review", confidence=0.8, review=True), labelled("nan", confidence=float("nan"))]
    page = page_of(rows, thumbnails=pictures, limit=3)
    assert pictures.paths == ["review", "nan", "uncertain"]
    assert page.data["thumbnails"][0]["row"] == [3, 4, 2]
    assert page.column("confidence")[4] is None
    assert page_of(rows, thumbnails=pictures, limit=0).data["thumbnails"] == []


def test_memory_does_not_grow_with_the_rows() -> None:
    def rows(count: int) -> Iterator[Row]:
        return (labelled(f"folder/{number:06}.png", str(number % 10), number % 997 / 1000) for number in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            with open(os.devnull, "wb") as file:
                write(file, rows(count), Facts(source="rows"), Links("./", "/"), 0.0, Options(Pictures(), 10))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(20_000) < 1.2 * peak(5_000)


def test_links_lead_from_the_report_to_the_images(tmp_path: Path) -> None:
    links = Links.between(str(tmp_path / "reports" / "report.html"), str(tmp_path))
    assert links == Links("../", "/".join([".."] * len((tmp_path / "reports").parts[1:])))
    links = Links.between(str(tmp_path / "report.html"), str(tmp_path / "a: 50 %, #1?"))
    assert links.relative == "a%3A%2050%20%25%2C%20%231%3F/"


def test_the_command_makes_a_page_of_a_file(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    source, output = tmp_path / "results.csv", tmp_path / "report.html"
    source.write_bytes(CSV.header + CSV.encode([labelled("a.png"), labelled("gone.png"), failed(HOSTILE[0])]))
    result = run(source, "-o", output, "--images", tmp_path)
    assert result.exit_code == ExitCode.OK
    for part in (str(output), "3 images", "1 thumbnail", "1 can't be read"):
        assert part in result.stderr
    page = Page(output.read_text())
    assert page.column("path") == ["a.png", "gone.png", HOSTILE[0]]
    assert page.data["facts"][0]["links"]["relative"] == "./"
    assert sorted(os.listdir(tmp_path)) == ["a.png", "report.html", "results.csv"]


def test_the_format_option_reads_a_file_of_any_name(tmp_path: Path) -> None:
    source, output = tmp_path / "rows.txt", tmp_path / "report.html"
    source.write_bytes(CSV.header + CSV.encode([labelled("a.png")]))
    refused = run(source, "-o", output)
    assert refused.exit_code == ExitCode.USAGE
    assert "--format" in refused.stderr
    assert run(source, "-o", output, "--format", "csv").exit_code == ExitCode.OK
    assert Page(output.read_text()).column("path") == ["a.png"]


@pytest.mark.parametrize("ending", ["parquet", "db"])
def test_a_file_with_job_data_has_times_and_speed(ending: str, tmp_path: Path) -> None:
    source, output = str(tmp_path / f"results.{ending}"), tmp_path / "report.html"
    save([labelled("a.png"), failed("b.png")], source)
    assert run(source, "-o", output).exit_code == ExitCode.OK
    (facts,) = Page(output.read_text()).data["facts"]
    assert (facts["job"], facts["started"], facts["finished"], facts["images_per_second"]) == ("one", 2, 3, 2.0)


def test_the_command_makes_a_page_of_a_job(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    job = ledger.create("digits", ("photos",))
    piece = ledger.add(job, 0, batch_of("0.png", "1.png"))
    assert piece is not None
    ledger.close(job, 1)
    assert ledger.claim(job, piece) is not None
    ledger.commit(job, piece, answers_for(batch_of("0.png", "1.png")))
    output = tmp_path / "report.html"
    assert run(job, "-o", output, **settings.to_environment()).exit_code == ExitCode.OK
    page = Page(output.read_text())
    (facts,) = page.data["facts"]
    assert page.column("path") == ["0.png", "1.png"]
    assert (facts["job"], facts["state"], facts["sources"], facts["images"]) == (job, "finished", ["photos"], 2)
    assert facts["started"] <= facts["finished"]


def test_an_invalid_report_command_fails_before_it_writes(tmp_path: Path) -> None:
    source = tmp_path / "results.csv"
    source.write_bytes(CSV.header)
    job = "20260101-000000-abcdef"
    for arguments, parts in (
        ((source, "-o", source), (repr(str(source)), ".html")),
        ((source, "-o", tmp_path / "r.html", "--images", source), ("--images", repr(str(source)))),
        ((source, "-o", tmp_path / "r.html", "--job", "one"), (str(source), "--job")),
        ((tmp_path / "gone.csv", "-o", tmp_path / "r.html"), (str(tmp_path / "gone.csv"), "No such file")),
        ((job, "-o", tmp_path / "r.html"), ("PIGEONHOLE_BROKER_URL",)),
        ((source, "-o", tmp_path / "gone" / "r.html"), (str(tmp_path / "gone"), "-o")),
    ):
        result = run(*arguments)
        assert result.exit_code != ExitCode.OK
        for part in parts:
            assert part in result.stderr
    assert os.listdir(tmp_path) == ["results.csv"]
    assert source.read_bytes() == CSV.header


@pytest.mark.parametrize("csv_safe", [False, True])
def test_csv_safe_is_recorded_in_the_page(tmp_path: Path, csv_safe: bool) -> None:
    source, output = tmp_path / "results.csv", tmp_path / "report.html"
    source.write_bytes(CSV.header + CSV.encode([labelled("a.png")]))
    assert run(source, "-o", output, *(["--csv-safe"] if csv_safe else [])).exit_code == ExitCode.OK
    assert f'"csv_safe":{json.dumps(csv_safe)}' in output.read_text()


def test_a_failed_report_leaves_the_earlier_file(tmp_path: Path) -> None:
    source, output = tmp_path / "results.csv", tmp_path / "report.html"
    source.write_bytes(CSV.header + CSV.encode([labelled("a.png")]) + b"no row\n")
    output.write_text("before")
    result = run(source, "-o", output, "--overwrite")
    assert result.exit_code == ExitCode.USAGE
    assert str(source) in result.stderr
    assert output.read_text() == "before"
    assert len(os.listdir(tmp_path)) == 2


def test_a_report_replaces_a_report_or_an_empty_file_and_nothing_else(tmp_path: Path) -> None:
    source, output = tmp_path / "results.csv", tmp_path / "report.html"
    source.write_bytes(CSV.header + CSV.encode([labelled("a.png")]))
    output.write_text("my home page")
    refused = run(source, "-o", output)
    assert refused.exit_code == ExitCode.USAGE
    for part in ("pigeonhole: ", f"'{output}'", "--overwrite", "-o"):
        assert part in refused.stderr
    assert output.read_text() == "my home page"
    assert run(source, "-o", output, "--overwrite").exit_code == ExitCode.OK
    assert run(source, "-o", output).exit_code == ExitCode.OK, "the file is a report now"
    output.write_bytes(b"")
    assert run(source, "-o", output).exit_code == ExitCode.OK


def test_without_pillow_images_are_linked_and_a_notice_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "producer.report.thumbnails", raising=False)
    monkeypatch.delattr(report, "thumbnails", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)
    source, output = tmp_path / "results.csv", tmp_path / "report.html"
    source.write_bytes(CSV.header + CSV.encode([labelled("a.png")]))
    assert "Pillow" in run(source, "-o", output).stderr
    assert Page(output.read_text()).data["thumbnails"] == []
