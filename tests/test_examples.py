"""Examples and README commands do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vlmcal.experiment.plan import plan
from vlmcal.experiment.spec import load_spec

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_yaml_examples_are_valid(path):
    assert plan(load_spec(path))


def test_the_example_for_own_images_runs_as_its_header_says(small_images, tmp_path):
    header = (ROOT / "examples" / "own_images.yaml").read_text()
    check, run = re.findall(r"^#   (vlmcal .*)$", header, re.M)
    less = "backbone=pocket train.epochs=2 shots=2 seed=1 objective=[own]"
    for command in (check, f"{run} {less}"):
        words = command.replace("path/to/images", str(small_images)).split()[1:]
        words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
        result = subprocess.run(
            [sys.executable, "-m", "vlmcal", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "report.html").is_file()


def test_ten_lines(tmp_path):
    script = ROOT / "examples" / "ten_lines.py"
    assert len([x for x in script.read_text().splitlines() if x.strip()]) <= 14
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "calibrated by temperature" in result.stdout


def test_the_hospital_with_known_truth(tmp_path):
    script = ROOT / "examples" / "hospital.py"
    result = subprocess.run(
        [sys.executable, script, "--simulations", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (held,) = re.findall(r"holds the truth +([\d.]+)%", result.stdout)
    assert float(held) > 80
    assert re.search(r"outside their like +0\n", result.stdout)
    relied = [int(x) for x in re.findall(r"relied on (\d+)%", result.stdout)]
    assert len(relied) == 4
    assert relied[0] < relied[-1]


def test_links_of_the_front_pages_exist():
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert target.startswith("http") or (ROOT / target).exists(), f"{page}: {target}"


def test_the_objective_of_the_contributing_guide_works(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    lines = [line.removeprefix("   ") for line in code.splitlines()]
    (tmp_path / "logit_size.py").write_text(
        "\n".join(lines).replace('register("', 'register("guide_')
    )
    monkeypatch.syspath_prepend(tmp_path)
    import torch

    from vlmcal.objectives.base import OBJECTIVES
    from vlmcal.objectives.compose import parse_objective
    from vlmcal.types.outputs import Outputs

    # The registration of the guide's example ends with this test.
    monkeypatch.setattr(OBJECTIVES, "_entries", dict(OBJECTIVES.items()))
    monkeypatch.setenv("VLMCAL_ALLOW_CODE", "1")
    objective = parse_objective(["ce", {"name": "logit_size:LogitSize", "weight": 0.5}])
    outputs = Outputs(logits=torch.tensor([[1.0, 3.0]]), labels=torch.tensor([1]))
    terms = objective.terms(outputs)
    assert any(float(term.value) == 5.0 and term.weight == 0.5 for term in terms.values())
