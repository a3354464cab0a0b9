"""`pigeonhole report --truth`: the sources of true labels."""

import os
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sinks.file import File
from pigeonhole.sinks.registry import FORMATS
from producer.report.truth import FileTruth, FolderTruth
from tests.producer.report.test_report import Page, failed, labelled, run
from tests.sinks.result_files import JOB
from tests.sinks.result_files import write as save


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("photos/cat/1.png", "cat"),
        ("/abs/dog/2.png", "dog"),
        ("a.zip::cat/1.png", "cat"),
        ("./cat/1.png", "cat"),
        ("1.png", None),
        ("./1.png", None),
    ],
)
def test_the_folder_of_an_image_is_its_true_label(path: str, label: str | None) -> None:
    assert FolderTruth().of(path) == label


def test_paths_in_a_csv_file_are_those_of_the_rows_or_relative_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    file = tmp_path / "labels" / "truth.csv"
    file.write_bytes(
        b"\xef\xbb\xbflabel,path,note\ncat,photos/1.png,x\ndog,../photos/2.png,\n,../photos/caf\xe9.png,\n"
    )
    truth = FileTruth(str(file), str(tmp_path))
    paths = ["photos/1.png", "photos/2.png", os.fsdecode(b"photos/caf\xe9.png"), "photos/4.png"]
    assert [truth.of(path) for path in paths] == ["cat", "dog", "", None], (
        "an empty label: the image is out of distribution"
    )


def test_exported_corrections_are_true_labels_in_both_csv_forms(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    file.write_text("\"path\",label,was,confidence\n'=1.png,'-1,'-2,0.7\nb.png,'@,1,0.7\n")
    truth = FileTruth(str(file), str(tmp_path))
    assert [truth.of(path) for path in ("=1.png", "b.png")] == ["-1", "@"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ("No such file or directory", "'folders'")),
        ("path,class\na.png,1\n", ("'label'", "path and label")),
        ('path,label\n"a.png,1\n', ("CSV",)),
    ],
)
def test_a_file_without_true_labels_is_refused_by_its_name(
    tmp_path: Path, text: str | None, parts: tuple[str, ...]
) -> None:
    file = tmp_path / "truth.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as refused:
        FileTruth(str(file), ".")
    for part in (repr(str(file)), *parts):
        assert part in str(refused.value)


def test_true_labels_of_other_images_are_refused_and_no_report_is_written(tmp_path: Path) -> None:
    source, truth, output = tmp_path / "results.csv", tmp_path / "truth.csv", tmp_path / "report.html"
    save([labelled("photos/a.png")], str(source))
    truth.write_text("path,label\na.jpg,7\n")
    result = run(source, "-o", output, "--truth", truth)
    assert result.exit_code == ExitCode.USAGE
    for part in (str(truth), "'a.jpg'", "'photos/a.png'"):
        assert part in result.stderr
    assert not output.exists()
    source.unlink()
    save([labelled("a.png")], str(source))
    result = run(source, "-o", output, "--truth", "folders")
    assert result.exit_code == ExitCode.USAGE
    assert "folder" in result.stderr


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "db"])
def test_rows_of_every_format_have_the_columns_of_a_review(ending: str, tmp_path: Path) -> None:
    source, output = str(tmp_path / f"results.{ending}"), tmp_path / "report.html"
    top = (("7", 0.9), ("1", 0.05))
    sink = File(source, Csv(top=2) if ending == "csv" else FORMATS[ending])
    sink.write([labelled("7/a.png")._replace(top=top, unknown=0.25), failed("1/b.png")])
    sink.finish(JOB)
    assert run(source, "-o", output, "--truth", "folders").exit_code == ExitCode.OK
    page = Page(output.read_text())
    labels = page.data["facts"][0]["labels"]
    assert page.column("unknown") == [0.25, None]
    assert page.column("top") == [[labels.index("7"), 0.9, labels.index("1"), 0.05], []]
    assert [labels[index] for index in page.column("truth")] == ["7", "1"]
