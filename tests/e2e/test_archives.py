"""Archives as sources: their images get the same labels as files."""

from pathlib import Path

from tests.e2e.conftest import Run, rows_of
from tests.packing import KINDS, pack


def test_images_in_archives_have_the_labels_of_their_files(home: Path, embedded: Run) -> None:
    files = sorted((home / "samples").iterdir())
    for kind in KINDS:
        pack(home / f"all.{kind}", [(file.name, file.read_bytes()) for file in files])
    run = embedded("classify", "samples", "all.*", "-o", "rows.csv")
    assert run.returncode == 3, run.stderr  # three of the samples are no images
    rows = rows_of((home / "rows.csv").read_bytes())
    path = [row.pop("path") for row in rows]
    assert len(rows) == 4 * len(files)
    for at, archive in enumerate(("all.tar", "all.tar.gz", "all.zip"), 1):
        here = slice(at * len(files), (at + 1) * len(files))
        assert path[here] == [f"{archive}::{file.name}" for file in files]
        assert rows[here] == rows[: len(files)]
    assert [path.name for path in home.iterdir() if path.is_dir()] == ["samples"], "nothing was unpacked"
