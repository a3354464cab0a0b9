"""A registry of classes by name, which are imported on first use."""

from importlib import import_module
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Registry(dict[str, str], Generic[T]):
    """Name → "module:Class". To register a class, add an entry; listing the names imports no class."""

    def load(self, name: str) -> type[T]:
        """Import and return the class that is registered under a name."""
        module, _, attribute = self[name].partition(":")
        return cast(type[T], getattr(import_module(module), attribute))
