"""Image files of their own: the source of everything that no other source lists."""

import os
from collections.abc import Iterator

from pigeonhole.sources.beneath import open_beneath
from pigeonhole.sources.reference import Location, Reference
from pigeonhole.sources.source import Opened, Source, check_regular, check_size, identity_of


class LocalFiles(Source):
    """Files below the image root; see `Source`."""

    scheme = "file"

    def list(self, argument: str) -> Iterator[Reference]:
        """Return the reference to one file, whether it exists or not."""
        root = self.root.below_or_absolute(argument)
        # Split where both begin to be the same, so that a list's entries share their beginnings.
        common = len(os.path.commonprefix((argument[::-1], root[::-1])))  # noqa: RUF071  # characters are what is meant
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
            # One byte more than it should have, so that a file which grows meanwhile can't fill the memory.
            data = os.read(handle, size + 1)
            while len(data) != size and (part := os.read(handle, size + 1 - len(data))):
                data += part  # a network file system may give a file in parts
            return Opened(data, identity_of(status, begun))
        finally:
            os.close(handle)
