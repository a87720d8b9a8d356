"""Write ``constraints.txt``: the versions with which everything is tested.

What is pinned is what is installed in this environment, for every dependency of every extra (``make
constraints`` makes a fresh one first). ``--oldest FILE`` writes the lower bounds of ``pyproject.toml``.
"""

import argparse
import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
TESTED = ROOT / "constraints.txt"
HEADER = """\
# The versions with which everything is tested; written by `make constraints`.
"""
# Come with a build of torch for one kind of machine, at the versions that this build names itself.
OF_A_BUILD = ("nvidia-", "cuda-", "triton")
# Extras that are not installed here: open_clip brings a torchvision that wants its own torch; trackers
# are mirrors of services, of which dev has those that work without one.
NOT_TESTED = ("open-clip", "trackers")


def declared() -> list[Requirement]:
    """Every requirement of ``pyproject.toml``, of the core and of all extras that are tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tested = [lines for extra, lines in extras.items() if extra not in NOT_TESTED]
    lines = [*project["dependencies"], *(line for extra in tested for line in extra)]
    return [r for r in map(Requirement, lines) if r.name != project["name"]]


def tested() -> dict[str, str]:
    """Name and version of what is declared and of all that it needs, as installed here."""
    found: dict[str, str] = {}
    waiting = [(r.name, extra) for r in declared() for extra in ("", *r.extras)]
    seen = set()
    while waiting:
        name, extra = waiting.pop()
        name = canonicalize_name(name)
        if (name, extra) in seen or name.startswith(OF_A_BUILD):
            continue
        seen.add((name, extra))
        package = importlib.metadata.distribution(name)
        found[name] = Version(package.version).public
        for line in package.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, each) for each in ("", *needed.extras)]
    return found


def oldest() -> dict[str, str]:
    """Name and version of the lower bounds; torch is the one that the Makefile installs."""
    found = {}
    for requirement in declared():
        bounds = [each.version for each in requirement.specifier if each.operator == ">="]
        if bounds and requirement.name != "torch":
            found[canonicalize_name(requirement.name)] = bounds[0]
    return found


def text_of(versions: dict[str, str], header: str = "") -> str:
    """A constraints file, sorted by name."""
    return header + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oldest", type=Path, help="write the lower bounds there instead")
    args = parser.parse_args()
    if args.oldest:
        args.oldest.write_text(text_of(oldest()))
    else:
        TESTED.write_text(text_of(tested(), HEADER))


if __name__ == "__main__":
    main()
