"""The HTML report of an evaluation, and its plots, which matplotlib draws."""

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

# Names that a class folder may have: markup, a formula for matplotlib, other scripts, a line break, a very long name.
NAMES = ("<script>alert(1)</script>", "$\\frac{1}$ & $2$", "猫 کتاب", "two\nlines", "n" * 60)


def evaluated(classes: tuple[str, ...] = NAMES, images: int = 200) -> Evaluated:
    """Return an evaluation of random logits, in which most labels are right."""
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


def test_the_plots_are_embedded_in_the_page_and_saved_beside_it(written: Path) -> None:
    plots = {path.stem: path for path in written.parent.glob("*.png")}
    assert sorted(plots) == ["confusion", "curves", "mistakes", "reliability", "review"]
    for path in plots.values():
        with Image.open(path) as image:
            assert image.width >= 500
            assert np.asarray(image.convert("L")).std() > 10, "the plot is not empty"
    html = written.read_text(encoding="utf-8")
    assert html.count('media="(prefers-color-scheme: dark)"') == html.count('class="plot"') == 4


def test_the_page_loads_nothing_and_escapes_names(written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    assert not re.search(r"<script|<i>|<b>pictures|https?:|src=\"(?!data:)", html)
    for text in ("&lt;script&gt;alert(1)&lt;/script&gt;", "$\\frac{1}$ &amp; $2$", "猫 کتاب", "&lt;b&gt;pictures"):
        assert text in html
    assert "default-src 'none'" in html


def test_the_same_figures_give_the_same_files(written: Path, tmp_path: Path) -> None:
    again = page.write(tmp_path, evaluated(images=40))
    assert again.read_bytes() == written.read_bytes()


def test_a_confusion_matrix_of_fifty_classes_is_readable() -> None:
    names = tuple(f"class {index}" for index in range(50))
    with Image.open(io.BytesIO(render(lambda theme: confusion(evaluated(names).report, theme), DARK, names))) as image:
        assert 1400 <= image.width <= 3000
        dark = np.asarray(image.convert("L"))
    assert np.median(dark) < 60


def test_a_class_name_that_no_font_can_draw_is_shown_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    only_ours = [font for font in fonts._fonts() if font[0] == "DejaVu Sans"]
    monkeypatch.setattr(fonts, "_fonts", lambda: only_ours)
    fonts._family.cache_clear()
    try:
        assert [fonts.drawable(name, 3) for name in ("cat", "猫", "Ελλάδα")] == ["cat", "#3", "Ελλάδα"]
        assert page._undrawable(evaluated(("cat", "猫")).report)
        assert fonts.families(["猫"]) == ["DejaVu Sans"]
    finally:
        fonts._family.cache_clear()


def test_plots_of_mistakes_and_training_are_left_out_if_there_are_none(tmp_path: Path) -> None:
    perfect = evaluated(("a", "b"))
    logits = torch.eye(2)[perfect.report.truths] * 9
    report = measure(logits, perfect.report.truths, ("a", "b"), Calibration())
    described = replace(perfect.checkpoint, trained={"epochs": [{"number": 1}]})
    page.write(tmp_path, replace(perfect, report=report, checkpoint=described))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion.png",
        "reliability.png",
        "report.html",
        "review.png",
    ]


def test_a_report_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/report.*Not a directory"):
        markup.make_folder(tmp_path / "file" / "report")


def test_without_matplotlib_the_error_shows_the_install_command_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("page", "figures", "fonts"):
        monkeypatch.delitem(sys.modules, f"training.report.{name}")
        monkeypatch.delattr(training.report, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for command in (["train", "-o", tmp_path / "x.safetensors"], ["evaluate", "digits"]):
        result = run(*command, "--dataset", "mnist", "--data", tmp_path / "none", "--report", tmp_path / "report")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "matplotlib" in result.stderr
        assert result.stderr.endswith(f"{install_hint('training-report')}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_plots_use_the_colours_of_the_page() -> None:
    css = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
    for name in ("card", "ink", "muted", "line"):
        assert f"--{name}: light-dark({getattr(LIGHT, name)}, {getattr(DARK, name)})" in css


@pytest.mark.parametrize("name", ["report.html", "confusion.png", "mistakes.png"])
def test_a_report_is_not_written_over_files_of_another_program(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UsageError, match=rf"{name}'.*--overwrite.*--report"):
        markup.make_folder(tmp_path)
    markup.make_folder(tmp_path, overwrite=True)
    page.write(tmp_path, evaluated(images=4))
    markup.make_folder(tmp_path)
