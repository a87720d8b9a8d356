"""A few of the crashes of ``scripts/crash_test.py``, which goes through all points of all its scenarios."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "crash_test.py"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="forks")
def test_killed_commands_can_be_repeated_and_end_as_quiet_ones():
    call = [sys.executable, str(SCRIPT), "import", "--sample", "4", "--seed", "3"]
    result = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "import: 4 crashes, 0 problems" in result.stdout
