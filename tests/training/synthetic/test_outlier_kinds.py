from pathlib import Path

import pytest
from matplotlib import get_data_path

from pigeonhole.errors import ImageError
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from scripts import outlier_kinds
from tests.training.conftest import TOP
from training.datasets.files.pictures import MAX_PIXELS

KINDS = ["clothes", "letters-of-fonts", "letters-of-strokes", "noise-gaussian", "noise-uniform", "photographs"]


def run_script(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, bytes]:
    # matplotlib's own fonts, which are always installed.
    fonts = Path(get_data_path(), "fonts", "ttf")
    monkeypatch.setattr("sys.argv", ["", str(folder), "--count", "3", "--fonts", str(fonts), *options])
    outlier_kinds.main()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_the_same_seed_makes_the_same_pictures_and_missing_sources_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_script(tmp_path / "1", monkeypatch)
    assert first == run_script(tmp_path / "2", monkeypatch) != run_script(tmp_path / "3", monkeypatch, "--seed", "1")
    assert sorted({Path(name).parent.name for name in first}) == KINDS
    assert len(first) == len(set(first.values())) == 3 * len(KINDS)
    assert "hand-signs: skipped" in capsys.readouterr().out


def test_a_worker_can_read_all_outliers(tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = set()
    for data in run_script(tmp_path, monkeypatch, "--mnist", str(tiny_mnist), "--hands", str(TOP / "docs")).values():
        try:
            assert prepare(data, Preprocessing("digit", 28, 28, 1), MAX_PIXELS).any()
        except ImageError as exc:
            errors.add(exc.kind)
    assert errors <= {"blank"}
    assert (tmp_path / "two-digits").is_dir()
