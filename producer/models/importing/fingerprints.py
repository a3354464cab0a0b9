"""Recognises torchvision's networks by the names and shapes of their weights.

assets/torchvision.json has the fingerprint of each network, so that no network has to be built. After torchvision has
gained a network, run `scripts/torchvision_fingerprints.py`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]

_LENGTH = 16  # hexadecimal digits of a digest
#: Names of weights that only training uses: counters of batches, and auxiliary heads.
_TRAINING = ("num_batches_tracked",)
_BESIDE = ("aux1.", "aux2.", "AuxLogits.")


class Fingerprint(NamedTuple):
    """A network's fingerprint.

    Args:
        head: The names of the weights with a row for each class.
        names: Digest of the names of all weights.
        shapes: Digest of the names and shapes of all weights but the head.
    """

    head: tuple[str, ...]
    names: str
    shapes: str


def used(names: Iterable[str]) -> list[str]:
    """Return the names of the weights that a prediction depends on, sorted."""
    return sorted(name for name in names if not name.endswith(_TRAINING) and not name.startswith(_BESIDE))


def of(shapes: Shapes, head: Iterable[str]) -> Fingerprint:
    """Return the fingerprint of a network's weights."""
    names = used(shapes)
    heads = tuple(sorted(set(head) & set(names)))
    lines = [f"{name} {list(shapes[name])}" for name in names if name not in heads]
    return Fingerprint(heads, _digest(names), _digest(lines))


def known() -> dict[str, Fingerprint]:
    """Return the fingerprints of torchvision's networks, by name."""
    text = files("producer.models").joinpath("assets/torchvision.json").read_text(encoding="utf-8")
    return {
        name: Fingerprint(tuple(values["head"]), values["names"], values["shapes"])
        for name, values in json.loads(text)["networks"].items()
    }


def recognise(shapes: Shapes) -> tuple[str | None, list[str]]:
    """Return the network of some weights, and the networks whose weights have the same names.

    Args:
        shapes: Name of each weight → its shape.
    """
    found, alike = None, []
    computed: dict[tuple[str, ...], Fingerprint] = {}
    for name, fingerprint in known().items():
        if not set(fingerprint.head) <= set(shapes):
            continue
        ours = computed.setdefault(fingerprint.head, of(shapes, fingerprint.head))
        if ours.names == fingerprint.names:
            alike.append(name)
            found = name if ours == fingerprint else found
    return found, alike


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_LENGTH]
