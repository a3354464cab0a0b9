"""Encoded batches and answers, valid and changed."""

import base64
import json
import os
import zlib
from typing import Any

from hypothesis import strategies as st

from pigeonhole.ledger.wire.messages import VERSION, Group
from pigeonhole.sources.reference import Location

#: All names that a file system may have: any bytes but NUL, decoded as Python does.
paths = st.binary(max_size=30).map(lambda name: os.fsdecode(name.replace(b"\0", b"")))
numbers = st.integers(0, 2**63 - 1)
places = st.lists(numbers, min_size=1, max_size=6).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    names = tuple(draw(st.lists(paths, max_size=5)))
    member_places = draw(st.lists(places, min_size=len(names), max_size=len(names))) if draw(st.booleans()) else ()
    return Group(draw(texts), draw(paths), draw(paths), names, tuple(member_places))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def packed(body: object, separators: tuple[str, str] | None = None) -> bytes:
    return zlib.compress(json.dumps(body, separators=separators).encode())


def column(*numbers: int, size: int = 1) -> str:
    return base64.b64encode(b"".join(number.to_bytes(size, "little") for number in numbers)).decode()


#: 900,000 and 0 millionths: their lowest bytes, the next, and the third.
FAIR_PPM = [column(0xA0, 0), column(0xBB, 0), column(0x0D, 0)]


def fair_batch(*groups: object, **changes: object) -> dict[str, object]:
    return {"v": VERSION, "top": 3, "groups": groups} | changes


def fair_answers(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"v": VERSION, "model": "m@1", "labels": ["0", "1"], "images": 2, "top": 1}
    body |= {"best": [column(1, 0)], "ppm": FAIR_PPM, "review": [0], "errors": [[1, "missing", "no such file"]]}
    body |= {"runtime": "torch/f32", "identities": [column(7, 0)], "batch": "0" * 32}
    return body | changes


def file_of(location: Location) -> bytes:
    return os.fsencode(location.root + location.path)
