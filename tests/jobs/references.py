"""References to images without files."""

from collections.abc import Iterator

from pigeonhole.sources.reference import Reference


def references(count: int, size: int = 0) -> Iterator[Reference]:
    return (Reference("file", "in/", "r/in/", f"{number}.png", size=size) for number in range(count))
