"""A kind of import is added with one class and one line."""

import gzip
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from producer.models.importing.kind import Imported, ImportKind, ImportOptions
from producer.models.importing.onnx_file import OnnxFile
from producer.models.importing.registry import FILES
from tests.models.conversion.small import CLASSES, SIDE, classifier
from tests.training.test_cli import run


class GzippedOnnxFile(ImportKind):
    """An ONNX file that is compressed by gzip."""

    options: ClassVar = OnnxFile.options
    title = "a gzipped ONNX file"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """See `ImportKind.read`."""
        inflated = Path(source).with_suffix("")
        inflated.write_bytes(gzip.decompress(Path(source).read_bytes()))
        return OnnxFile().read(str(inflated), options)


def test_a_new_kind_of_import_gives_a_model_that_classifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, ".gz", f"{__name__}:GzippedOnnxFile")
    path, names = tmp_path / "x.safetensors", tmp_path / "names.txt"
    names.write_text("\n".join("abcde"[:CLASSES]))
    (tmp_path / "model.onnx.gz").write_bytes(gzip.compress(classifier().SerializeToString()))
    imported = run("import", tmp_path / "model.onnx.gz", "-o", path, "--classes", names)
    assert imported.exit_code == 0, imported.output
    loaded = Classifier.load(path, Settings())
    assert loaded.checkpoint.classes == tuple("abcde"[:CLASSES])
    assert len(loaded.predict(np.zeros((2, SIDE, SIDE, 3), np.uint8)).best) == 2
