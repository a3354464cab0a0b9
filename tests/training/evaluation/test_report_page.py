"""The report to look at: real plots, drawn by matplotlib, and the page around them."""

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import training.report
from pigeonhole.errors import TrainingError, UsageError
from pigeonhole.models import checkpoint
from pigeonhole.models.record import Calibration
from pigeonhole.version import install_hint
from tests.training.test_cli import run
from training.evaluation.measure import Evaluated, measure
from training.report import fonts, markup, page
from training.report.figures import DARK, LIGHT, confusion, render

# Possible names of a folder: markup, a formula of matplotlib, other scripts, a line end, a very long name.
NAMES = ("<script>alert(1)</script>", "$\\frac{1}$ & $2$", "猫 کتاب", "two\nlines", "n" * 60)


def evaluated(classes: tuple[str, ...] = NAMES, images: int = 200) -> Evaluated:
    """Return invented predictions, a tenth of them wrong."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % len(classes)
    logits = torch.randn(images, len(classes), generator=generator)
    logits[torch.arange(images), labels] += 4
    pixels = torch.randint(0, 256, (images, 8, 8, 3), dtype=torch.uint8, generator=generator)
    report = measure(logits, labels, classes, Calibration(1.5, 0.4))
    described = checkpoint.describe(checkpoint.find("digits"))
    return Evaluated(described, "<b>pictures</b>", report, pixels, tuple(f"<i>{index}" for index in range(images)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    small = evaluated(images=40)
    assert 0 < len(small.report.worst(40)) < 40
    return page.write(folder, small)


def test_the_plots_are_files_beside_the_page_and_inside_it(written: Path) -> None:
    plots = {path.stem: path for path in written.parent.glob("*.png")}
    assert sorted(plots) == ["confusion", "curves", "mistakes", "reliability", "review"]
    for path in plots.values():
        with Image.open(path) as image:
            assert image.width >= 500
            assert np.asarray(image.convert("L")).std() > 10, "it shows something"
    html = written.read_text(encoding="utf-8")
    assert html.count('media="(prefers-color-scheme: dark)"') == html.count('class="plot"') == 4


def test_the_page_needs_nothing_else_and_no_name_becomes_markup(written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    assert not re.search(r"<script|<i>|<b>pictures|https?:|src=\"(?!data:)", html)
    for text in ("&lt;script&gt;alert(1)&lt;/script&gt;", "$\\frac{1}$ &amp; $2$", "猫 کتاب", "&lt;b&gt;pictures"):
        assert text in html
    assert "default-src 'none'" in html


def test_the_same_figures_give_the_same_files(written: Path, tmp_path: Path) -> None:
    again = page.write(tmp_path, evaluated(images=40))
    assert again.read_bytes() == written.read_bytes()


def test_fifty_classes_can_still_be_read() -> None:
    names = tuple(f"class {index}" for index in range(50))
    with Image.open(io.BytesIO(render(lambda theme: confusion(evaluated(names).report, theme), DARK, names))) as image:
        assert 1400 <= image.width <= 3000
        dark = np.asarray(image.convert("L"))
    assert np.median(dark) < 60


def test_a_name_that_no_font_can_draw_stands_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [font for font in fonts._fonts() if font[0] == "DejaVu Sans"]
    monkeypatch.setattr(fonts, "_fonts", lambda: ours)
    fonts._family.cache_clear()
    try:
        assert [fonts.drawable(name, 3) for name in ("cat", "猫", "Ελλάδα")] == ["cat", "#3", "Ελλάδα"]
        assert page._undrawable(evaluated(("cat", "猫")).report)
        assert fonts.families(["猫"]) == ["DejaVu Sans"]
    finally:
        fonts._family.cache_clear()


def test_nothing_wrong_and_nothing_known_of_the_training_leave_their_parts_out(tmp_path: Path) -> None:
    right = evaluated(("a", "b"))
    logits = torch.eye(2)[right.report.truths] * 9
    whole = measure(logits, right.report.truths, ("a", "b"), Calibration())
    described = replace(right.checkpoint, trained={"epochs": [{"number": 1}]})
    page.write(tmp_path, replace(right, report=whole, checkpoint=described))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion.png",
        "reliability.png",
        "report.html",
        "review.png",
    ]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/report: the report can't be written \(Not a directory\); choose"):
        markup.make_folder(tmp_path / "file" / "report")


def test_without_matplotlib_the_error_names_what_to_install_and_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("page", "figures", "fonts"):
        monkeypatch.delitem(sys.modules, f"training.report.{name}")
        monkeypatch.delattr(training.report, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for command in (["train", "-o", tmp_path / "x.safetensors"], ["evaluate", "digits"]):
        result = run(*command, "--dataset", "mnist", "--data", tmp_path / "none", "--report", tmp_path / "report")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"pigeonhole: matplotlib is not installed; run: {install_hint('training-report')}\n"
    assert list(tmp_path.iterdir()) == []


def test_colours_are_those_of_the_page() -> None:
    css = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
    for name in ("card", "ink", "muted", "line"):
        assert f"--{name}: light-dark({getattr(LIGHT, name)}, {getattr(DARK, name)})" in css


@pytest.mark.parametrize("name", ["report.html", "confusion.png", "mistakes.png"])
def test_a_folder_with_somebody_elses_file_of_our_names_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UsageError, match=rf"{name}' exists, and it is not this command's: .* --report$"):
        markup.make_folder(tmp_path)
    markup.make_folder(tmp_path, overwrite=True)
    page.write(tmp_path, evaluated(images=4))
    markup.make_folder(tmp_path)
