"""`--label-map FILE`: the texts that rows show in place of a model's class names."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pigeonhole.errors import UsageError
from pigeonhole.text import printable, similar

#: The optional header line of a CSV file.
_HEADER = ["class", "label"]
#: The largest file, in bytes; 65,535 classes with long names take a tenth of this.
_MOST_BYTES = 64_000_000


@dataclass(frozen=True)
class LabelMap:
    """Class names → the texts to show. Several classes may share a text; a class that is not listed keeps its name.

    Args:
        texts: class name → text.
        path: the file that the map was read from, for messages.
    """

    texts: Mapping[str, str]
    path: str = "label map"
    _names: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, given: "str | os.PathLike[str] | Mapping[str, str]") -> "LabelMap":
        """Return a map from the path of a file, or from a mapping of class names to texts.

        Raises:
            UsageError: the file can't be read, or is not a label map.
        """
        if not isinstance(given, Mapping):
            return cls.read(given)
        return cls(_checked(given.items(), "label map"))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "LabelMap":
        """Read a JSON object, or CSV with two columns: class and text. A header line `class,label` is skipped.

        Raises:
            UsageError: the file can't be read, or is not a label map.
        """
        name = os.fspath(path)
        try:
            with open(name, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
            text = data.decode("utf-8-sig")
        except OSError as exc:
            raise UsageError(f"the label map {name!r} can't be read: {exc.strerror or exc}") from exc
        except UnicodeDecodeError as exc:
            raise UsageError(f"the label map {name!r} is not UTF-8 text: save it as UTF-8") from exc
        if len(data) > _MOST_BYTES:
            raise UsageError(f"the label map {name!r} is larger than {_MOST_BYTES:,} bytes: name a JSON or CSV file")
        pairs = _json_pairs(text, name) if text.lstrip().startswith("{") else _csv_pairs(text, name)
        return cls(_checked(pairs, name), name)

    @cached_property
    def digest(self) -> str:
        """A digest of the texts, 32 hexadecimal digits, so that two files with the same texts are the same map."""
        text = json.dumps(sorted(self.texts.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def check(self, classes: Sequence[str]) -> None:
        """Raise UsageError if the map names a class that a model does not have."""
        known = set(classes)
        if unknown := [name for name in self.texts if name not in known]:
            near = similar(unknown[0], classes)
            meant = f"; did you mean {printable(near)!r}?" if near else f"; it has {_some(classes)}"
            others = f", and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
            raise UsageError(
                f"the label map {self.path!r} names {printable(unknown[0])!r}{others}, but the model has no such "
                f"class{meant}"
            )

    def names(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the texts for a model's classes. For the first model, also check the map.

        Raises:
            UsageError: the map names a class that the first model does not have.
        """
        if classes not in self._names:
            if classes and not self._names:
                self.check(classes)
            self._names[classes] = tuple(self.texts.get(name, name) for name in classes)
        return self._names[classes]


def _json_pairs(text: str, path: str) -> list[tuple[object, object]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"the label map {path!r} is not JSON: {exc}") from exc
    return list(pairs)


def _csv_pairs(text: str, path: str) -> list[tuple[object, object]]:
    import csv

    pairs = list[tuple[object, object]]()
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for fields in reader:
            if len(fields) not in (0, 2):
                raise UsageError(
                    f"the label map {path!r} has {len(fields)} columns in line {reader.line_num:,}, but needs two: the "
                    "class, and the text to show"
                )
            if fields and (pairs or fields != _HEADER):
                pairs.append((fields[0], fields[1]))
    except csv.Error as exc:
        raise UsageError(f"the label map {path!r} is neither a JSON object nor CSV: {exc}") from exc
    return pairs


def _checked(pairs: Iterable[tuple[object, object]], path: str) -> dict[str, str]:
    texts = dict[str, str]()
    for name, text in pairs:
        if not isinstance(name, str) or not isinstance(text, str) or not text:
            raise UsageError(
                f"the label map {path!r} has {text!r:.60} for {name!r:.60}: give each class one text that isn't empty"
            )
        if texts.setdefault(name, text) != text:
            raise UsageError(f"the label map {path!r} has two texts for {name!r:.60}: give it one")
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise UsageError(
                f"the label map {path!r} has a text for {name!r:.60} that is not valid Unicode: correct it"
            ) from exc
    if not texts:
        raise UsageError(f"the label map {path!r} is empty: add a class and its text, or leave it out")
    return texts


def _some(classes: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in classes[:5])
    return shown + (f" and {len(classes) - 5:,} more" if len(classes) > 5 else "")
