"""Images of cases: files under one folder, and nothing outside of it."""

from pathlib import Path


def image_references(path: str, root: Path | None, *, named: bool = False) -> tuple[str, ...]:
    """Reference relative to the root; nothing where it leads out of it.

    Where there is no such file, one that the source names stays, so that the page says that it is missing.
    """
    if root is None:
        return ()
    found = image_file(root, path)
    if found is not None:
        return (found.relative_to(root.resolve()).as_posix(),)
    place = Path(path)
    inside = path and not place.is_absolute() and ".." not in place.parts
    return (place.as_posix(),) if named and inside else ()


def image_file(root: Path, reference: str) -> Path | None:
    """The file that a reference means, if it is one and lies under the root also through links.

    Example:
        >>> image_file(Path("/usr"), "../etc/passwd") is None
        True
    """
    try:
        base = root.resolve()
        found = (base / reference).resolve()
        return found if found.is_relative_to(base) and found.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None
