"""The messages between producer and worker: the references of a batch, and the answers to it.

Both are frozen, versioned, deflated JSON. In a batch of 2,048, a reference with a numbered name takes some 3 bytes, and
one with a random name of 16 digits some 12. An answer of up to 256 classes takes 27. Decoding validates everything.
Unknown keys are ignored, so a key can be added without a new version.

A path that is not valid UTF-8 is stored as `os.fsdecode` returns it. Its lone surrogates become escapes in JSON, and
`os.fsencode` restores the bytes.
"""

import hashlib
import json
import reprlib
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, repeat
from typing import Any, NamedTuple

from pigeonhole.errors import MessageInvalid, SourceError
from pigeonhole.ledger.wire.columns import packed, unpacked
from pigeonhole.ledger.wire.rows import Row as Row  # other modules import it from here
from pigeonhole.ledger.wire.rows import rows_of
from pigeonhole.limits import MOST_CLASSES, PPM, TOP
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.sources.reference import Location, Place
from pigeonhole.text import printable

VERSION = 4
#: 2,048 paths of `LONGEST_PATH` bytes are 8 MB, or 50 MB where JSON escapes each of the bytes.
MAX_DECODED_BYTES = 64_000_000
#: File offsets are below this number.
_END_OF_PLACES = 1 << 63
#: Bytes per image above which a batch is not compressed, since it contains images. Deflating base64 saves a quarter of
#: the bytes, and takes several times as long as all the rest.
_CARRIES = 2000
#: The number of characters of a path that an error message shows.
_SHOWN = 60
#: Bytes of the digest of a batch's references.
_DIGEST_BYTES = 16


class Group(NamedTuple):
    """References that share their source and the beginnings of their paths; see `Reference`.

    Args:
        scheme: the scheme of the source that opens them.
        shown: the common beginning of their paths as the user sees them.
        root: the common beginning of their paths below the image root.
        paths: the rest of each path, which is the same in both.
        places: the place of each image in the archive `root`; empty if each image is a file.
    """

    scheme: str
    shown: str
    root: str
    paths: tuple[str, ...]
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Batch:
    """The references that one task classifies, in the order of submission.

    Args:
        groups: the references.
        top: the number of most probable classes in each row.
    """

    groups: tuple[Group, ...]
    top: int = TOP

    def __len__(self) -> int:
        return sum(len(group.paths) for group in self.groups)

    @cached_property
    def digest(self) -> str:
        """The digest of the stored references, as 32 hexadecimal digits."""
        return _digest(self._text)

    def shown(self) -> Iterator[str]:
        """Yield each path as the user named it."""
        return (group.shown + path for group in self.groups for path in group.paths)

    def located(self) -> Iterator[Location]:
        """Yield the location of each image."""
        for scheme, _, root, paths, places in self.groups:
            for path, place in zip(paths, places or repeat(()), strict=False):
                yield Location(scheme, root, path, place)

    def part(self, start: int, stop: int) -> "Batch":
        """Return the references from position `start` to before `stop` as a batch."""
        groups, at = [], 0
        for group in self.groups:
            some = slice(max(0, start - at), max(0, stop - at))
            if group.paths[some]:
                groups.append(group._replace(paths=group.paths[some], places=group.places[some]))
            at += len(group.paths)
        return Batch(tuple(groups), self.top)

    def encode(self) -> bytes:
        """Return the batch as deflated JSON; the result is cached, since resume state and ledger both store it.

        Raises:
            SourceError: its paths are too long: `decode` would refuse the batch.
        """
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        text = self._text
        if len(text) > MAX_DECODED_BYTES:
            first = printable(next(self.shown())[:_SHOWN])
            raise SourceError(
                f"the paths of {len(self):,} images from {first}… on are too long: they take {len(text):,} bytes, and "
                f"a batch may have {MAX_DECODED_BYTES:,}. Shorten the names of the folders"
            )
        return _deflate(text, level=0 if len(text) > _CARRIES * len(self) else 1)

    @classmethod
    def decode(cls, data: bytes) -> "Batch":
        """Return the batch that `encode` wrote.

        Raises:
            MessageInvalid: the data has another version, or is not a batch.
        """
        text, body = _inflate(data, "a batch")
        groups, top = body.get("groups"), body.get("top")
        if not isinstance(groups, list) or type(top) is not int or not 0 < top <= MOST_CLASSES:
            raise MessageInvalid("a batch in the ledger has no groups of references")
        batch = cls(tuple(_group(group) for group in groups), top)
        batch.__dict__["digest"] = _digest(text)  # of the stored text: encoding again might differ
        return batch

    @cached_property
    def _text(self) -> bytes:
        return _json({"v": VERSION, "top": self.top, "groups": self.groups})


