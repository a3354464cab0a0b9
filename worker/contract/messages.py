"""What producer and worker say to each other: the references of a batch, and what became of each.

Both are frozen, versioned and JSON, deflated: in a batch of 2,048 a reference with a numbered name takes some
3 bytes, one with a random name of 16 digits some 12. What is read back is checked before it is believed.

A path that is not valid UTF-8 is spelled as `os.fsdecode` spells it; its lone surrogates survive JSON as
escapes, and `os.fsencode` gives the bytes back.
"""

import json
import reprlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from worker.contract.errors import MessageInvalid

VERSION = 1
#: No batch that we write comes near this: 2,048 paths of 4,096 bytes are 8 MB.
MAX_DECODED_BYTES = 64_000_000
#: Probabilities travel as whole millionths: shorter than floats, and the same on every machine.
PPM = 1_000_000
#: How many of the best classes a row carries.
TOP = 3


class Group(NamedTuple):
    """References that share where they are shown from and where they are read from.

    A reference is shown to the user as `shown + path`, and read at `rooted + path` below the image root.
    """

    shown: str
    rooted: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """The references that one task classifies, in the order of submission."""

    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return sum(len(group.paths) for group in self.groups)

    def shown(self) -> Iterator[str]:
        """Give each path as the user named it."""
        return (group.shown + path for group in self.groups for path in group.paths)

    def rooted(self) -> Iterator[str]:
        """Give each path relative to the image root; one that is absolute lies outside it."""
        return (group.rooted + path for group in self.groups for path in group.paths)

    def part(self, start: int, stop: int) -> "Batch":
        """Give the references from one position to before another."""
        groups, at = [], 0
        for group in self.groups:
            paths = group.paths[max(0, start - at) : max(0, stop - at)]
            if paths:
                groups.append(group._replace(paths=paths))
            at += len(group.paths)
        return Batch(tuple(groups))

    def encode(self) -> bytes:
        """Give the batch as deflated JSON."""
        return _deflate({"v": VERSION, "groups": self.groups})

    @classmethod
    def decode(cls, data: bytes) -> "Batch":
        """Read what `encode` wrote.

        Raises:
            MessageInvalid: the data is of another version, or not a batch.
        """
        groups = _inflate(data, "a batch").get("groups")
        if not isinstance(groups, list):
            raise MessageInvalid("a batch in the ledger has no groups of references")
        return cls(tuple(_group(group) for group in groups))


