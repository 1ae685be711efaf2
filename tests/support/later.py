"""Modules that are imported at their first use, so that collecting the tests stays fast."""

from importlib import import_module
from typing import Any


class Later:
    """Stands in for a module until one of its names is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # as pytest asks of every name in a file of tests
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
