"""Compare the files of a wheel and an sdist with what the repository holds: ``check_release.py dist``."""

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What an sdist needs so that its tests pass, its site builds and its two commands work.
FOLDERS = ("benchmarks", "docs", "examples", "notebooks", "scripts", "src", "tests")
LEFT_OUT = ("_build", "generated", "__pycache__", "vlmcal.egg-info", ".ipynb_checkpoints")


def wanted() -> set[str]:
    """Files of the repository that belong into the sdist."""
    files = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not set(path.parts) & set(LEFT_OUT)
    }
    return files | {"Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}


def problems(folder: Path) -> list[str]:
    """What the two files in a folder lack, or hold though they should not."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    found = [f"{source.name}: {name} is missing" for name in sorted(wanted() - held)]
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        meta = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = packed.read(meta).decode()
    package = {name.removeprefix("src/") for name in wanted() if name.startswith("src/")}
    found += [f"{wheel.name}: {name} is missing" for name in sorted(package - names)]
    found += [
        f"{wheel.name}: {name} does not belong there"
        for name in sorted(names - package)
        if ".dist-info/" not in name
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if f"License-Expression: {project['license']}\n" not in metadata:
        found.append(f"{wheel.name}: the licence is not {project['license']}")
    return found


if __name__ == "__main__":
    listed = problems(Path(sys.argv[1]))
    print("\n".join(listed) or "wheel and sdist are complete")
    sys.exit(bool(listed))
