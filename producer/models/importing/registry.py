"""The registry of the kinds of imports.

To add a kind, write one class (`producer.models.importing.kind.ImportKind`) and register it here: under its scheme, or
as a file.
"""

from pathlib import Path

from pigeonhole.errors import CheckpointError, UsageError
from pigeonhole.registry import Registry
from producer.models.importing.kind import ImportKind

_HERE = "producer.models.importing"
#: Kinds by the scheme before the colon.
SCHEMES: Registry[ImportKind] = Registry(
    {
        "hf": f"{_HERE}.hugging_face:HuggingFace",
        "timm": f"{_HERE}.timm_model:TimmModel",
        "torchvision": f"{_HERE}.torchvision_network:TorchvisionNetwork",
    }
)
#: Kinds by the ending of a file's name.
FILES: Registry[ImportKind] = Registry({".onnx": f"{_HERE}.onnx_file:OnnxFile"})
#: The kind of all other files.
_OTHERS: Registry[ImportKind] = Registry({"": f"{_HERE}.state_dict:StateDict"})

#: Files of other programs → what to do with them.
_FOREIGN = {
    (".tflite", ".pb", ".h5", ".keras", ".hdf5"): "convert it to ONNX with tf2onnx, and import that",
    (".engine", ".plan", ".mlmodel", ".xml"): "it was compiled from another file; import the ONNX file it comes from",
    (".pkl", ".pickle", ".joblib"): "loading it could run code; export the model to ONNX where it was made",
}


def find(source: str) -> tuple[ImportKind, str]:
    """Return the kind of a SOURCE, and the SOURCE without its scheme.

    Raises:
        CheckpointError: There is no such file.
        UsageError: The SOURCE is of no known kind.
    """
    scheme, colon, rest = source.partition(":")
    path = Path(source)
    if colon and not path.exists():
        if scheme not in SCHEMES:
            raise UsageError(f"Unknown scheme {scheme!r} in {source!r}; known are {', '.join(SCHEMES)}, and files.")
        if not rest:
            raise UsageError(f"{source!r} names no model; write {scheme}:NAME or {scheme}:FOLDER.")
        return SCHEMES.load(scheme)(), rest
    if path.is_dir():
        raise UsageError(
            f"{source} is a folder; write hf:{source} for a model of Hugging Face's transformers, timm:{source} for "
            "a model of timm, or name a file in it."
        )
    if not path.is_file():
        raise CheckpointError(
            f"{source}: there is no such file; check the path, or write "
            f"{', '.join(f'{scheme}:NAME' for scheme in SCHEMES)}."
        )
    ending = path.suffix.lower()
    for endings, remedy in _FOREIGN.items():
        if ending in endings:
            raise UsageError(f"{source}: files with the ending {ending} can't be imported: {remedy}.")
    kinds = FILES if ending in FILES else _OTHERS
    return kinds.load(ending if ending in FILES else "")(), source
