"""Rules of the house that no linter knows: layers, sizes, names, what a clean import costs."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "vlmcal"
MODULES = sorted(SOURCE.rglob("*.py"))

# Lower layers first; a module may import from its own layer's own package and from layers below.
LAYERS = [
    {"_lazy", "errors", "extras", "registry", "options", "hashing", "seeding", "types", "io"}
    | {"fitted", "fitted_state", "option_text", "own_code", "sketches", "state_rules"},
    {"data", "backbones", "text_encoding"},
    {"learners", "objectives", "calibrators", "conformal", "metrics", "elicit"},
    {"training", "test_time", "posthoc", "causal", "clustering", "findings"},
    {"experiment", "report", "export"},
    {"api", "review"},
    {"cli", "app", "__main__"},
]
# Inside a layer, packages do not import each other, except where one is built on the other.
ALLOWED_SIBLINGS = {
    ("text_encoding", "backbones"),
    ("report", "experiment"),
    ("export", "experiment"),
    ("conformal", "calibrators"),
    ("__main__", "cli"),
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Top-level parts of vlmcal that a module imports at run time (not under TYPE_CHECKING)."""
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                self.generic_visit(node)

        def visit_Import(self, node):
            found.update(a.name.split(".")[1] for a in node.names if a.name.startswith("vlmcal."))

        def visit_ImportFrom(self, node):
            if node.module and node.module.startswith("vlmcal."):
                found.add(node.module.split(".")[1])

    Visitor().visit(ast.parse(path.read_text()))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_respect_the_layers(path):
    here = package_of(path)
    if here == "__init__":
        return
    assert here in LEVEL, f"{here} has no place in the layers; add it to LAYERS"
    for other in imports_of(path) - {here, "__version__"}:
        below = LEVEL[other] < LEVEL[here]
        base = LEVEL[other] == LEVEL[here] == 0
        assert below or base or (here, other) in ALLOWED_SIBLINGS, f"{here} must not import {other}"


def test_modules_stay_small():
    lengths = {p: len(p.read_text().splitlines()) for p in MODULES}
    assert {str(p): n for p, n in lengths.items() if n > 500} == {}
    code = [n for n in lengths.values() if n > 5]
    assert statistics.median(code) <= 150
    assert statistics.quantiles(code, n=10)[8] <= 350


def test_verbs_are_thin():
    """What a verb does is a call that a Python user can make; the verb reads, calls and prints."""
    lengths, arguments = {}, {}
    for path in sorted((SOURCE / "cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.name}: {node.name}"
                lengths[name] = node.end_lineno - node.lineno + 1
                if node.name.startswith("_"):
                    given = node.args
                    arguments[name] = len(given.posonlyargs + given.args + given.kwonlyargs)
    assert {name: n for name, n in lengths.items() if n > 60} == {}
    assert {name: n for name, n in arguments.items() if n > 6} == {}


def test_importing_the_package_or_asking_for_help_imports_no_torch():
    code = (
        "import sys, vlmcal; from vlmcal.cli.app import app; "
        "print([m for m in ('torch', 'transformers', 'sklearn', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_importing_the_package_takes_no_time():
    code = "import time; t = time.process_time(); import vlmcal; print(time.process_time() - t)"
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    assert min(taken) < 0.05  # seconds of this processor, the least disturbed of five


def test_no_torch_in_code_that_works_on_stored_predictions():
    for name in ("metrics", "calibrators", "conformal", "data", "report", "causal"):
        for path in (SOURCE / name).rglob("*.py"):
            assert not re.search(r"^\s*(import|from) torch\b", path.read_text(), re.M), path


def test_nothing_names_this_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    texts = [
        p for p in listed if p.endswith((".py", ".md", ".toml", ".yaml", ".json", ".cff", ".txt"))
    ]
    words = ["/" + "work/", ".." + "/shared", "/" + "opt/venv"]
    for name in texts:
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 1_000_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not [w for w in words if w in text], name
