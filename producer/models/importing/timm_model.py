"""Imports a model of timm, by its name or from a folder that timm wrote."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pigeonhole.errors import CheckpointError, UsageError
from pigeonhole.models.conversion.foreign import shown
from pigeonhole.models.conversion.wrap import Normalisation
from pigeonhole.version import install_hint
from producer.models.importing import class_names, recipe
from producer.models.importing.exported import exported
from producer.models.importing.hub import quiet, root
from producer.models.importing.kind import Imported, ImportKind, ImportOptions
from producer.models.importing.recipe import Recipe

#: timm's crop mode → our preprocessing.
_CROPS = {"center": "center-crop", "squash": "stretch"}


class TimmModel(ImportKind):
    """A model of timm, with the preprocessing of its configuration; only tensors are read from its weights."""

    options: ClassVar = frozenset({"classes", "preprocess", "weights"})
    title = "timm:NAME"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read the model; see `ImportKind.read`."""
        try:
            import timm
            from timm.data.config import resolve_model_data_config
        except ModuleNotFoundError as exc:
            raise UsageError(f"timm is not installed; run: {install_hint('timm')}") from exc
        quiet()
        folder, overlay = Path(source), _overlay(options)
        if folder.is_dir():
            _check_folder(source, folder / "config.json")
        try:
            name = f"local-dir:{source}" if folder.is_dir() else source
            more = {"num_classes": overlay["num_classes"]} if "num_classes" in overlay else {}
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay or None, **more).eval()
            data = resolve_model_data_config(model)
        except Exception as exc:
            # timm, huggingface_hub and torch raise many kinds of errors here.
            raise CheckpointError(_explained(source, folder, options, exc)) from exc
        prepare = _recipe(source, data) if options.preprocess is None else recipe.chosen(options.preprocess)
        prepare = recipe.sized(prepare, *data["input_size"][1:])
        classes = _classes(model, options)
        return exported(model, prepare, data["input_size"][0], classes, (f"preprocessing: {prepare.describe()}",))


def _check_folder(source: str, config: Path) -> None:
    """Raise CheckpointError if timm did not write the folder."""
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise CheckpointError(
            f"timm:{source}: it has no readable config.json, which timm writes beside the weights."
        ) from exc
    if not isinstance(values, dict) or "architecture" not in values:
        raise CheckpointError(
            f"timm:{source}: its config.json names no architecture of timm; for transformers, write hf:{source}."
        )


def _overlay(options: ImportOptions) -> dict[str, Any]:
    """Return the entries of timm's configuration that the options replace."""
    if options.weights is None:
        return {}
    if not options.weights.is_file():
        raise CheckpointError(f"{options.weights}: there is no such file; check --weights.")
    overlay: dict[str, Any] = {"file": str(options.weights)}
    if options.classes not in (None, class_names.IMAGENET):
        overlay["num_classes"] = len(class_names.read(Path(str(options.classes))))
    return overlay


def _recipe(source: str, data: Mapping[str, Any]) -> Recipe:
    """Return the preprocessing of timm's configuration."""
    _channels, height, width = data["input_size"]
    kind = _CROPS.get(data["crop_mode"])
    if kind is None:
        raise CheckpointError(f"timm:{source}: its crop mode {data['crop_mode']!r} is unknown here; give --preprocess.")
    resize = int(min(height, width) / data["crop_pct"])  # rounded down, as timm does
    normalisation = Normalisation(tuple(data["mean"]), tuple(data["std"]))
    return Recipe(kind, normalisation, height, width, resize, data["interpolation"])


def _classes(model: Any, options: ImportOptions) -> tuple[str, ...]:  # noqa: ANN401 - timm has no type for it
    """Return the names of the classes, from the options, the configuration, or ImageNet."""
    count = int(model.num_classes)
    labels = model.pretrained_cfg.get("label_names")
    if options.classes is None and labels and len(set(labels)) == count:
        return tuple(map(str, labels))
    # timm's own rule: a model with 1,000 classes was trained on ImageNet-1k (timm.data.infer_imagenet_subset).
    return class_names.named(options.classes or (class_names.IMAGENET if count == 1000 else None), count)


def _explained(source: str, folder: Path, options: ImportOptions, exc: Exception) -> str:
    """Return the message about a model that can't be loaded, with what to do."""
    reason = shown(root(exc))
    if options.weights is not None:
        return f"timm:{source}: its weights can't be read from {options.weights} ({reason})."
    if folder.is_dir():
        return f"timm:{source}: the model in the folder can't be loaded ({reason})."
    if "Unknown model" in str(exc) or "Invalid pretrained tag" in str(exc):
        return f"timm has no model {source!r}, and there is no such folder; timm.list_models() lists the names."
    cache = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return (
        f"timm:{source}: its weights can't be loaded ({reason}), neither from {cache} nor from "
        "https://huggingface.co/timm; give --weights FILE, or timm:FOLDER with config.json and model.safetensors."
    )
