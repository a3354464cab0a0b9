"""The check tells a rewording from a change of code."""

import pytest

from scripts.same_code import plain

CODE = '''
"""Say what."""
def told(name):  # why
    """Tell it."""
    return f"no {name}" + "x"
'''


def test_other_texts_and_listed_names_are_the_same_code() -> None:
    reworded = (
        CODE.replace("Say what", "Describe")
        .replace("told", "reported")
        .replace("no {name}", "{name}?")
        .replace("# why", "")
    )
    assert plain(CODE, {"told": "reported"}) == plain(reworded)


@pytest.mark.parametrize(
    ("old", "new"),
    [("told", "reported"), ("{name}", "{name!r}"), ('+ "x"', "* 2"), ("return ", "yield "), ('+ "x"', "+ 1")],
)
def test_other_code_is_found(old: str, new: str) -> None:
    assert plain(CODE) != plain(CODE.replace(old, new))
