"""The names of a model's classes, from a file or from ImageNet."""

import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pigeonhole.errors import CheckpointError, UsageError

IMAGENET = "imagenet"
#: The name of the first of 1,001 logits, in networks trained with TensorFlow.
BACKGROUND = "background"


def imagenet() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes, in the order of the logits."""
    text = files("producer.models").joinpath("assets/imagenet.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def named(option: str | None, logits: int) -> tuple[str, ...]:
    """Return the names of a model's classes.

    Args:
        option: The value of `--classes`: "imagenet", or a file with a name a line or JSON.
        logits: The number of logits of the model.

    Raises:
        UsageError: The option is missing, or does not fit the model.
        CheckpointError: The file can't be used.
    """
    if option is None:
        also = ", or --classes imagenet" if logits in (1000, 1001) else ""
        raise UsageError(f"The model has {logits:,} classes without names; give --classes FILE, a name a line{also}.")
    names = imagenet() if option == IMAGENET else read(Path(option))
    if option == IMAGENET and logits == len(names) + 1:
        names = (BACKGROUND, *names)
    if len(names) != logits:
        raise UsageError(f"{option} names {len(names):,} classes, but the model has {logits:,}.")
    return names


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without duplicates: equal names get their position, such as "crane (134)"."""
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({position})" for position, name in enumerate(names))


def read(path: Path) -> tuple[str, ...]:
    """Read a file of class names.

    Raises:
        CheckpointError: The file can't be read, or a name is empty or a duplicate.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _from_json(text) if path.suffix.lower() == ".json" else [line.strip() for line in text.splitlines()]
    except OSError as exc:
        raise CheckpointError(f"{path}: can't be read ({exc.strerror or exc}); check the path.") from exc
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path}: it has no class names ({exc}); write a name a line, in UTF-8.") from exc
    while names and not names[-1]:
        names.pop()
    for line, name in enumerate(names, 1):
        if not name:
            raise CheckpointError(f"{path}: line {line} is empty; every class needs a name.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        lines = ", ".join(str(line) for line, name in enumerate(names, 1) if name == twice[0])
        raise CheckpointError(f"{path}: {twice[0]!r} occurs twice (lines {lines}); rename one of them.")
    return tuple(names)


def _from_json(text: str) -> list[str]:
    values = json.loads(text)
    if isinstance(values, dict):
        positions = {int(key): value for key, value in values.items()}
        if sorted(positions) != list(range(len(positions))):
            raise ValueError("the positions are not 0, 1, 2, …")
        values = [positions[position] for position in range(len(positions))]
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError("JSON is a list of names, or an object of positions and names")
    return [each.strip() for each in values]
