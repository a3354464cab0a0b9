"""`pigeonhole export`: writes the graph of a model file as an ONNX file, with everything to use it elsewhere."""

import json
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from pigeonhole.errors import CheckpointError
from pigeonhole.filesystem import files
from pigeonhole.filesystem.replacing import check_own
from pigeonhole.models import checkpoint, graph
from pigeonhole.models.checkpoint import Checkpoint, Content
from pigeonhole.models.conversion import trial
from pigeonhole.models.export import with_inline_weights
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from pigeonhole.version import VERSION

PRODUCER = "pigeonhole"
_COMPARED = 4  # number of images on which both files must agree


def export(model: Path, output: Path, overwrite: bool = False) -> Checkpoint:
    """Write a model as an ONNX file.

    Its metadata has the name and the digest, and as JSON the classes, the preprocessing and the calibration.

    Args:
        model: The model file.
        output: The ONNX file.
        overwrite: Replace the output even if it is not an earlier export of a model of this name.

    Returns:
        The model's record.

    Raises:
        CheckpointError: The model can't be read, or has no graph.
        TrainingError: The output can't be written.
        UsageError: The output exists and is not an earlier export.
    """
    content = checkpoint.read(model)
    about = content.checkpoint
    check_own(output, lambda file: is_export(file, about.name), overwrite)
    if not content.graph:
        raise CheckpointError(f"{model}: it has no ONNX graph ({about.why_no_graph}); it runs in torch alone.")
    whole = onnx.load_from_string(with_inline_weights(content.graph, content.weights))
    whole.producer_name, whole.producer_version = PRODUCER, VERSION
    values = {
        "name": about.name,
        "digest": about.digest,
        "classes": json.dumps(about.classes, ensure_ascii=False),
        "preprocessing": json.dumps(about.preprocessing.to_json()),
        "calibration": json.dumps(about.calibration.to_json()),
    }
    for key, value in values.items():
        whole.metadata_props.add(key=key, value=value)
    serialised = whole.SerializeToString(deterministic=True)
    _compare(content, serialised)
    files.write(output, serialised)
    return about


def _compare(content: Content, serialised: bytes) -> None:
    pixels = trial.images(content.checkpoint.preprocessing.shape, _COMPARED)
    found = trial.Session(serialised).run(pixels)[graph.OUTPUT]
    if trial.differs(found, OnnxRuntime(content).logits(pixels)):
        raise CheckpointError(f"{content.path}: the exported graph returns other values than the model file.")


def is_export(file: Path, name: str) -> bool:
    """Return whether a file is an earlier export of a model with this name."""
    try:
        found = ModelProto.FromString(file.read_bytes())
    except (OSError, DecodeError, UnicodeDecodeError):  # not an export
        return False
    return found.producer_name == PRODUCER and any(
        each.key == "name" and each.value == name for each in found.metadata_props
    )
