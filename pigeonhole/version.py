"""The name and version of the installed distribution."""

from importlib.metadata import version

#: The name on the package index, where `pigeonhole` is another project. A test compares it with pyproject.toml.
DISTRIBUTION = "pigeonhole-images"
VERSION = version(DISTRIBUTION)


def install_hint(extra: str) -> str:
    """Return the command that installs an extra.

    Args:
        extra: A name in `[project.optional-dependencies]` of pyproject.toml, such as "local".
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"