class Chosen(NamedTuple):
    """The labels that a multi-label model gave to N images: M labels in all.

    Args:
        counts: `array("H")`, N: the number of labels of each image; 0 for an image with an error.
        best: `array("H")`, M: indices into `Answers.labels`, image by image, each image's most probable first.
        ppm: `array("I")`, M: the probabilities of those classes in millionths.
    """

    counts: "array[int]"
    best: "array[int]"
    ppm: "array[int]"


@dataclass(frozen=True)
class Answers:
    """The result of each image of a batch, as columns in the batch's order.

    Args:
        model: the model that answered, as `name@digest`.
        labels: the names of the model's classes, `MOST_CLASSES` at most.
        images: the number of images: N.
        top: the number of most probable classes of each image: K, at most the number of classes.
        best: `array("H")`, N x K, row by row: the indices into `labels` of an image's most probable classes, best
            first. The row of an image with an error holds meaningless zeros, here and in `ppm`.
        ppm: `array("I")`, N x K, row by row: the probabilities of those classes in millionths.
        review: the positions of the images that are marked for review.
        errors: position → (kind, message).
        runtime: the runtime of the network and its precision: `torch/f32`.
        identities: `array("Q")`, N: the `Identity` of each image's file when it was read; 0: unknown. Or empty.
        batch: the digest of the references to which these answers belong; the ledger adds it.
        chosen: the labels of each image by a multi-label model; None: an image's most probable class is its label.
        unknown: `array("I")`, N: the probability that an image belongs to no class, in millionths; meaningless for an
            image with an error. Empty: the model has no output for it.
    """

    model: str
    labels: tuple[str, ...]
    images: int
    top: int
    best: "array[int]"
    ppm: "array[int]"
    review: frozenset[int] = frozenset()
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)
    runtime: str = ""
    identities: "array[int]" = field(default_factory=partial(array, "Q"))
    batch: str = ""
    chosen: Chosen | None = None
    unknown: "array[int]" = field(default_factory=partial(array, "I"))

    @classmethod
    def failed(cls, model: str, errors: Sequence[tuple[str, str]]) -> "Answers":
        """Return answers in which every image has an error.

        Args:
            model: the model's name.
            errors: the (kind, message) of each image.
        """
        return cls(model, (), len(errors), 0, array("H"), array("I"), errors=dict(enumerate(errors)))

    def __len__(self) -> int:
        return self.images

    def encode(self) -> bytes:
        """Return the answers as deflated JSON."""
        body: dict[str, Any] = {
            "v": VERSION,
            "batch": self.batch,
            "model": self.model,
            "runtime": self.runtime,
            "labels": self.labels,
            "images": self.images,
            "top": self.top,
            "best": packed(self.best),
            "ppm": packed(self.ppm),
            "review": sorted(self.review),
            "errors": [[position, *error] for position, error in self.errors.items()],
            "identities": packed(self.identities) if self.identities else [],
        }
        if self.chosen is not None:
            body["chosen"] = [packed(column) for column in self.chosen]
        if self.unknown:
            body["unknown"] = packed(self.unknown)
        # Deflating probabilities takes five times as long as all the rest, and saves a third. Error messages deflate
        # well, but only many of them are worth the time.
        return _deflate(_json(body), level=1 if 8 * len(self.errors) > self.images else 0)

    @classmethod
    def decode(cls, data: bytes) -> "Answers":
        """Return the answers that `encode` wrote.

        Raises:
            MessageInvalid: the data has another version, or is not the answers to a batch.
        """
        _, body = _inflate(data, "the answers to a batch")
        try:
            images, top = _number(body["images"]), _number(body["top"])
            identities = _texts(body["identities"])
            answers = cls(
                model=_text(body["model"]),
                labels=tuple(_texts(body["labels"])),
                images=images,
                top=top,
                best=unpacked("H", _texts(body["best"]), images * top),
                ppm=unpacked("I", _texts(body["ppm"]), images * top),
                review=frozenset(_number(position) for position in _list(body["review"])),
                errors={_number(at): (_text(kind), _text(message)) for at, kind, message in _list(body["errors"])},
                runtime=_text(body["runtime"]),
                identities=unpacked("Q", identities, images) if identities else array("Q"),
                batch=_text(body["batch"]),
                chosen=_chosen(body["chosen"], images) if "chosen" in body else None,
                unknown=unpacked("I", _texts(body["unknown"]), images) if "unknown" in body else array("I"),
            )
            answers._check()
        except (KeyError, TypeError, ValueError) as exc:
            raise MessageInvalid(f"the answers to a batch in the ledger are malformed: {exc}") from exc
        return answers

    def rows(self, batch: Batch, options: RowOptions = DEFAULT) -> list[Row]:
        """Return one row for each reference of the batch to which these answers belong.

        Args:
            batch: the references.
            options: the options for rows.

        Raises:
            MessageInvalid: the numbers of answers and references differ.
            UsageError: the label map names a class that the model does not have.
        """
        paths = [group.shown + path for group in batch.groups for path in group.paths]
        if len(paths) != len(self):
            raise MessageInvalid(f"{len(self)} answers for a batch of {len(paths)} images: the ledger is damaged")
        return rows_of(self, paths, options)

    def _check(self) -> None:
        """Raise ValueError unless `rows` can return a row for every image."""
        if not 0 <= self.top <= len(self.labels) <= MOST_CLASSES:
            raise ValueError(f"each image has {_shown(self.top)} of {len(self.labels)} classes")
        for at in (*self.errors, *self.review):
            if not 0 <= at < self.images:
                raise ValueError(f"there is an entry for image {_shown(at)} of {_shown(self.images)}")
        if self.top == 0 and len(self.errors) != self.images:
            raise ValueError(f"{_shown(self.images)} images have no class, but {len(self.errors)} have an error")
        columns = [(self.best, self.ppm), *([(self.chosen.best, self.chosen.ppm)] if self.chosen else [])]
        for best, ppm in columns:
            if (index := max(best, default=-1)) >= len(self.labels):
                raise ValueError(f"an image has class {index} of {len(self.labels)}")
            if (parts := max(ppm, default=0)) > PPM:
                raise ValueError(f"an image has a class with a probability of {parts} millionths")
        if (parts := max(self.unknown, default=0)) > PPM:
            raise ValueError(f"an image is unknown with a probability of {parts} millionths")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def _deflate(text: bytes, level: int = 1) -> bytes:
    # Level 1: on 2,048 random names 0.4 ms against the default's 1.1 ms, and 7 % larger.
    return zlib.compress(text, level)


