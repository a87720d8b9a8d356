"""What can be imported from a package: lazily, typed, and current."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import write_faces
from vlmcal._lazy import Face, public_names
from vlmcal.metrics import METRICS
from vlmcal.registry import Registry

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
STUBS = sorted(SOURCE.rglob("__init__.pyi"))
PACKAGES = [".".join(stub.parent.relative_to(SOURCE).parts) for stub in STUBS]

SAMPLE = """
import vlmcal
from vlmcal.calibrators import Temperature
from vlmcal.conformal import APS
from vlmcal.elicit import ask, judge
from vlmcal.export import compute_metrics
from vlmcal.learners import CoOp
from vlmcal.metrics import brier, ece
from vlmcal.objectives import TCPT, Focal

reveal_type(vlmcal.evaluate)
reveal_type(vlmcal.compare)
reveal_type(vlmcal.fit)
reveal_type(vlmcal.run)
reveal_type(vlmcal.load_predictions)
reveal_type(vlmcal.Classifier.load)
reveal_type(vlmcal.metrics.ece)
reveal_type(vlmcal.Predictions)
reveal_type(Temperature)
reveal_type(APS)
reveal_type(CoOp)
reveal_type(brier)
reveal_type(ece([0.9], [True]))
reveal_type(TCPT())
reveal_type(Focal)
reveal_type(ask)
reveal_type(judge)
reveal_type(compute_metrics)
reveal_type(vlmcal.conformal_sets)
reveal_type(vlmcal.plots.reliability)
reveal_type(vlmcal.ReliabilityDisplay.from_predictions)
reveal_type(vlmcal.posthoc.cross_fit)
reveal_type(vlmcal.report.evaluation_report)
reveal_type(vlmcal.export.linear_head)
reveal_type(vlmcal.test_time.tune)
reveal_type(vlmcal.test_time.TDA)
reveal_type(vlmcal.clustering.cluster)
reveal_type(vlmcal.clustering.agreement([0, 1], [1, 0]).ari)
reveal_type(vlmcal.findings.PerLabel)
reveal_type(vlmcal.findings.compare_findings)
reveal_type(vlmcal.causal.study)
reveal_type(vlmcal.posthoc.watch)
reveal_type(vlmcal.posthoc.calibrate_answers)
reveal_type(vlmcal.report.answers_report)
vlmcal.evaluate(1, 2, nonsense=4)
Temperature(nonsense=4)
"""


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("path", write_faces.stubs(), ids=lambda path: path.parent.name)
def test_what_a_registry_holds_can_be_imported_from_its_package(path):
    current = path.read_text(encoding="utf-8") == write_faces.stubs()[path]
    assert current, "the names of this package are not current; run `make docs`"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_a_stub_is_there(package):
    module = importlib.import_module(package)
    assert isinstance(module, Face)
    assert set(public_names(package)) <= set(dir(module))
    for name in public_names(package):
        assert getattr(module, name) is not None
    assert not hasattr(module, "nonsense")


@pytest.mark.parametrize("stub", STUBS, ids=lambda path: path.parent.name)
def test_every_line_of_a_stub_is_read(stub):
    lines = stub.read_text(encoding="utf-8").splitlines()
    imports = [line for line in lines if line and not line.startswith(("#", "__version__"))]
    package = ".".join(stub.parent.relative_to(SOURCE).parts)
    assert len(imports) == len(public_names(package))


def test_every_package_with_a_registry_of_its_own_is_written():
    written = {registry.package for registry in write_faces.REGISTRIES}
    found = set()
    for package in PACKAGES:
        held = vars(importlib.import_module(package)).values()
        found |= {value.package for value in held if isinstance(value, Registry)}
    # Loaders are called by name of a data set; they are no part of the face.
    assert found - {"vlmcal.data", "vlmcal.data.vqa"} <= written


def test_a_public_name_goes_before_a_module_of_the_same_name():
    code = (
        "import vlmcal.metrics.brier, vlmcal.posthoc.compare; from vlmcal.metrics import brier; "
        "from vlmcal.metrics.brier import brier as same; import vlmcal; "
        "print(brier is same, callable(vlmcal.posthoc.compare), callable(vlmcal.metrics.brier))"
    )
    assert python(code) == "True True True"


def test_the_first_metric_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from vlmcal.metrics import ece; ece([0.9], [True]); "
        "print([m for m in ('torch', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_the_first_evaluation_imports_no_part_of_scipy_that_takes_long():
    code = (
        "import sys, vlmcal; vlmcal.evaluate([[0.9, 0.1], [0.4, 0.6]] * 20, [0, 1] * 20, scores='probs'); "
        "print([m for m in ('scipy.stats', 'scipy.optimize', 'sklearn', 'pandas') if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_importing_the_package_imports_nothing_large():
    code = (
        "import sys, vlmcal; print([m for m in ('numpy', 'scipy', 'pydantic') if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_every_metric_has_a_public_name():
    assert set(METRICS.names()) <= set(public_names("vlmcal.metrics"))


def test_star_import_brings_the_public_names():
    assert python("from vlmcal.report import *; print(Table.__name__)") == "Table"


@pytest.mark.slow
def test_a_program_that_uses_the_front_door_is_typed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SAMPLE)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)],
        cwd=ROOT,
        env={"MYPYPATH": str(SOURCE), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stdout.splitlines()
    revealed = [line for line in lines if "Revealed type" in line]
    errors = [line for line in lines if ": error:" in line]
    assert len(revealed) == SAMPLE.count("reveal_type"), result.stdout + result.stderr
    assert not [line for line in revealed if 'is "Any"' in line]
    wrong = [line for line in errors if "nonsense" in line]
    assert ["evaluate" in wrong[0], "Temperature" in wrong[1], len(wrong)] == [True, True, 2], (
        errors
    )
    last = len(SAMPLE.splitlines())
    assert all(f":{last - 1}:" in line or f":{last}:" in line for line in errors), errors
