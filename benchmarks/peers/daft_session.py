"""Daft with a class as user-defined function, as in its guide; the class contains our ONNX Runtime session."""

from collections.abc import Sequence
from typing import Any

import daft

from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.peers.session import SIZE, Session

SETTINGS = (
    f"`daft.cls(max_concurrency=2, use_process=True)`, `method.batch(batch_size={SIZE})` on the paths; Pillow and the "
    "same ONNX Runtime session inside; the start of its processes in each run is included"
)


@daft.cls(max_concurrency=PROCESSES, use_process=True)
class Predictor:
    """The session of each of Daft's processes."""

    def __init__(self, model: str) -> None:
        self.session = Session(model)

    @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=SIZE)
    def label(self, paths: daft.Series) -> list[str]:
        """Classify a batch."""
        return self.session.classify(paths.to_pylist())


class Daft:
    """Daft's local runner.

    Args:
        model: The path of the model file.
    """

    def __init__(self, model: str) -> None:
        self._model = model

    def start(self) -> None:
        """Do nothing: the local runner is Daft's default, and starts by itself."""

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify the list of files."""
        frame = daft.from_pydict({"path": list(images.paths)})
        predictor: Any = Predictor(self._model)  # Daft turns it into a function of columns
        found = frame.select("path", predictor.label(daft.col("path")).alias("label")).to_pydict()
        labels = dict(zip(found["path"], found["label"], strict=True))
        return [labels[path] for path in images.paths]

    def stop(self) -> None:
        """Do nothing: Daft's processes end with each run."""
