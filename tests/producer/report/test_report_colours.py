"""The colours of the report's style sheet have the contrast that WCAG AA requires."""

import json
import re
from itertools import pairwise

import pytest

from tests.conftest import ROOT


def _colours() -> dict[str, tuple[str, str]]:
    """Return the name of each colour → its light and its dark value."""
    style = (ROOT / "producer" / "report" / "assets" / "report.css").read_text()
    found = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", style)
    return {name: (light, dark) for name, light, dark in found}


def _luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb by WCAG 2.2."""
    channels = [int(colour[at:end], 16) / 255 for at, end in pairwise((1, 3, 5, 7))]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


#: Foreground and background, and the least contrast of WCAG AA: 4.5 for text, 3 for other visible parts.
CONTRASTS = [
    *((text, back, 4.5) for text in ("ink", "muted", "accent") for back in ("paper", "card", "sunk")),
    *((text, "card", 4.5) for text in ("doubt", "error", "good")),
    *((text, "sunk", 4.5) for text in ("good",)),
    ("on-accent", "accent", 4.5),
    ("doubt", "doubt-back", 4.5),
    *(("edge", back, 3.0) for back in ("paper", "card")),
    *((mark, "card", 3.0) for mark in ("accent", "doubt-fill")),
    ("doubt-fill", "paper", 3.0),
]


def _mixed(colour: str, other: str, share: float) -> str:
    """Return `share` of one colour mixed with another, as `color-mix(in srgb, …)` does."""
    pairs = ((int(colour[at:end], 16), int(other[at:end], 16)) for at, end in pairwise((1, 3, 5, 7)))
    return "#" + "".join(f"{round(share * one + (1 - share) * two):02x}" for one, two in pairs)


def _contrast(one: str, other: str) -> float:
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_counts_in_the_confusion_matrix_are_readable_on_the_darkest_shade(theme: int) -> None:
    script = (ROOT / "producer" / "report" / "assets" / "rows" / "truth.js").read_text()
    (shades,) = re.findall(r"const SHADES = (\[.*\]);", script)
    colours = {name: pair[theme] for name, pair in _colours().items()}
    shade = _mixed(colours["doubt-fill"], colours["card"], max(json.loads(shades)) / 100)
    assert _contrast(colours["ink"], shade) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "back", "least"), CONTRASTS)
def test_contrast_is_that_of_wcag_aa(text: str, back: str, least: float, theme: int) -> None:
    colours = _colours()
    assert _contrast(colours[text][theme], colours[back][theme]) >= least
