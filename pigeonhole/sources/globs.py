"""Match globs in bounded memory, and report unreadable folders: the standard library's globs do neither."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from pigeonhole.errors import SourceError
from pigeonhole.sources.folders import flattened, is_folder, unreadable, windows

#: The positions in a pattern that the names so far may have reached.
_States: TypeAlias = frozenset[int]
_START: _States = frozenset({0})


def has_magic(text: str) -> bool:
    """Return whether a text has wildcards."""
    return any(character in text for character in "*?[")


def split(source: str) -> tuple[str, tuple[str, ...]]:
    """Split a glob into the folder before its pattern (empty, or with a slash at its end) and the pattern's parts.

    A part that exists literally is a folder's name, even if it has brackets.
    """
    at = 0
    while (slash := source.find("/", at)) >= 0 and os.path.isdir(source[: slash + 1]):
        at = slash + 1
    parts = [part for part in source[at:].split("/") if part]
    return source[:at], tuple([*parts, "*"] if parts[-1:] == ["**"] else parts)


def prefixes(folder: str, path: str, pattern: Sequence[str]) -> Iterator[int]:
    """Yield the length, in names, of each leading part of an existing path below the folder that matches."""
    states, names = _spread(_START, pattern), path.split("/")
    for count, name in enumerate(names, 1):
        # Only `**` needs to know whether a name is a folder and no link; the last name may be anything.
        is_folder = count < len(names) and "**" in pattern and not os.path.islink(folder + "/".join(names[:count]))
        states = _step(states, pattern, name, is_folder)
        if len(pattern) in states:
            yield count


def matching(folder: str, pattern: Sequence[str]) -> Iterator[str]:
    """Yield each path that matches once; the paths in a folder come before those in its subfolders.

    Args:
        folder: the folder to begin with: empty, or with a slash at its end.
        pattern: the parts from `split`. `*` and `?` do not match hidden names; `**` matches any number of folders, and
            does not follow links.

    Raises:
        SourceError: a folder can't be read.
    """
    return flattened(_matching(folder, pattern, _spread(_START, pattern)))


def _matching(folder: str, pattern: Sequence[str], states: _States) -> Iterator[Any]:
    try:
        for window in _candidates(folder, {pattern[at] for at in states if at < len(pattern)}):
            deeper = []
            for name, is_folder in window:
                reached = _step(states, pattern, name, is_folder)
                if len(pattern) in reached:
                    yield folder + name
                if reached - {len(pattern)} and os.path.isdir(folder + name):
                    deeper.append((f"{folder}{name}/", reached))
            for below, reached in deeper:
                yield _matching(below, pattern, reached)
    except (FileNotFoundError, NotADirectoryError):
        return  # a missing folder matches nothing
    except OSError as exc:
        raise SourceError(unreadable(exc)) from exc


def _candidates(folder: str, heads: set[str]) -> Iterator[list[tuple[str, bool]]]:
    """Yield lists of (name, whether it is a folder and no link) for names that may match one of the heads."""
    listed = any(has_magic(head) for head in heads)
    if listed:
        for window in windows(folder or "."):
            yield [(entry.name, is_folder(entry, links=False)) for entry in window]
    # Names without wildcards are checked directly, without a listing; and no listing has `.` and `..`.
    asked = heads & {".", ".."} if listed else heads
    yield [(name, False) for name in sorted(asked) if os.path.lexists(folder + name)]


def _step(states: _States, pattern: Sequence[str], name: str, is_folder: bool) -> _States:
    """Return the positions in a pattern that are reached from `states` by a name."""
    ahead = [at for at in states if at < len(pattern)]
    reached = {at + 1 for at in ahead if _part_matches(name, pattern[at])}
    if is_folder and not name.startswith("."):
        reached.update(at for at in ahead if pattern[at] == "**")
    return _spread(frozenset(reached), pattern)


def _spread(states: _States, pattern: Sequence[str]) -> _States:
    """Return positions with those added that need no name, since `**` also matches no folder."""
    spread = set(states)
    for at in states:
        while at < len(pattern) and pattern[at] == "**":
            at += 1
            spread.add(at)
    return frozenset(spread)


def _part_matches(name: str, part: str) -> bool:
    if not has_magic(part):
        return name == part
    return part != "**" and (part.startswith(".") or not name.startswith(".")) and fnmatchcase(name, part)
