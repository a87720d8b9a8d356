"""Test-time and other whole procedures of published implementations, step by step.

Point ``VLMCAL_GOLDEN_PROCEDURES`` at other folders of the same schema to run their cases instead (their
text cases need the tiny CLIP of the method cases: ``VLMCAL_GOLDEN_METHODS``). Limits are those of the
collection's own notes, relative to the largest value of a tensor.
"""

import json

import pytest
import torch
from procedures import adapter_for
from safetensors.torch import load_file
from tiny import tiny_clip
from vectors import folders


def find_cases():
    found = []
    for folder in folders("VLMCAL_GOLDEN_PROCEDURES", "procedures"):
        for path in sorted(folder.rglob("*.json")):
            document = json.loads(path.read_text())
            if isinstance(document, dict) and document.get("kind") != "input":
                found.append((path, document))
    return found


CASES = find_cases()


class Procedure:
    """One case: its settings, its tensors, the pixels that cases share, and the tiny CLIP."""

    def __init__(self, path, document, seen):
        self.document, self.config = document, document.get("config", {})
        self.path = path
        file = path.with_suffix(".safetensors")
        self.tensors = load_file(file) if file.is_file() else {}
        self._folder, self._seen = path.parent, seen

    def __getitem__(self, key):
        return self.tensors[key]

    def shared(self):
        return load_file(self._folder / self.document["inputs"])

    def encoder(self):
        (folder, *_) = folders("VLMCAL_GOLDEN_METHODS", "methods")
        return tiny_clip(folder).with_logit_scale(self.document["logit_scale"])

    def names(self):
        return [name.replace("_", " ") for name in self.document["classnames"]]

    def near(self, key, got, limit):
        if key not in self.tensors:
            return
        self._seen.add(key)
        want = self.tensors[key].double()
        got = torch.as_tensor(got, dtype=torch.float64).detach().reshape(want.shape)
        worst = float((got - want).abs().max()) / max(float(want.abs().max()), 1e-12)
        assert worst <= limit, f"{key}: off by {worst:.2e} of its largest value, limit {limit:.0e}"

    def same(self, key, got):
        if key in self.tensors:
            self._seen.add(key)
            assert torch.equal(torch.as_tensor(got).long(), self.tensors[key].long()), key


@pytest.mark.parametrize(("path", "document"), CASES, ids=[path.stem for path, _ in CASES])
def test_procedure(path, document, golden_summary):
    method = document.get("method", path.stem)
    adapter = adapter_for(path.stem, method)
    if adapter is None:
        golden_summary["not implemented"][f"procedure {method}"] += 1
        return
    golden_summary["checked"][f"procedure {method}"] += 1
    seen = set()
    case = Procedure(path, document, seen)
    inputs = adapter(case)
    for key in case.tensors:
        if key not in seen and not key.startswith(inputs):
            golden_summary["not compared"][f"{method} {key}"] += 1


def test_every_carried_case_is_checked():
    for path, document in CASES:
        if "data" in path.parts:
            assert adapter_for(path.stem, document.get("method", path.stem)) is not None
