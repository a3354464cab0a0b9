"""The name and version of the installed distribution."""

import os
from importlib.metadata import version

#: The name on the package index, where `pigeonhole` is another project. A test checks that pyproject.toml has it, too.
DISTRIBUTION = "pigeonhole-images"
VERSION = version(DISTRIBUTION)


def install_hint(extra: str) -> str:
    """Return the command that installs an optional part of Pigeonhole, into the checkout if this is one.

    Args:
        extra: Its name in `[project.optional-dependencies]` of pyproject.toml, such as "local".
    """
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.isfile(os.path.join(folder, "pyproject.toml")):
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    checkout = "." if os.path.realpath(folder) == os.getcwd() else folder
    return f"pip install -e '{checkout}[{extra}]'"
