"""The sources, by scheme and by the endings of local files. To add one, add its class here."""

from collections.abc import Sequence

from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.memory import ImagesInMemory
from pigeonhole.sources.source import Source
from pigeonhole.sources.tar_archives import TarArchives
from pigeonhole.sources.zip_archives import ZipArchives

SOURCES: list[type[Source]] = [ZipArchives, TarArchives, LocalFiles, ImagesInMemory]


def by_scheme(scheme: str) -> type[Source] | None:
    """Return the source of a scheme, or None."""
    return next((kind for kind in SOURCES if kind.scheme == scheme), None)


def by_ending(path: str) -> type[Source] | None:
    """Return the source that lists a local file of that name on its own, or None."""
    name = path.lower()
    return next((kind for kind in SOURCES if kind.endings and name.endswith(kind.endings)), None)


def named(argument: str) -> type[Source] | None:
    """Return the source that a SOURCE `scheme:…` names, or None: then it is a local path."""
    scheme, colon, _ = argument.partition(":")
    kind = by_scheme(scheme) if colon else None
    # A local file has no scheme in front: `zip:x` is a file's name, as it always was.
    return None if kind is None or kind is LocalFiles or kind.endings else kind


def endings() -> Sequence[str]:
    """Return the endings of local files that have a source of their own."""
    return [ending for kind in SOURCES for ending in kind.endings]
