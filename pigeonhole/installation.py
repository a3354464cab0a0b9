"""This installation's own packages: whether Python finds them by their names, or another project's."""

import importlib.util
import os

#: What the program imports beside this package; another project may well have packages of these names.
PACKAGES = ("producer", "worker", "training")


def foreign_package() -> str | None:
    """Return what is wrong where another package hides one of ours; None where nothing is."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in PACKAGES:
        ours = os.path.join(folder, name, "__init__.py")
        spec = importlib.util.find_spec(name)
        found = spec.origin if spec and spec.origin else "nothing"
        if os.path.realpath(found) != os.path.realpath(ours):
            return (
                f"Python finds {found} for the package {name!r}, which must be {ours}: take the folder of the first "
                "out of PYTHONPATH"
            )
    return None
