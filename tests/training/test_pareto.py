"""The table and the plot of accuracy against cost; they reuse the results of earlier trainings."""

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


@pytest.mark.slow
def test_a_network_is_trained_and_measured_once(
    docs: Path, tiny_mnist: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", tiny_mnist, "--networks", "classic", "--seeds", 1, "--epochs", 1)
    run(docs, *options)
    (result,) = runs(docs / "work")
    assert (result.network, result.seed, result.recipe["epochs"], result.images) == ("classic", 0, 1, 100)
    assert capfd.readouterr().out.endswith(f"classic, seed 0: {result.accuracy:.2%}, {result.seconds:.0f} s\n")
    (docs / "experiments.md").write_text(TEXT)
    run(docs, *options)
    assert runs(docs / "work") == [result]
    assert capfd.readouterr() == (f"classic, seed 0: {result.accuracy:.2%}, {result.seconds:.0f} s\n", "")
    text = (docs / "experiments.md").read_text()
    assert text.startswith("Before.\n<!-- pareto -->\n**A trial: the networks were not trained to their end.**\n")
    assert f"| `classic` | {result.multiply_adds:,} | {result.parameters:,} | 1 | {result.accuracy:.3%} |" in text
    assert text.endswith("<!-- end of pareto -->\nAfter.\n")
    assert "<svg" in (docs / "pareto.svg").read_text()


def test_only_results_of_the_same_recipe_and_seed_are_found_and_the_latest_wins(tmp_path: Path) -> None:
    later = replace(RUN, errors=41)
    for result in (RUN, later, replace(RUN, seed=1), replace(RUN, recipe=Task("digits", 0, 1).recipe())):
        keep(tmp_path, result)
    assert found(TASK, runs(tmp_path)) == later
    assert found(Task("digits", 2), runs(tmp_path)) is None
    assert found(Task("classic", 0), runs(tmp_path)) is None


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    keep(tmp_path, RUN)
    with (tmp_path / LINES).open("a") as file:
        file.write(json.dumps({"network": "digits"})[:-1])
    assert runs(tmp_path) == [RUN]
    keep(tmp_path, RUN)
    assert runs(tmp_path) == [RUN, RUN]


def test_a_line_of_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LINES).write_text('{"network": "digits"}\n')
    with pytest.raises(ValueError, match=rf"line 1 .*{LINES}.*--work"):
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


def test_figures_on_different_data_are_not_put_into_one_table(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docs / "work").mkdir()
    keep(docs / "work", RUN)
    keep(docs / "work", replace(RUN, seed=1, data="d2"))
    with pytest.raises(SystemExit):
        run(docs, "--data", "nowhere", "--networks", "digits", "--seeds", 2)
    assert "another --work" in " ".join(capsys.readouterr().err.split())
    assert (docs / "experiments.md").read_text() == TEXT


def test_a_failed_training_prints_how_to_resume(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(SystemExit, match=r"classic, seed 0.*exit code 1.*run again"):
        run(docs, "--data", docs, "--networks", "classic")
    assert runs(docs / "work") == []


@pytest.mark.parametrize("text", ["", "<!-- pareto -->\n", TEXT + TEXT, TEXT[::-1]])
def test_a_document_without_the_markers_of_the_table_is_refused_before_training(docs: Path, text: str) -> None:
    (docs / "experiments.md").write_text(text)
    with pytest.raises(ValueError, match=r"<!-- pareto -->.*<!-- end of pareto -->"):
        run(docs, "--data", "nowhere")
