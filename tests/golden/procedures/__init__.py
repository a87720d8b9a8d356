"""Adapters from golden procedure cases to our functions: one module per group of procedures.

Each module has ``ADAPTERS``: start of a case's file name -> function(case), which compares and returns the
starts of the names of tensors that are inputs. The longest start that fits is used.
"""

import importlib
import pkgutil


def all_adapters():
    found = {}
    for module in pkgutil.iter_modules(__path__):
        found.update(getattr(importlib.import_module(f"{__name__}.{module.name}"), "ADAPTERS", {}))
    return found


def adapter_for(stem, method):
    """The adapter of a case by its file name, else by its method's name, or None."""
    known = all_adapters()
    for name in (stem.lower(), method.lower()):
        fitting = [start for start in known if name.startswith(start)]
        if fitting:
            return known[max(fitting, key=len)]
    return None
