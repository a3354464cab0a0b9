"""Imports an image classifier of Hugging Face's transformers, by its name or from a folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
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

_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
#: Pillow's number of an interpolation, as in the preprocessor's configuration → its name.
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
_BYTE = 1 / 255
_MULTI_LABEL = "multi_label_classification"
_WHOLE = 384  # pixels: ConvNeXT's processor crops below this size, and stretches at it and above


class HuggingFace(ImportKind):
    """A model of transformers; weights are read from safetensors only, and no code of the model's is run."""

    options: ClassVar = frozenset({"classes", "preprocess"})
    title = "hf:ORG/NAME"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read the model; see `ImportKind.read`."""
        try:
            import transformers
        except ModuleNotFoundError as exc:
            raise UsageError(f"transformers is not installed; run: {install_hint('hf')}") from exc
        quiet()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        config = _json(source, _CONFIG)
        _check(source, config)
        if options.preprocess is None:
            prepare = _recipe(source, _json(source, _PREPROCESSOR))
        else:
            prepare = recipe.sized(recipe.chosen(options.preprocess), *_size(config.get("image_size", 224)))
        try:
            model = transformers.AutoModelForImageClassification.from_pretrained(
                source, use_safetensors=True, trust_remote_code=False, local_files_only=Path(source).is_dir()
            ).eval()
        except Exception as exc:
            # transformers, huggingface_hub and safetensors raise many kinds of errors here.
            raise CheckpointError(_explained(source, "model.safetensors", exc)) from exc
        classes = _classes(model.config.id2label, options)
        channels = getattr(model.config, "num_channels", 3)
        findings = (f"preprocessing: {prepare.describe()}",)
        found = exported(_logits_alone(model), prepare, channels, classes, findings)
        return replace(found, multi_label=config.get("problem_type") == _MULTI_LABEL)


def _json(source: str, name: str) -> dict[str, Any]:
    """Return a file of a model's configuration, from its folder, the cache or the network."""
    path: str | os.PathLike[str]
    if Path(source).is_dir():
        path = Path(source) / name
    else:
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(source, name)
        except Exception as exc:
            # huggingface_hub raises errors of requests, of the system and its own.
            raise CheckpointError(_explained(source, name, exc)) from exc
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise CheckpointError(f"hf:{source}: {name} can't be read ({exc.strerror or exc}).") from exc
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"hf:{source}: {name} is not JSON ({exc}).") from exc
    if not isinstance(values, dict):
        raise CheckpointError(f"hf:{source}: {name} is not a JSON object.")
    return values


def _check(source: str, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError if a model is no image classifier of transformers."""
    if "architecture" in config and "model_type" not in config:
        raise UsageError(
            f"hf:{source} is a model of timm; write timm:{'' if Path(source).is_dir() else 'hf-hub:'}{source}."
        )
    if "auto_map" in config and config.get("model_type") is None:
        raise CheckpointError(f"hf:{source}: it needs code of its own, which is not run; export it to ONNX.")


def _recipe(source: str, values: Mapping[str, Any]) -> Recipe:
    """Return the preprocessing of a preprocessor's configuration.

    Raises:
        CheckpointError: None of our preprocessings does the same.
    """
    try:
        factor = float(values.get("rescale_factor", _BYTE)) if values.get("do_rescale", True) else 1.0
        mean, std = [0.0], [1.0]
        if values.get("do_normalize", True) and "image_mean" in values:
            mean, std = list(values["image_mean"]), list(values["image_std"])
        # (pixel · factor − mean) / std, in units of 255.
        normalisation = Normalisation(*(tuple(each / (factor / _BYTE) for each in part) for part in (mean, std)))
        interpolation = _INTERPOLATIONS[values.get("resample", 2)]
        size, crop = values["size"], values.get("crop_size")
        if values.get("do_center_crop") and crop is not None:
            height, width = _size(crop)
            resize = (
                size["shortest_edge"] if isinstance(size, Mapping) and "shortest_edge" in size else min(_size(size))
            )
            return Recipe("center-crop", normalisation, height, width, int(resize), interpolation)
        height, width = _size(size)
        if values.get("crop_pct") and height < _WHOLE:
            return Recipe(
                "center-crop", normalisation, height, width, int(height / float(values["crop_pct"])), interpolation
            )
        return Recipe("stretch", normalisation, height, width, None, interpolation)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise CheckpointError(
            f"hf:{source}: {_PREPROCESSOR} can't be understood ({shown(repr(exc))}); give --preprocess."
        ) from exc


def _size(value: Any) -> tuple[int, int]:  # noqa: ANN401 - a number, a pair or an object
    """Return height and width."""
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        return (int(value["height"]), int(value["width"])) if edge is None else (int(edge), int(edge))
    height, width = value if isinstance(value, list) else (value, value)
    return int(height), int(width)


def _classes(labels: Mapping[int, str], options: ImportOptions) -> tuple[str, ...]:
    """Return the names of the classes, from the options or else from the configuration."""
    names = tuple(str(labels[position]) for position in sorted(labels))
    if options.classes is not None or all(name == f"LABEL_{position}" for position, name in enumerate(names)):
        return class_names.named(options.classes, len(names))
    return class_names.distinct(names)


def _logits_alone(model: Any) -> Any:  # noqa: ANN401 - transformers' classes have no common type with these
    """Return a module that returns only the logits of a model."""
    from torch import Tensor, nn

    class Logits(nn.Module):
        """float32 [N, C, H, W] → float32 [N, classes]."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.model(pixel_values=pixels).logits
            return logits

    return Logits().eval()


def _explained(source: str, name: str, exc: Exception) -> str:
    """Return the message about a model that can't be loaded, with what to do."""
    reason = shown(root(exc))
    if Path(source).is_dir():
        return f"hf:{source}: the model in the folder can't be loaded ({reason}); it needs {_CONFIG} and {name}."
    cache = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return (
        f"hf:{source}: {name} can't be loaded ({reason}), neither from {cache} nor from "
        f"https://huggingface.co/{source}; or give hf:FOLDER, with {_CONFIG}, {_PREPROCESSOR} and model.safetensors."
    )
