"""The recipe's values that a user sets with `--recipe FILE.json` and `--set NAME=VALUE`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pigeonhole.errors import TrainingError
from pigeonhole.filesystem.files import shown
from pigeonhole.filesystem.nearby import missing
from pigeonhole.text import similar
from training.recipes.augment import Augmentation
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Number:
    """A number from `least` to `most`; a whole one if `whole`."""

    least: float
    most: float
    whole: bool = False

    @property
    def description(self) -> str:
        """Return the condition for a value in words."""
        return f"{'a whole number' if self.whole else 'a number'} from {self.least:,g} to {self.most:,.0f}"

    def takes(self, value: object) -> bool:
        """Return whether a value is such a number; NaN is not."""
        kinds = int if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.least <= value <= self.most


@dataclass(frozen=True)
class _Choice:
    """One of some values; messages show them as JSON without quotes."""

    values: tuple[object, ...]

    @property
    def description(self) -> str:
        return " or ".join(json.dumps(value).strip('"') for value in self.values)

    def takes(self, value: object) -> bool:
        return any(value is each or (value == each and type(value) is str) for each in self.values)


@dataclass(frozen=True)
class _Group:
    """An augmentation: null, for none; its values are set one by one, by dotted names."""

    name: str

    @property
    def description(self) -> str:
        return f"null, for none; set its values by names such as {self.name}.degrees"

    def takes(self, value: object) -> bool:
        return value is None


_AUGMENTATION: dict[str, Number | _Choice] = {
    "degrees": Number(0, 180),
    "scale": Number(0, 0.9),
    "shear": Number(0, 2),
    "shift": Number(0, 512),
    "flip": _Choice((True, False)),
    "warp": Number(0, 64),
    "outside": _Choice(("zeros", "border")),
    "colour": Number(0, 1),
    "erasing": Number(0, 1),
}
_GROUPS = ("augmentation", "synthetic_augmentation")  # each an `Augmentation`, or null for none
#: Name of a value → its condition.
VALUES: dict[str, Number | _Choice | _Group] = {
    "epochs": Number(1, 10_000, whole=True),
    "batch_size": Number(2, 65_536, whole=True),
    "learning_rate": Number(1e-6, 1),
    "warmup": Number(0, 1),
    "weight_decay": Number(0, 1),
    "label_smoothing": Number(0, 0.9),
    "averaging": Number(0, 100),
    "patience": Number(0, 10_000, whole=True),
    "augmentation_decay": Number(0, 1),
    "synthetic": Number(0, 10),
    "pool": Number(0, 1_000_000, whole=True),
    "outliers": Number(0, 1),
    "mixing": Number(0, 1),
    "balance": Number(0, 1),
    **{group: _Group(group) for group in _GROUPS},
    **{f"{group}.{name}": value for group in _GROUPS for name, value in _AUGMENTATION.items()},
}


def read(file: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """Read and check the values that a user gives.

    Args:
        file: JSON object of some or all values of a recipe.
        settings: Texts `NAME=VALUE`; they win over the file, and the last of a name wins.

    Returns:
        Name → value; a value of an augmentation has a name such as `augmentation.degrees`.

    Raises:
        TrainingError: The file can't be read, or a name or a value can't be used.
    """
    found = dict(_checked(_flat(_parsed(file)), f"{shown(file)}: ")) if file else {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise TrainingError(f"--set takes NAME=VALUE, such as --set epochs=50, not {setting!r}.")
        for key, value in _checked(_flat({name.strip(): _value(text.strip())}), "--set: "):
            for before in [each for each in found if f"{each}.".startswith(f"{key}.")]:
                del found[before]
            found[key] = value
    return found


def apply(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """Return a recipe with the values that `read` returned.

    If the recipe has no augmentation, its other limits are 0.
    """
    values = asdict(recipe)
    for key, value in given.items():
        group, dot, name = key.partition(".")
        if dot:
            values[group] = {**(values[group] or asdict(_NOTHING)), name: value}
        else:
            values[group] = value
    augmentations = {group: Augmentation(**values[group]) if values[group] else None for group in _GROUPS}
    return Recipe(**{**values, **augmentations})


def differences(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """Return the values of a recipe that differ from those of another, by name."""
    ours, theirs = (dict(_flat(asdict(each))) for each in (recipe, base))
    return {key: value for key, value in ours.items() if key not in theirs or theirs[key] != value}


_NOTHING = Augmentation(degrees=0.0, scale=0.0, shear=0.0, shift=0.0)


def _parsed(file: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError as exc:
        raise TrainingError(f"{missing(file)} --recipe takes a JSON file.") from exc
    except OSError as exc:
        raise TrainingError(f"{shown(file)}: can't be read ({exc.strerror or exc}); check the path.") from exc
    except ValueError as exc:
        raise TrainingError(f"{shown(file)} is not a JSON file ({exc}); `train --show-recipe` prints one.") from exc
    if not isinstance(values, dict):
        raise TrainingError(f'{shown(file)} is not a JSON object; write names and values, such as {{"epochs": 50}}.')
    return values


def _value(text: str) -> object:
    """Return the value of a text: JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and values; a value of a nested object has a dotted name such as `augmentation.degrees`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _checked(values: Iterator[tuple[str, Any]], where: str) -> Iterator[tuple[str, Any]]:
    for name, value in values:
        kind = VALUES.get(name)
        if kind is None:
            near = similar(name, VALUES)
            hint = f"did you mean {near}?" if near else f"it has {', '.join(key for key in VALUES if '.' not in key)}."
            raise TrainingError(f"{where}a recipe has no {name!r}; {hint}")
        if not kind.takes(value):
            shown_value = value if isinstance(value, str) else json.dumps(value)
            raise TrainingError(f"{where}{name} is {shown_value}, and must be {kind.description}.")
        # `Augmentation.scaled` scales the floats.
        yield name, float(value) if isinstance(kind, Number) and not kind.whole else value
