"""Run the notebooks and write them back with what they print and draw: ``run_notebooks.py [NAME ...]``."""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook as it is after a run in a folder of its own, next to which the examples lie.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "examples").symlink_to(ROOT / "examples")
        NotebookClient(
            book, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it was run
        if cell.cell_type == "code":  # warnings speak of the machine
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return book


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            nbformat.write(run(path), path)
            print(path.name)
