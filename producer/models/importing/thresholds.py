"""The thresholds of a multi-label model: one for all classes, or one for each from a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pigeonhole.errors import CheckpointError, UsageError
from producer.models.importing.kind import ImportOptions

DEFAULT = 0.5


def check(options: ImportOptions) -> None:
    """Raise UsageError if options exclude each other, or a threshold is out of range."""
    if options.threshold is not None and options.thresholds is not None:
        raise UsageError("--threshold and --thresholds exclude each other: give one of them.")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise UsageError(f"--threshold is a probability from 0 to 1, not {options.threshold:g}.")


def chosen(options: ImportOptions, classes: Sequence[str], multi_label: bool) -> tuple[float, ...] | None:
    """Return the thresholds in the order of the classes; None if an image has one label.

    Args:
        options: The options of the import.
        classes: The names of the model's classes.
        multi_label: Whether an image may have several labels.

    Raises:
        CheckpointError: The file can't be used.
        UsageError: A threshold is given, but the model is not multi-label.
    """
    if not multi_label:
        for name in ("threshold", "thresholds"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} is for a model with several labels an image: give --multi-label too.")
        return None
    if options.thresholds is None:
        return (DEFAULT if options.threshold is None else options.threshold,) * len(classes)
    return _read(options.thresholds, classes)


def _read(path: Path, classes: Sequence[str]) -> tuple[float, ...]:
    """Read a JSON object of class → threshold."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except OSError as exc:
        raise CheckpointError(f"{path}: can't be read ({exc.strerror or exc}); check --thresholds.") from exc
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path}: it is not JSON ({exc}).") from exc
    if not isinstance(pairs, _Pairs):
        raise CheckpointError(f'{path}: it is not a JSON object of classes and thresholds, such as {{"cat": 0.5}}.')
    found = dict[str, float]()
    for name, value in pairs:
        if name in found:
            raise CheckpointError(f"{path}: the class {name!r} occurs twice; name each class once.")
        if name not in classes:
            raise CheckpointError(f"{path}: the model has no class {name!r}; its classes are {_some(classes)}.")
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise CheckpointError(f"{path}: the threshold of {name!r} must be a number from 0 to 1, not {value!r}.")
        found[name] = float(value)
    missing = [name for name in classes if name not in found]
    if missing:
        raise CheckpointError(f"{path}: there is no threshold for {_some(missing)}; name each class once.")
    return tuple(found[name] for name in classes)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as pairs, in which a name may occur twice."""


def _some(names: Sequence[str]) -> str:
    """Return the first names as a list, with the number of the others."""
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5:,} more"
