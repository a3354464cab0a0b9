"""Errors of SOURCEs."""

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root


def refused(*sources: str, root: str = "/") -> str:
    with pytest.raises(SourceError) as error:
        expand(sources, Root(root))
    return str(error.value)