def _inflate(data: bytes, what: str) -> tuple[bytes, dict[str, Any]]:
    """Return a message's JSON text and its content; raise MessageInvalid unless it has our version."""
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
            f"{what} in the ledger has version {_shown(version)}, and this program reads version {VERSION}: run the "
            "same version of Pigeonhole in producer and workers"
        )
    return text, body


def _group(value: object) -> Group:
    if not isinstance(value, list) or len(value) != 5 or not isinstance(value[3], list):
        raise MessageInvalid("a group of references is not [scheme, shown, root, [path, …], [place, …]]")
    scheme, shown, root, paths, places = value
    try:
        _text("".join((scheme, shown, root, *paths)))
        group = Group(scheme, shown, root, tuple(paths), _places(places))
    except (TypeError, ValueError) as exc:
        raise MessageInvalid(f"a group of references has an invalid path or place: {exc}") from exc
    if group.places and len(group.places) != len(group.paths):
        raise MessageInvalid(f"a group of {len(group.paths)} references has {len(group.places)} places in an archive")
    return group


def _places(value: object) -> tuple[Place, ...]:
    """Return places from JSON: a list of lists of integers."""
    if not isinstance(value, list) or not all(isinstance(one, list) for one in value):
        raise ValueError("the places in an archive are not lists of numbers")
    # All numbers at once, for speed: a batch may have 10,000.
    numbers = list(chain.from_iterable(value))
    if not {*map(type, numbers)} <= {int} or (numbers and not 0 <= min(numbers) <= max(numbers) < _END_OF_PLACES):
        raise ValueError(f"the places in an archive are not whole numbers from 0 to below {_END_OF_PLACES}")
    return tuple(map(tuple, value))


def _chosen(value: object, images: int) -> Chosen:
    """Return the labels of a multi-label model that `Answers.encode` wrote."""
    counted, best, ppm = map(_texts, _list(value))
    counts = unpacked("H", counted, images)
    labels = sum(counts)
    return Chosen(counts, unpacked("H", best, labels), unpacked("I", ppm, labels))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a text")
    # Raises for surrogates that `os.fsdecode` can't have made: these could not be written to a file.
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
    """Return a short `repr` of a value from a message: the full one may be very long, or too deep."""
    return reprlib.repr(value)
