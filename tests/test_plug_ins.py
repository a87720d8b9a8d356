"""docs/plug-ins.md does what it shows: a method from another package is found, fitted, saved and loaded."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import shown

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "plug-ins.md").read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The plug-in as an installed package: its module, and the entry point as the page has it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_plugin").mkdir()
    (folder / "my_plugin" / "__init__.py").touch()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (folder / "my_plugin" / "shrink.py").write_text(code)
    (point,) = re.findall(r"```toml\n.*?\n(.*?)```", PAGE, re.S)
    about = folder / "my_plugin-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[vlmcal.plugins]\n" + point.replace('"', ""))
    return folder


def test_the_commands_of_the_page_find_it(installed, tmp_path):
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    shown.example_files().predictions(tmp_path)
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT / 'src'}"}
    told = ""
    for line in block.splitlines():
        words = [sys.executable, "-m", "vlmcal", *shlex.split(line)[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        told += done.stdout
    assert "500 rows of validation.csv" in told
    assert "Largest share." in told
