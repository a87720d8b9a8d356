"""Python in which some modules are not there, whatever is installed, in a process of its own."""

import subprocess
import sys

# A finder that knows none of them; what start-up imported already is forgotten.
NOT_INSTALLED = """
class Hidden:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
for name in [name for name in sys.modules if name.partition(".")[0] in ABSENT]:
    del sys.modules[name]
"""
# Refused to some packages only: others look at the operating system and import what it must have.
NOT_FOR_THEM = """
import builtins
found = builtins.__import__

def refusing(name, globals=None, *rest, **more):
    importer = (globals or {}).get("__name__", "").partition(".")[0]
    if importer in IMPORTERS and name in ABSENT:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return found(name, globals, *rest, **more)

builtins.__import__ = refusing
"""


def python_without(absent, code, *arguments, importers=(), **options):
    """The completed process of ``code`` where ``absent`` cannot be imported (by ``importers``)."""
    hide = NOT_FOR_THEM if importers else NOT_INSTALLED
    text = f"import sys\nABSENT, IMPORTERS = {sorted(absent)}, {sorted(importers)}\n{hide}\n{code}"
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def vlmcal_without(absent, *arguments, **options):
    """The completed process of a command where ``absent`` cannot be imported."""
    return python_without(
        absent, "from vlmcal.cli import main\nsys.exit(main())", *arguments, **options
    )
