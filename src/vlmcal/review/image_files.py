"""Images of cases: files under one folder, and nothing outside of it."""

from pathlib import Path


def image_references(path: str, root: Path | None) -> tuple[str, ...]:
    """Reference relative to the root; nothing where it leads out of it or there is no such file."""
    if root is None:
        return ()
    found = image_file(root, path)
    return () if found is None else (found.relative_to(root.resolve()).as_posix(),)


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
