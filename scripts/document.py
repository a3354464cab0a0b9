"""Replace a generated part of a document, between two comments: `<!-- NAME -->` and `<!-- end of NAME -->`."""


def replaced(text: str, name: str, part: str) -> str:
    """Return a document's text with a new part in place of the old one.

    Args:
        text: the document's text.
        name: the part's name in the comments.
        part: the new part, as whole lines.

    Raises:
        ValueError: a comment is missing, is there twice, or the two are in the wrong order.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or begin in rest or end in before + after:
        raise ValueError(f"the document must have {begin.strip()} once, and {end} once after it")
    return before + begin + part + end + after
