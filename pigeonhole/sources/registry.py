"""The registry of sources, by scheme and by the endings of local files. To add one, add its class here."""

from collections.abc import Sequence

from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.members.tar_archives import TarArchives
from pigeonhole.sources.members.zip_archives import ZipArchives
from pigeonhole.sources.memory import ImagesInMemory
from pigeonhole.sources.source import Source

SOURCES: list[type[Source]] = [ZipArchives, TarArchives, LocalFiles, ImagesInMemory]


def by_scheme(scheme: str) -> type[Source] | None:
    """Return the source for a scheme, or None."""
    return next((kind for kind in SOURCES if kind.scheme == scheme), None)


def by_ending(path: str) -> type[Source] | None:
    """Return the source for a local file by its ending, or None."""
    name = path.lower()
    return next((kind for kind in SOURCES if kind.endings and name.endswith(kind.endings)), None)


def named(argument: str) -> type[Source] | None:
    """Return the source for a SOURCE `scheme:…`; None: it is a local path."""
    scheme, colon, _ = argument.partition(":")
    kind = by_scheme(scheme) if colon else None
    # Sources of local files are not named by scheme: `zip:x` is the name of a file.
    return None if kind is None or kind is LocalFiles or kind.endings else kind


def endings() -> Sequence[str]:
    """Return all endings of local files for which there is a source."""
    return [ending for kind in SOURCES for ending in kind.endings]
