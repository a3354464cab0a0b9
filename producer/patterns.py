"""Globs that stream: the standard library's hold a whole folder's names at once."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import chain, islice

from worker.contract.errors import SourceError

#: A folder's names are sorted within windows of this many: in order for nearly everyone, in bounded memory for all.
WINDOW = 65_536


def has_magic(text: str) -> bool:
    """Tell whether a text is a pattern rather than a path."""
    return any(character in text for character in "*?[")


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether a path matches a pattern, both split at their slashes; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches(parts[at:], pattern[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def matching(folder: str, pattern: list[str]) -> Iterator[str]:
    """Stream the paths that match.

    Args:
        folder: where to begin: empty, or with a slash at its end.
        pattern: split at its slashes. `*` and `?` leave hidden names out, and `**` does not follow links.

    Raises:
        SourceError: a folder on the way can't be read.
    """
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        yield from matching(folder, rest or ["*"])
        for name in _names(folder, "*", folders_only=True, follow_links=False):
            yield from matching(f"{folder}{name}/", pattern)
    elif has_magic(head):
        for name in _names(folder, head, folders_only=bool(rest)):
            yield from matching(f"{folder}{name}/", rest) if rest else (folder + name,)
    elif rest:
        yield from matching(f"{folder}{head}/", rest)
    elif os.path.lexists(folder + head):
        yield folder + head


def windows(folder: str) -> Iterator[list[os.DirEntry[str]]]:
    """Give a folder's entries, a sorted window at a time; OSError where it can't be read."""
    with os.scandir(folder) as entries:
        while window := sorted(islice(entries, WINDOW), key=lambda entry: entry.name):
            yield window


def _names(folder: str, pattern: str, folders_only: bool, follow_links: bool = True) -> Iterator[str]:
    try:
        for entry in chain.from_iterable(windows(folder or ".")):
            hidden = entry.name.startswith(".") and not pattern.startswith(".")
            if hidden or not fnmatchcase(entry.name, pattern):
                continue
            if not folders_only or entry.is_dir(follow_symlinks=follow_links):
                yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return  # a pattern's folder that is not there matches nothing
    except OSError as exc:
        raise SourceError(f"the folder {folder!r} can't be read: {exc.strerror}") from exc