class Prediction(NamedTuple):
    """One row: what became of one submitted image.

    `confidence` and the probabilities in `top` are from 0 to 1. A row with an `error` (`kind: message`) has no
    label, and `confidence` is None. `model` is the checkpoint's name and the first 12 digits of its digest.
    """

    path: str
    label: str
    confidence: float | None
    review: bool
    error: str
    model: str
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Answers:
    """What became of each image of a batch, as columns in the batch's order.

    Args:
        model: the checkpoint that answered, `name@digest`.
        labels: names of the classes that the columns count from.
        best: for each image, the indices into `labels` of its most probable classes, best first; none where it
            has an error.
        ppm: for each image, the probabilities of those classes in millionths.
        review: positions of the images whose confidence is under the checkpoint's threshold.
        errors: position → (kind, message).
    """

    model: str
    labels: tuple[str, ...]
    best: Sequence[Sequence[int]]
    ppm: Sequence[Sequence[int]]
    review: frozenset[int] = frozenset()
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.best)

    def encode(self) -> bytes:
        """Give the answers as deflated JSON."""
        return _deflate(
            {
                "v": VERSION,
                "model": self.model,
                "labels": self.labels,
                "best": self.best,
                "ppm": self.ppm,
                "review": sorted(self.review),
                "errors": [[position, *error] for position, error in self.errors.items()],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Answers":
        """Read what `encode` wrote.

        Raises:
            MessageInvalid: the data is of another version, or not the answers to a batch.
        """
        body = _inflate(data, "the answers to a batch")
        try:
            answers = cls(
                model=_text(body["model"]),
                labels=tuple(_text(label) for label in _list(body["labels"])),
                best=_list(body["best"]),
                ppm=_list(body["ppm"]),
                review=frozenset(_number(position) for position in _list(body["review"])),
                errors={_number(at): (_text(kind), _text(message)) for at, kind, message in _list(body["errors"])},
            )
            answers._check()
        except (KeyError, TypeError, ValueError) as exc:
            raise MessageInvalid(f"the answers to a batch in the ledger are malformed: {exc}") from exc
        return answers

    def predictions(self, batch: Batch) -> Iterator[Prediction]:
        """Give one row for each reference of the batch that these are the answers to.

        Raises:
            MessageInvalid: there are not as many answers as references.
        """
        if len(batch) != len(self):
            raise MessageInvalid(f"{len(self)} answers for a batch of {len(batch)} images: the ledger is damaged")
        labels, review, errors, model = self.labels, self.review, self.errors, self.model
        for at, (path, best, ppm) in enumerate(zip(batch.shown(), self.best, self.ppm, strict=True)):
            if at in errors:
                kind, message = errors[at]
                yield Prediction(path, "", None, False, f"{kind}: {message}", model, ())
                continue
            top = tuple((labels[index], parts / PPM) for index, parts in zip(best, ppm, strict=True))
            yield Prediction(path, top[0][0], top[0][1], at in review, "", model, top)

    def _check(self) -> None:
        """Raise ValueError unless every row can be made."""
        if len(self.best) != len(self.ppm):
            raise ValueError(f"{len(self.best)} lists of classes but {len(self.ppm)} of probabilities")
        for at in (*self.errors, *self.review):
            if not 0 <= at < len(self):
                raise ValueError(f"something is said of image {at} of {len(self)}")
        for at, (best, ppm) in enumerate(zip(map(_list, self.best), map(_list, self.ppm), strict=True)):
            if len(best) != len(ppm) or bool(best) == (at in self.errors):
                raise ValueError(f"image {at} has {len(best)} classes and {len(ppm)} probabilities")
            for index, parts in zip(best, ppm, strict=True):
                if not (0 <= _number(index) < len(self.labels) and 0 <= _number(parts) <= PPM):
                    raise ValueError(f"image {at} has class {_shown(index)} with {_shown(parts)} millionths")


def _deflate(body: dict[str, Any]) -> bytes:
    # Level 1: on 2,048 random names 0.4 ms against the default's 1.1 ms, and 7 % larger.
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def _inflate(data: bytes, what: str) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, MAX_DECODED_BYTES)
        if inflater.unconsumed_tail or not inflater.eof:
            raise MessageInvalid(f"{what} in the ledger is cut off, or over {MAX_DECODED_BYTES:,} bytes")
        body = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as exc:
        raise MessageInvalid(f"{what} in the ledger is not deflated JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise MessageInvalid(f"{what} in the ledger is not an object")
    version = body.get("v")
    if type(version) is not int or version != VERSION:
        raise MessageInvalid(
            f"{what} in the ledger has version {_shown(version)} and this program reads {VERSION}: "
            "run the same version of Pigeonhole on both sides"
        )
    return body


def _group(value: object) -> Group:
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[2], list):
        raise MessageInvalid("a group of references is not [shown, rooted, [path, …]]")
    shown, rooted, paths = value
    try:
        _text("".join((shown, rooted, *paths)))
    except (TypeError, ValueError) as exc:
        raise MessageInvalid(f"a group of references holds something that is not a path: {exc}") from exc
    return Group(shown, rooted, tuple(paths))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a text")
    # Only surrogates that stand for bytes, as `os.fsdecode` makes them, can ever be written out again.
    value.encode("utf-8", "surrogateescape")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{_shown(value)} is not a list")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{_shown(value)} is not a whole number")
    return value


def _shown(value: object) -> str:
    """Give a value for a message: `repr` of what a stranger wrote may be very long, or too deep."""
    return reprlib.repr(value)
