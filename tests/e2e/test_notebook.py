"""The example notebook runs from its first cell to its last."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "classify.ipynb"


def cells(kind: str) -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_the_cells_of_the_notebook_run_in_order(home: Path) -> None:
    (home / "examples").mkdir()
    run = subprocess.run(
        [sys.executable, "-"],
        input="\n".join(cells("code")),
        cwd=home / "examples",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "203 images\nRow(path='../samples/003b50.png', label='8'" in run.stdout
    assert run.stdout.count("may be a") == 5
    assert run.stdout.count("can't be read") == 3
    assert "as it was: 8 (1.00), 0.00 that it is no digit\n" in run.stdout
    assert re.search(r"^turned: \d \(0\.\d\d\), (0\.9\d|1\.00) that it is no digit$", run.stdout, re.MULTILINE)
    assert run.stderr == "203 of 203 images (100%), 3 errors, 5 to review\n"


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    for cell in notebook["cells"]:
        assert (cell.get("outputs", []), cell.get("execution_count")) == ([], None)
