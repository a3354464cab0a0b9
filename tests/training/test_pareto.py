"""The table and the plot of accuracy against cost: what was trained is not trained again."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.studies import pareto
from benchmarks.studies.pareto import LINES, Run, Task, found, keep, runs

TEXT = "Before.\n<!-- pareto -->\nold\n<!-- end of pareto -->\nAfter.\n"
TASK = Task("digits", 0)
RUN = Run("digits", 0, TASK.recipe(), "d1", 1_000_000, 50_000, 10_000, 40, 12.4, "A machine", {"torch": "2.15.0"})


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "experiments.md").write_text(TEXT)
    return tmp_path


def run(docs: Path, *arguments: object) -> None:
    pareto.main([*map(str, arguments), "--work", str(docs / "work"), "--docs", str(docs)])


def test_a_network_is_trained_and_measured_once(
    docs: Path, tiny_mnist: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", tiny_mnist, "--networks", "classic", "--seeds", 1, "--epochs", 1)
    run(docs, *options)
    (one,) = runs(docs / "work")
    assert (one.network, one.seed, one.recipe["epochs"], one.images) == ("classic", 0, 1, 100)
    assert capfd.readouterr().out.endswith(f"classic, seed 0: {one.accuracy:.2%}, {one.seconds:.0f} s\n")
    (docs / "experiments.md").write_text(TEXT)
    run(docs, *options)
    assert runs(docs / "work") == [one]
    assert capfd.readouterr() == (f"classic, seed 0: {one.accuracy:.2%}, {one.seconds:.0f} s\n", "")
    text = (docs / "experiments.md").read_text()
    assert text.startswith("Before.\n<!-- pareto -->\n**A trial: the networks were not trained to their end.**\n")
    assert f"| `classic` | {one.multiply_adds:,} | {one.parameters:,} | 1 | {one.accuracy:.3%} |" in text
    assert text.endswith("<!-- end of pareto -->\nAfter.\n")
    assert "<svg" in (docs / "pareto.svg").read_text()


def test_what_another_recipe_or_seed_made_is_not_counted_and_of_two_the_later_is(tmp_path: Path) -> None:
    later = replace(RUN, errors=41)
    for one in (RUN, later, replace(RUN, seed=1), replace(RUN, recipe=Task("digits", 0, 1).recipe())):
        keep(tmp_path, one)
    assert found(TASK, runs(tmp_path)) == later
    assert found(Task("digits", 2), runs(tmp_path)) is None
    assert found(Task("classic", 0), runs(tmp_path)) is None


def test_half_a_line_of_somebody_who_was_killed_is_nothing(tmp_path: Path) -> None:
    keep(tmp_path, RUN)
    with (tmp_path / LINES).open("a") as file:
        file.write(json.dumps({"network": "digits"})[:-1])
    assert runs(tmp_path) == [RUN]
    keep(tmp_path, RUN)
    assert runs(tmp_path) == [RUN, RUN]


def test_a_foreign_line_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / LINES).write_text('{"network": "digits"}\n')
    with pytest.raises(
        ValueError, match=rf"^line 1 of .*{LINES} is not a result of a training \(.*\): use another --work$"
    ):
        runs(tmp_path)


def test_the_cheapest_network_is_first_and_the_spread_over_the_seeds_is_shown(tmp_path: Path) -> None:
    measured = [
        replace(RUN, network="classic", multiply_adds=7_000_000, errors=70),
        *(replace(RUN, seed=seed, errors=errors) for seed, errors in enumerate((30, 35, 40))),
    ]
    _, _, digits, classic = pareto.table(measured).splitlines()
    assert digits == "| `digits` | 1,000,000 | 50,000 | 30 | 99.650% | 99.60 to 99.70% | 0.050 | 12 |"
    assert classic == "| `classic` | 7,000,000 | 50,000 | 30 | 99.300% | 99.30 to 99.30% | – | 12 |"
    pareto.plot(measured, tmp_path / "one.svg")
    pareto.plot(measured, tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_table_is_not_made_of_figures_on_different_data(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docs / "work").mkdir()
    keep(docs / "work", RUN)
    keep(docs / "work", replace(RUN, seed=1, data="d2"))
    with pytest.raises(SystemExit):
        run(docs, "--data", "nowhere", "--networks", "digits", "--seeds", 2)
    assert "of different training images: choose another --work" in " ".join(capsys.readouterr().err.split())
    assert (docs / "experiments.md").read_text() == TEXT


def test_a_training_that_fails_prints_how_to_resume(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(SystemExit, match=r"^classic, seed 0: training ended with exit code 1; to resume, run again$"):
        run(docs, "--data", docs, "--networks", "classic")
    assert runs(docs / "work") == []


@pytest.mark.parametrize("text", ["", "<!-- pareto -->\n", TEXT + TEXT, TEXT[::-1]])
def test_a_document_without_the_place_for_the_table_is_refused_before_training(docs: Path, text: str) -> None:
    (docs / "experiments.md").write_text(text)
    with pytest.raises(
        ValueError, match=r"^the document must have <!-- pareto --> once, and <!-- end of pareto --> once after it$"
    ):
        run(docs, "--data", "nowhere")
