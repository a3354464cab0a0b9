"""Text helpers: untrusted text made safe to print, counts and times in words."""

import time


def printable(text: str) -> str:
    """Return a text in which everything that a terminal would obey, or can't show, is an escape."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things in words: `1 row`, `2,048 rows`, `2 batches` where that is the plural."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def span(seconds: float) -> str:
    """Return a length of time in words: `90 s`, `5 min`, `3 h`, `2 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def timestamp(seconds: float) -> str:
    """Format a time since the epoch, in local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def model_identity(name: str, digest: str, precision: str) -> str:
    """Return what rows carry of a model: its name, the first 12 digits of its digest, and its precision if not f32.

    Args:
        name: The model's.
        digest: Of its file, in hexadecimal.
        precision: In which the network is computed: "f32", "bf16".
    """
    exact = f"{name}@{digest[:12]}"
    return exact if precision == "f32" else f"{exact}+{precision}"
