"""What producer and worker say to each other: the references of a batch, and what became of each.

Both are frozen, versioned and JSON, deflated: in a batch of 2,048 a reference with a numbered name takes some
3 bytes, one with a random name of 16 digits some 12; an answer of up to 256 classes takes 16. What is read back is
checked before it is believed.

A path that is not valid UTF-8 is spelled as `os.fsdecode` spells it; its lone surrogates survive JSON as
escapes, and `os.fsencode` gives the bytes back.
"""

import json
import reprlib
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.columns import packed, unpacked
from pigeonhole.sources.spans import Span, spans

VERSION = 3
#: No batch that we write comes near this: 2,048 paths of 4,096 bytes are 8 MB.
MAX_DECODED_BYTES = 64_000_000
#: Probabilities travel as whole millionths: shorter than floats, and the same on every machine.
PPM = 1_000_000
#: How many of the best classes a row carries.
TOP = 3
#: Indices of classes are of 16 bits.
MOST_CLASSES = 65_535


class Group(NamedTuple):
    """References that share where they are shown from and where they are read from.

    A reference is shown to the user as `shown + path`, and read at `rooted + path` below the image root. Those to the
    members of an archive are read at `rooted`, each where its one of the `spans` says; a path is only a name there.
    """

    shown: str
    rooted: str
    paths: tuple[str, ...]
    spans: tuple[Span, ...] = ()


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

    def located(self) -> Iterator[tuple[str, Span | None]]:
        """Give, for each, the file to read, relative to the image root, and where in it; None: the whole of it."""
        for group in self.groups:
            if group.spans:
                yield from ((group.rooted, span) for span in group.spans)
            else:
                yield from ((group.rooted + path, None) for path in group.paths)

    def part(self, start: int, stop: int) -> "Batch":
        """Give the references from one position to before another."""
        groups, at = [], 0
        for group in self.groups:
            some = slice(max(0, start - at), max(0, stop - at))
            if group.paths[some]:
                groups.append(group._replace(paths=group.paths[some], spans=group.spans[some]))
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
        labels: names of the classes that the columns count from, `MOST_CLASSES` at most.
        images: how many there are: N.
        top: how many of its most probable classes each image has: K. Not more than there are labels.
        best: `array("H")`, N x K, row by row: the indices into `labels` of an image's most probable classes, best
            first. The row of an image with an error holds zeros, here and in `ppm`, which mean nothing.
        ppm: `array("I")`, N x K, row by row: the probabilities of those classes in millionths.
        review: positions of the images that the checkpoint is in doubt about.
        errors: position → (kind, message).
    """

    model: str
    labels: tuple[str, ...]
    images: int
    top: int
    best: "array[int]"
    ppm: "array[int]"
    review: frozenset[int] = frozenset()
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def failed(cls, model: str, errors: Sequence[tuple[str, str]]) -> "Answers":
        """Give the answers to a batch in which every image has an error: its (kind, message)."""
        return cls(model, (), len(errors), 0, array("H"), array("I"), errors=dict(enumerate(errors)))

    def __len__(self) -> int:
        return self.images

    def encode(self) -> bytes:
        """Give the answers as deflated JSON."""
        body = {
            "v": VERSION,
            "model": self.model,
            "labels": self.labels,
            "images": self.images,
            "top": self.top,
            "best": packed(self.best),
            "ppm": packed(self.ppm),
            "review": sorted(self.review),
            "errors": [[position, *error] for position, error in self.errors.items()],
        }
        # Probabilities hardly deflate: it would take five times as long as all the rest, for a third of the bytes.
        # Messages do, by far, but few of them are not worth it.
        return _deflate(body, level=1 if 8 * len(self.errors) > self.images else 0)

    @classmethod
    def decode(cls, data: bytes) -> "Answers":
        """Read what `encode` wrote.

        Raises:
            MessageInvalid: the data is of another version, or not the answers to a batch.
        """
        body = _inflate(data, "the answers to a batch")
        try:
            images, top = _number(body["images"]), _number(body["top"])
            answers = cls(
                model=_text(body["model"]),
                labels=tuple(_texts(body["labels"])),
                images=images,
                top=top,
                best=unpacked("H", _texts(body["best"]), images * top),
                ppm=unpacked("I", _texts(body["ppm"]), images * top),
                review=frozenset(_number(position) for position in _list(body["review"])),
                errors={_number(at): (_text(kind), _text(message)) for at, kind, message in _list(body["errors"])},
            )
            answers._check()
        except (KeyError, TypeError, ValueError) as exc:
            raise MessageInvalid(f"the answers to a batch in the ledger are malformed: {exc}") from exc
        return answers

    def predictions(self, batch: Batch, review_below: float | None = None) -> list[Prediction]:
        """Give one row for each reference of the batch that these are the answers to.

        Args:
            batch: the references.
            review_below: the confidence, from 0 to 1, under which a label is marked for review; None: as the
                checkpoint's own threshold has it.

        Raises:
            MessageInvalid: there are not as many answers as references.
        """
        paths = [group.shown + path for group in batch.groups for path in group.paths]
        if len(paths) != len(self):
            raise MessageInvalid(f"{len(self)} answers for a batch of {len(paths)} images: the ledger is damaged")
        labels, model = self.labels, self.model
        if self.top:
            # Whole columns at a time: this and the sink's work are what a row costs the producer.
            names = [labels[index] for index in self.best]
            shares = [parts / PPM for parts in self.ppm]
            if review_below is None:
                review = [False] * len(self)
                for at in self.review:
                    review[at] = True
            else:
                review = [share < review_below for share in shares[:: self.top]]
            # One iterator of pairs, from which each row takes as many as it has.
            tops = zip(*[zip(names, shares, strict=True)] * self.top, strict=True)
            columns = zip(  # two have no end
                paths, names[:: self.top], shares[:: self.top], review, repeat(""), repeat(model), tops
            )
            rows = list(map(partial(tuple.__new__, Prediction), columns))
        else:
            rows = [Prediction(path, "", None, False, "", model, ()) for path in paths]  # all of them errors
        for at, (kind, message) in self.errors.items():
            rows[at] = Prediction(paths[at], "", None, False, f"{kind}: {message}", model, ())
        return rows

    def _check(self) -> None:
        """Raise ValueError unless every row can be made."""
        if not 0 <= self.top <= len(self.labels) <= MOST_CLASSES:
            raise ValueError(f"each image has {_shown(self.top)} of {len(self.labels)} classes")
        for at in (*self.errors, *self.review):
            if not 0 <= at < self.images:
                raise ValueError(f"something is said of image {_shown(at)} of {_shown(self.images)}")
        if self.top == 0 and len(self.errors) != self.images:
            raise ValueError(f"{_shown(self.images)} images have no class, but {len(self.errors)} have an error")
        if (index := max(self.best, default=-1)) >= len(self.labels):
            raise ValueError(f"an image has class {index} of {len(self.labels)}")
        if (parts := max(self.ppm, default=0)) > PPM:
            raise ValueError(f"an image has a class with {parts} millionths")


def _deflate(body: dict[str, Any], level: int = 1) -> bytes:
    # Level 1: on 2,048 random names 0.4 ms against the default's 1.1 ms, and 7 % larger.
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), level)


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
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[2], list):
        raise MessageInvalid("a group of references is not [shown, rooted, [path, …], [span, …]]")
    shown, rooted, paths, places = value
    try:
        _text("".join((shown, rooted, *paths)))
        group = Group(shown, rooted, tuple(paths), spans(places))
    except (TypeError, ValueError) as exc:
        raise MessageInvalid(f"a group of references holds something that is not a path, or no place: {exc}") from exc
    if group.spans and len(group.spans) != len(group.paths):
        raise MessageInvalid(f"a group of {len(group.paths)} references has {len(group.spans)} places in an archive")
    return group


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a text")
    # Only surrogates that stand for bytes, as `os.fsdecode` makes them, can ever be written out again.
    value.encode("utf-8", "surrogateescape")
    return value


def _texts(value: object) -> list[str]:
    return [_text(text) for text in _list(value)]


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
