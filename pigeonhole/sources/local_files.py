"""The source of image files that are not in archives."""

import os
from collections.abc import Iterator

from pigeonhole.sources.beneath import open_beneath
from pigeonhole.sources.reference import Location, Reference
from pigeonhole.sources.source import Opened, Source, check_regular, check_size, identity_of


class LocalFiles(Source):
    """Files below the image root; see `Source`."""

    scheme = "file"

    def list(self, argument: str) -> Iterator[Reference]:
        """Yield the reference to one file, whether it exists or not."""
        root = self.root.below_or_absolute(argument)
        # The common end of both becomes `path`, so that a list's entries share `shown` and `root`.
        common = len(os.path.commonprefix((argument[::-1], root[::-1])))  # noqa: RUF071  # characters are meant
        at = len(argument) - common
        yield Reference(self.scheme, argument[:at], root[: len(root) - common], argument[at:])

    def open(self, location: Location) -> Opened:
        """Read a file; see `Source.open`."""
        handle = open_beneath(self.root.path, location.root + location.path)
        try:
            begun, status = self.clock(), os.fstat(handle)
            check_regular(status)
            size = status.st_size
            check_size(size, self.max_bytes)
            # At most one byte more than its size, so that a growing file can't fill the memory.
            data = os.read(handle, size + 1)
            while len(data) != size and (part := os.read(handle, size + 1 - len(data))):
                data += part  # a network file system may return a file in parts
            return Opened(data, identity_of(status, begun))
        finally:
            os.close(handle)
