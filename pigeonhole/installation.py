"""A check that Python imports this installation's packages, not another project's packages of the same names."""

import importlib.util
import os

#: The program's other packages. Their names are common, so another project may have packages of the same names.
PACKAGES = ("producer", "worker", "training")


def foreign_package() -> str | None:
    """Return a message if another project's package hides one of ours; None: all is well."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in PACKAGES:
        ours = os.path.join(folder, name, "__init__.py")
        spec = importlib.util.find_spec(name)
        found = spec.origin if spec and spec.origin else "nothing"
        if os.path.realpath(found) != os.path.realpath(ours):
            return (
                f"Python finds {found} for the package {name!r}, which must be {ours}: remove the folder of the first "
                "from PYTHONPATH"
            )
    return None
