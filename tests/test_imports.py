"""What a first result does not wait for: one process, which says what it has imported."""

import subprocess
import sys

CODE = """
import sys
import numpy as np
from vlmcal.metrics import evaluate
from vlmcal.metrics.base import METRICS
found = evaluate(np.full((40, 2), 0.5), np.arange(40) % 2, "ece", scores="probs")
assert found["ece"].high > 0
print("scipy" in sys.modules, METRICS._loaded)
from vlmcal.calibrators.base import CALIBRATORS
CALIBRATORS.get("none")
print("no such calibrator" in CALIBRATORS, "sklearn" in sys.modules)
"""


def test_a_metric_waits_for_no_scipy_and_a_name_for_no_whole_registry():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["False False", "False False"]
