"""`--label-map FILE` reads JSON and CSV, and refuses other files with a clear message."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import UsageError
from pigeonhole.label_map import LabelMap

TEXTS = {"n01440764": "tench", "n01443537": "goldfish, Carassius auratus", "a": "tench"}


def written(folder: Path, data: bytes, name: str = "map.txt") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_it_is_a_json_object_or_csv_of_two_columns_whatever_it_is_called(tmp_path: Path) -> None:
    lines = b'n01440764,tench\r\n"n01443537","goldfish, Carassius auratus"\r\n\r\na,tench\r\n'
    forms = [json.dumps(TEXTS).encode(), b"\xef\xbb\xbf" + json.dumps(TEXTS).encode(), lines, b"class,label\n" + lines]
    read = [LabelMap.read(written(tmp_path, data, f"{at}.txt")) for at, data in enumerate(forms)]
    assert all(one.texts == TEXTS for one in read)
    assert len({one.digest for one in read}) == 1
    assert LabelMap.of(TEXTS).digest == read[0].digest
    assert LabelMap.of(TEXTS | {"a": "fish"}).digest != read[0].digest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: add a class and its text"),
        (b"{}", "is empty"),
        (b"class,label\n", "is empty"),
        (b'{"a": 1}', "has 1 for 'a': give each class one text"),
        (b'{"a": ["b", "c"]}', r"has \['b', 'c'\] for 'a'"),
        (b'{"a": ""}', "has '' for 'a'"),
        (b"a,\n", "has '' for 'a'"),
        (b'{"a": "b", "a": "c"}', "has two texts for 'a': give it one"),
        (b"a,b\na,c\n", "has two texts for 'a'"),
        (b'{"a": "\\ud800"}', "that is not valid Unicode"),
        (b'{"a": "b"', "is not JSON"),
        (b'{"a": ' + b"[" * 100_000, "is not JSON"),
        (b"a,b\na b c\n", "has 1 columns in line 2, but needs two"),
        (b'a,"b\n', "is neither a JSON object nor CSV"),
        (b"caf\xe9,b\n", "is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_another_file_is_refused_in_words(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=rf"^the label map '.*map\.txt' .*{message}"):
        LabelMap.read(written(tmp_path, data))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read: No such file or directory"):
        LabelMap.read(tmp_path / "none.json")
    with pytest.raises(UsageError, match="can't be read: Is a directory"):
        LabelMap.read(tmp_path)


def test_a_class_that_the_model_does_not_have_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"names 'tensh', and 1 more, .* did you mean 'tench'\?") as error:
        LabelMap({"tensh": "x", "zzz": "y"}, "m.csv").names(("tench", "goldfish"))
    assert "'m.csv'" in str(error.value)
    with pytest.raises(UsageError, match="; it has 0, 1, 2, 3, 4 and 5 more"):
        LabelMap({"tench": "x"}).names(tuple("0123456789"))


@given(st.dictionaries(st.text(max_size=3), st.text(min_size=1, max_size=3), min_size=1), st.data())
def test_each_class_has_its_text_or_keeps_its_name(texts: dict[str, str], data: st.DataObject) -> None:
    classes = tuple(data.draw(st.permutations([*texts, "a further class"])))
    assert LabelMap(texts).names(classes) == tuple(texts.get(name, name) for name in classes)
