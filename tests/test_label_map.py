"""`--label-map FILE` reads JSON and CSV, and refuses other files with a clear message."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import UsageError
from pigeonhole.label_map import LabelMap

TEXTS = {"n01440764": "tench", "n01443537": "goldfish, Carassius auratus", "a": "tench"}


def write(folder: Path, data: bytes, name: str = "map.txt") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_a_label_map_is_a_json_object_or_csv_whatever_its_file_name(tmp_path: Path) -> None:
    lines = b'n01440764,tench\r\n"n01443537","goldfish, Carassius auratus"\r\n\r\na,tench\r\n'
    forms = [json.dumps(TEXTS).encode(), b"\xef\xbb\xbf" + json.dumps(TEXTS).encode(), lines, b"class,label\n" + lines]
    read = [LabelMap.read(write(tmp_path, data, f"{at}.txt")) for at, data in enumerate(forms)]
    assert all(one.texts == TEXTS for one in read)
    assert len({one.digest for one in read}) == 1
    assert LabelMap.of(TEXTS).digest == read[0].digest
    assert LabelMap.of(TEXTS | {"a": "fish"}).digest != read[0].digest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty: add a class"),
        (b"{}", "is empty"),
        (b"class,label\n", "is empty"),
        (b'{"a": 1}', "1 for 'a': give each class one text"),
        (b'{"a": ["b", "c"]}', r"has \['b', 'c'\] for 'a'"),
        (b'{"a": ""}', "has '' for 'a'"),
        (b"a,\n", "has '' for 'a'"),
        (b'{"a": "b", "a": "c"}', "two texts for 'a'"),
        (b"a,b\na,c\n", "has two texts for 'a'"),
        (b'{"a": "\\ud800"}', "Unicode"),
        (b'{"a": "b"', "is not JSON"),
        (b'{"a": ' + b"[" * 100_000, "is not JSON"),
        (b"a,b\na b c\n", "1 columns in line 2"),
        (b'a,"b\n', "JSON object nor CSV"),
        (b"caf\xe9,b\n", "save it as UTF-8"),
    ],
)
def test_an_invalid_label_map_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=rf"'.*map\.txt' .*{message}"):
        LabelMap.read(write(tmp_path, data))


def test_a_missing_label_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.json.*: No such file or directory"):
        LabelMap.read(tmp_path / "none.json")
    with pytest.raises(UsageError, match="Is a directory"):
        LabelMap.read(tmp_path)


def test_a_class_that_the_model_does_not_have_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"'m.csv' .*'tensh', and 1 more, .*'tench'\?"):
        LabelMap({"tensh": "x", "zzz": "y"}, "m.csv").names(("tench", "goldfish"))
    with pytest.raises(UsageError, match="0, 1, 2, 3, 4 and 5 more"):
        LabelMap({"tench": "x"}).names(tuple("0123456789"))


@given(st.dictionaries(st.text(max_size=3), st.text(min_size=1, max_size=3), min_size=1), st.data())
def test_each_class_gets_its_text_or_keeps_its_name(texts: dict[str, str], data: st.DataObject) -> None:
    classes = tuple(data.draw(st.permutations([*texts, "a further class"])))
    assert LabelMap(texts).names(classes) == tuple(texts.get(name, name) for name in classes)
