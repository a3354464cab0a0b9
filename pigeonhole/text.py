"""Text for people: untrusted text made safe to print, counts and times in words."""

import time
from collections.abc import Iterable


def printable(text: str) -> str:
    """Return a text that is safe to print: control and unprintable characters become escapes."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def similar(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of some names, for "did you mean …?"; None if no name is similar."""
    import difflib  # only errors need it

    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number and a noun, in the plural if needed: `1 row`, `2,048 rows`, `2 batches` with that plural."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def span(seconds: float, units: tuple[str, str, str, str] = (" s", " min", " h", " days")) -> str:
    """Return a duration in words: `90 s`, `5 min`, `3 h`, `2 days`.

    Args:
        seconds: the duration.
        units: the texts after a number of seconds, minutes, hours and days.
    """
    second, minute, hour, day = units
    if seconds < 120:
        return f"{seconds:.0f}{second}"
    if seconds < 7200:
        return f"{seconds / 60:.0f}{minute}"
    return f"{seconds / 3600:.0f}{hour}" if seconds < 172_800 else f"{seconds / 86_400:.0f}{day}"


def timestamp(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as local date and time to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def model_identity(name: str, digest: str, precision: str) -> str:
    """Return the text that names a model in rows: `digits@0123456789ab`, or `digits@0123456789ab+bf16`.

    Args:
        name: The model's name.
        digest: The digest of its file, in hexadecimal; the first 12 digits are shown.
        precision: The precision of the network, such as "bf16"; "f32" is not shown.
    """
    exact = f"{name}@{digest[:12]}"
    return exact if precision == "f32" else f"{exact}+{precision}"
