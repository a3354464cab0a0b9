"""A part of a document that a program writes, between two comments: `<!-- NAME -->` and `<!-- end of NAME -->`."""


def replaced(text: str, name: str, part: str) -> str:
    """Give a document's text with a new part in the place of the old.

    Args:
        text: the document's.
        name: the part's, as the comments have it.
        part: whole lines.

    Raises:
        ValueError: the comments are not there, once each and in their order.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or begin in rest or end in before + after:
        raise ValueError(f"the document has no {begin.strip()} with one {end} after it")
    return before + begin + part + end + after
