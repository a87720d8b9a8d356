"""Write into each package's ``__init__.pyi`` the names that its registry holds.

python scripts/write_faces.py            # write the stubs
python scripts/write_faces.py --check    # fail if a stub is not current

What stands above the marker is written by hand; what stands below it comes from the registry, one line for
each class or function that a module of the folder registers.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.conformal.base import CONFORMAL
from vlmcal.elicit.base import ELICITORS
from vlmcal.elicit.judges.base import JUDGES
from vlmcal.findings.base import FINDING_METHODS
from vlmcal.learners.base import LEARNERS
from vlmcal.metrics.base import METRICS
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.registry import Registry
from vlmcal.test_time.base import ADAPTATIONS

SOURCE = Path(__file__).parent.parent / "src"
REGISTRIES = (
    ADAPTATIONS, CALIBRATORS, CONFORMAL, ELICITORS, FINDING_METHODS, JUDGES, LEARNERS, METRICS, OBJECTIVES,
)  # fmt: skip
MARKER = "# Registered in this folder; written by scripts/write_faces.py."


def stubs() -> dict[Path, str]:
    """Path of each stub -> the text it should have."""
    return {stub_of(registry): text_of(registry) for registry in REGISTRIES}


def stub_of(registry: Registry) -> Path:
    """The stub of the package that a registry looks into."""
    return SOURCE.joinpath(*registry.package.split("."), "__init__.pyi")


def text_of(registry: Registry) -> str:
    """The hand-written part of a stub, the marker, and a line for each registered name."""
    by_hand = stub_of(registry).read_text(encoding="utf-8").split(MARKER)[0].rstrip()
    lines = sorted(
        {f"from {module} import {name} as {name}" for module, name in registered(registry)}
    )
    return "\n".join([by_hand, "", MARKER, *lines]).lstrip() + "\n"


def registered(registry: Registry) -> Iterator[tuple[str, str]]:
    """Pairs (module, name) of what the modules of the package itself register.

    Plug-ins from elsewhere are no part of the package, and entries made in a loop have no name to import.
    """
    for key in registry.names():
        entry = registry.get(key)
        named = entry if hasattr(entry, "__qualname__") else type(entry)
        module, name = named.__module__, named.__qualname__
        inside = module.startswith(f"{registry.package}.")
        if inside and getattr(importlib.import_module(module), name, None) is named:
            yield module, name


def main() -> int:
    """Write the stubs, or with ``--check`` name those that are not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path, text in stubs().items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(stubs()[path], encoding="utf-8")
        print(
            path.relative_to(SOURCE.parent),
            "is not current; run `make docs`" if check else "written",
        )
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
