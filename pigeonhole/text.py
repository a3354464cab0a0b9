"""Text helpers: untrusted text made safe to print, counts and times in words."""

import time


def printable(text: str) -> str:
    """Return a text in which everything that a terminal would obey, or can't show, is an escape."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 row`, `2,048 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def timestamp(seconds: float) -> str:
    """Format a time since the epoch, in local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def minute(seconds: float) -> str:
    """Format a time since the epoch, in local time, to the minute."""
    return timestamp(seconds)[: -len(":00")]
