"""The preprocessing of an imported model, from `--preprocess` or from a registry's configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.imaging.preprocessing import INTERPOLATIONS, KINDS, Preprocessing
from pigeonhole.models.conversion.wrap import Normalisation

IMAGENET = "imagenet"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_CROP = "center-crop"
_KEYS = ("kind", "height", "width", "resize", "interpolation", "mean", "std")


@dataclass(frozen=True)
class Recipe:
    """The preprocessing of a model, before the size of its input is known.

    Args:
        kind: A name in `pigeonhole.imaging.preprocessing.KINDS`.
        normalisation: Normalisation of the pixels; it becomes part of the graph.
        height: Height of the input in pixels; None: the model's.
        width: Width of the input in pixels; None: the model's.
        resize: Size of the shorter side before the crop, in pixels; None: as for ImageNet, 256 for 224.
        interpolation: "bilinear" or "bicubic".
    """

    kind: str
    normalisation: Normalisation
    height: int | None = None
    width: int | None = None
    resize: int | None = None
    interpolation: str = "bilinear"

    @property
    def size(self) -> tuple[int, int] | None:
        """Return height and width; None if they are not set."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def describe(self) -> str:
        """Return the preprocessing as text, as a part of a sentence; the size must be set."""
        assert self.size is not None
        place = f"{self.width} x {self.height} pixels"
        mean, std = (", ".join(f"{each:.4g}" for each in part) for part in vars(self.normalisation).values())
        if self.kind == _CROP:
            first = f"shorter side to {self.resize} pixels, " if self.resize else ""
            return f"{first}the middle {place}, {self.interpolation}; mean {mean}, std {std}"
        unlike = "" if self.interpolation == "bilinear" else f" (training: {self.interpolation})"
        return f"stretched to {place}, bilinear{unlike}; mean {mean}, std {std}"

    def preprocessing(self, height: int, width: int, channels: int) -> Preprocessing:
        """Return the preprocessing for an input of this size.

        Raises:
            TrainingError: A value is invalid.
        """
        if self.kind != _CROP:
            return Preprocessing(self.kind, height, width, channels)
        return Preprocessing(_CROP, height, width, channels, self.resize or 0, self.interpolation)


STRETCH = Recipe("stretch", Normalisation())


def imagenet(mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> Recipe:
    """Return the usual preprocessing of ImageNet: shorter side to 256, the middle 224 x 224, normalised."""
    return Recipe(_CROP, Normalisation(mean, std))


def sized(prepare: Recipe, height: int, width: int) -> Recipe:
    """Return a recipe with this size, unless it already has one."""
    return prepare if prepare.size is not None else replace(prepare, height=height, width=width)


def chosen(option: str) -> Recipe:
    """Return the recipe of `--preprocess`.

    Args:
        option: The value: "imagenet", or a JSON file.

    Raises:
        CheckpointError: The file can't be read, or a value in it is invalid.
    """
    if option == IMAGENET:
        return imagenet()
    path = Path(option)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise CheckpointError(
            f"{path}: can't be read ({exc.strerror or exc}); --preprocess takes {IMAGENET}, or a JSON file."
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path}: it is not JSON ({exc}).") from exc
    try:
        return _parsed(values)
    except TrainingError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc


def _parsed(values: object) -> Recipe:
    if not isinstance(values, Mapping):
        raise CheckpointError(f"It is not a JSON object; the keys are {', '.join(_KEYS)}.")
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise CheckpointError(f"Unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}.")
    kind, interpolation = values.get("kind", _CROP), values.get("interpolation", "bilinear")
    if kind not in KINDS:
        raise CheckpointError(f"Unknown kind {kind!r}; known are {', '.join(KINDS)}.")
    height, width, resize = (_whole(values, key) for key in ("height", "width", "resize"))
    if (height is None) != (width is None):
        raise CheckpointError("height and width go together; give both or neither.")
    if interpolation not in INTERPOLATIONS:
        raise CheckpointError(f"interpolation is 'bilinear' or 'bicubic', not {interpolation!r}.")
    normalisation = Normalisation(_numbers(values, "mean", 0.0), _numbers(values, "std", 1.0))
    return Recipe(kind, normalisation, height, width, resize, interpolation)


def _whole(values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    if value is not None and (type(value) is not int or value < 1):
        raise CheckpointError(f"{key} is a whole number of pixels, not {value!r}.")
    return value


def _numbers(values: Mapping[str, Any], key: str, default: float) -> tuple[float, ...]:
    value = values.get(key, default)
    numbers = value if isinstance(value, list) else [value]
    if not all(type(each) in (int, float) for each in numbers):
        raise CheckpointError(f"{key} is a number, or one for each channel, in units of 255, not {value!r}.")
    return tuple(map(float, numbers))
