"""Classes by name, imported on first use."""

from importlib import import_module
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Registry(dict[str, str], Generic[T]):
    """Name → "module:Class"; an entry more registers a class, and listing the names imports none."""

    def load(self, name: str) -> type[T]:
        """Import and return the class of a registered name."""
        module, _, attribute = self[name].partition(":")
        return cast(type[T], getattr(import_module(module), attribute))
