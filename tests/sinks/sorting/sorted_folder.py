"""Rows, their images, and a folder that they are sorted into."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.ledger.done import Origin
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.folders.sorting import Sorter
from pigeonhole.sources.members.archives import INSIDE, archive_kind, members
from pigeonhole.sources.reference import Identity, Location
from pigeonhole.sources.source import identity_of
from tests.sinks.rows import SEVEN

Method = Literal["symbolic", "hard", "copy"]
METHODS = pytest.mark.parametrize("method", ["symbolic", "hard", "copy"])


def images(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(os.fsencode(path))


def row(path: str, label: str = "7", review: bool = False, error: str = "") -> Row:
    return SEVEN._replace(path=path, label="" if error else label, review=review, error=error)


def origins(rows: Iterable[Row]) -> list[Origin]:
    """Return the origins of rows whose images are read now; members with the same name are taken in their order."""
    counts = Counter[str]()
    return [origin(path, (counts.update([path]), counts[path] - 1)[1]) for path in (row.path for row in rows)]


def origin(path: str, member_number: int = 0) -> Origin:
    file, inside, name = path.partition(INSIDE)
    if not inside:
        return Origin(Location("file", "", path), identity(path))
    kind = archive_kind(file)
    try:
        places = [member.place for member in members(file) if member.name == name]
    except SourceError:
        places = []
    place = places[member_number % len(places)] if places else (0, 1, 1, 0, 0)
    return Origin(Location(kind.scheme if kind else "zip", file, inside + name, place), identity(file))


def identity(file: str) -> Identity:
    return identity_of(os.stat(file)) if os.path.exists(file) else 1


def errors() -> str:
    """Return the list of images that are not sorted."""
    return Path("out/_errors.csv").read_text()


def sort(*rows: Row, method: Method = "symbolic", read: Sequence[Origin] | None = None) -> str:
    with closing(Sorter("out", method)) as sorter:
        sorter.write(rows, read or origins(rows))
        sorter.finish()
        return sorter.report()


def found() -> dict[str, str]:
    """Return the files in the folder: path → content, which is the path of the original image."""
    files = (path for path in Path("out").rglob("*") if path.is_file() and not path.name.startswith("_"))
    return {str(path.relative_to("out")): os.fsdecode(path.read_bytes()) for path in files}


def digest(path: str) -> str:
    return hashlib.sha256(os.fsencode(Path(path).absolute())).hexdigest()[:12]
