"""Public names of a package, loaded on first use: one mechanism for every package, typed by its stub.

A package's names stand in one place, its ``__init__.pyi``, one ``from module import name as name`` a line,
where type checkers read them and where this module reads them at run time. What the modules of a registry's
folder register is written there by ``scripts/write_faces.py``, so that adding a file edits no list by hand.
"""

import importlib
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmcal.extras import naming_extras

_LINE = re.compile(r"^from (\S+) import (\w+) as \2$", re.MULTILINE)


class Face(ModuleType):
    """A package whose public names are imported on first use.

    Where a module and a public name are called alike (``vlmcal.metrics.brier`` holds the function ``brier``),
    the attribute is always the public name, in whatever order things were imported; the module is still
    there for ``from vlmcal.metrics.brier import brier``.
    """

    def __getattr__(self, name: str) -> Any:
        names = public_names(self.__name__)
        if name == "__all__":
            return sorted(names)
        if name not in names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module = names[name]
        if module == self.__name__:
            return importlib.import_module(f"{module}.{name}")
        with naming_extras():
            value = getattr(importlib.import_module(module), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing a module binds it in its package; a public name of the same name goes before it.
        if isinstance(value, ModuleType):
            owner = public_names(self.__name__).get(name, self.__name__)
            if owner != self.__name__:
                return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *public_names(self.__name__)})


@cache
def public_names(package: str) -> dict[str, str]:
    """Public name -> module that defines it, from the package's stub.

    Example:
        >>> public_names("vlmcal.metrics")["ece"]
        'vlmcal.metrics.expected_calibration_error'
    """
    file = importlib.import_module(package).__file__
    assert file is not None
    stub = Path(file).with_suffix(".pyi").read_text(encoding="utf-8")
    return {name: module for module, name in _LINE.findall(stub)}


def lazy(package: str) -> None:
    """Give ``package`` the names of its stub; called once, in its ``__init__.py``."""
    sys.modules[package].__class__ = Face
