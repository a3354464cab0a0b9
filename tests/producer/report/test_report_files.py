"""`pigeonhole report`: the sizes and dates of image files, and the advice if files are missing."""

import os
from pathlib import Path

import pytest
from PIL import Image

from producer.report.file_facts import FileFacts
from tests.packing import pack
from tests.producer.report.test_report import Page, failed, labelled, run
from tests.sinks.result_files import write as save


def test_only_existing_files_have_a_size_and_a_date(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"12345")
    os.utime(tmp_path / "a.png", (1_600_000_000.7, 1_600_000_000.7))
    pack(tmp_path / "b.zip", [("c.png", b"data")])
    rows = [labelled(path) for path in ("a.png", "gone.png", "b.zip::c.png", "gone.zip::c.png", "nul\0.png")]
    facts = FileFacts(str(tmp_path))
    sizes, dates = facts.columns([*rows, failed("a.png")])
    assert sizes == [5, None, None, None, None, None]
    assert dates == [1_600_000_000, None, None, None, None, None]
    assert (facts.looked_up, facts.missing) == (5, 3), "a member counts as found if its archive exists"


@pytest.mark.parametrize("thumbnails", [0, 1000])
def test_advice_names_the_images_option_if_all_images_are_missing(tmp_path: Path, thumbnails: int) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (28, 28)).save(tmp_path / "images" / name)
    source, output = tmp_path / "results.csv", tmp_path / "report.html"
    save([labelled("a.png"), labelled("b.png"), failed("c.png")], str(source))
    notice = run(source, "-o", output, "--images", tmp_path, "--thumbnails", thumbnails).stderr
    for part in ("2 of 2 images", f"'{tmp_path}'", "--images FOLDER"):
        assert (part in notice) == (thumbnails > 0), "without thumbnails, no image file is looked up"
    assert (Page(output.read_text()).data["facts"][0]["missing"] == 2) == (thumbnails > 0)
    assert "--images" not in run(source, "-o", output, "--images", tmp_path / "images").stderr


def test_a_few_missing_images_cause_no_advice(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    source = tmp_path / "results.csv"
    save([labelled("a.png"), labelled("gone.png")], str(source))
    notice = run(source, "-o", tmp_path / "report.html", "--images", tmp_path).stderr
    assert "1 can't be read" in notice
    assert "--images" not in notice
