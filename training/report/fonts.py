"""Fonts for text of any script in matplotlib's figures, as far as this machine has them."""

from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

_FIRST = "DejaVu Sans"  # included in matplotlib
_BOXES = "Last Resort"  # included too: it draws a box for every character
_LONGEST = 24  # characters of a name in a figure


def short(name: str, longest: int = _LONGEST) -> str:
    """Return a name in one line, shortened in its middle if it is too long for a figure."""
    name = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    half = longest // 2
    return name if len(name) <= longest else f"{name[: half - 1]}…{name[-half:]}"


def drawable(name: str, number: int, longest: int = _LONGEST) -> str:
    """Return a shortened name, or its number if the fonts lack some of its characters."""
    name = short(name, longest)
    return name if all(_family(character) for character in name) else f"#{number}"


def families(names: Iterable[str]) -> list[str]:
    """Return the fonts that are needed for these names, in matplotlib's order of preference."""
    found = {_family(character) for character in sorted({*"".join(map(short, names))})}
    return [_FIRST, *sorted(family for family in found if family and family != _FIRST)]


@cache
def _family(character: str) -> str | None:
    """Return the first font that has a character; None if there is none."""
    return next((name for name, path in _fonts() if ord(character) in _characters(path)), None)


@cache
def _fonts() -> tuple[tuple[str, str], ...]:
    """Return family and path of each upright, regular font; matplotlib's own is first."""
    regular = {
        (font.name, font.fname)
        for font in fontManager.ttflist
        if not font.name.startswith(_BOXES) and font.style == "normal" and font.weight in (400, "normal", "regular")
    }
    return tuple(sorted(regular, key=lambda font: (font[0] != _FIRST, font)))


@cache
def _characters(path: str) -> frozenset[int]:
    try:
        font = FT2Font(path)
    except (RuntimeError, OSError):
        return frozenset()  # matplotlib lists it but can't use it, such as a bitmap font
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
