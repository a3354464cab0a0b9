"""The check distinguishes a rewording from a change of code."""

import pytest

from scripts.same_code import plain

CODE = '''
"""Describe."""
def show(name):  # why
    """Show it."""
    return f"no {name}" + "x"
'''


def test_reworded_texts_and_listed_renames_are_the_same_code() -> None:
    reworded = (
        CODE.replace("Describe", "Explain")
        .replace("show", "report")
        .replace("no {name}", "{name}?")
        .replace("# why", "")
    )
    assert plain(CODE, {"show": "report"}) == plain(reworded)


@pytest.mark.parametrize(
    ("old", "new"),
    [("show", "report"), ("{name}", "{name!r}"), ('+ "x"', "* 2"), ("return ", "yield "), ('+ "x"', "+ 1")],
)
def test_changed_code_is_found(old: str, new: str) -> None:
    assert plain(CODE) != plain(CODE.replace(old, new))
