"""What came from outside, as text that neither a terminal nor a log takes for anything else."""


def printable(text: str) -> str:
    """Give a text with everything that a terminal would obey, or can't show, as escapes."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
