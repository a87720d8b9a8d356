"""Reading golden vectors: folders of JSON files with the schema "golden-vectors-1"."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CARRIED = Path(__file__).parent / "data"


def folders(variable: str, default: str) -> list[Path]:
    """Folders named by an environment variable (colon-separated), else the carried subset."""
    named = os.environ.get(variable, "")
    chosen = [Path(p) for p in named.split(os.pathsep) if p] or [CARRIED / default]
    missing = [str(p) for p in chosen if not p.is_dir()]
    if missing:
        raise FileNotFoundError(f"{variable} names folders that do not exist: {missing}")
    return chosen


@dataclass(frozen=True)
class Case:
    id: str
    name: str
    kind: str
    inputs: dict[str, Any]
    params: dict[str, Any]
    expected: dict[str, Any]
    rtol: float
    atol: float


def decode(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("@"):
        value = arrays[value[1:]]
    if isinstance(value, dict) and "shape" in value:
        flat = [float(x) if isinstance(x, str) else x for x in value["data"]]
        return np.array(flat, dtype=value["dtype"]).reshape(value["shape"])
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def read_cases() -> list[Case]:
    cases = []
    for folder in folders("VLMCAL_GOLDEN", "vectors"):
        for path in sorted(folder.rglob("*.json")):
            document = json.loads(path.read_text())
            if not isinstance(document, dict) or document.get("schema") != "golden-vectors-1":
                continue
            arrays = document.get("arrays", {})

            def plain(part: dict[str, Any], arrays: dict[str, Any] = arrays) -> dict[str, Any]:
                return {k: decode(v, arrays) for k, v in part.items()}

            cases += [
                Case(
                    id=case["id"],
                    name=case["name"],
                    kind=case.get("kind", "normal"),
                    inputs=plain(case["inputs"]),
                    params=plain(case["params"]),
                    expected=plain(case["expected"]),
                    rtol=case["rtol"],
                    atol=case["atol"],
                )
                for case in document["cases"]
            ]
    return cases


def close(got: Any, want: Any, rtol: float, atol: float) -> bool:
    got, want = np.asarray(got), np.asarray(want)
    if got.size != want.size:
        return False
    got = got.reshape(want.shape)
    if want.dtype.kind in "biu" and want.ndim:
        return bool((got.astype(want.dtype) == want).all())
    return bool(
        np.allclose(got.astype(float), want.astype(float), rtol=rtol, atol=atol, equal_nan=True)
    )


def call(function: Any, case: Case) -> dict[str, Any]:
    """Result of an adapter as {expected key: value}; gradients by autograd of "loss"."""
    if not getattr(function, "torch_inputs", False):
        result = function(**case.inputs, **case.params)
        return result if isinstance(result, dict) else {next(iter(case.expected)): result}
    import torch

    inputs = {
        k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.inputs.items()
    }
    leaves = [k[5:] for k in case.expected if k.startswith("grad_") and k[5:] in inputs]
    for name in leaves:
        inputs[name] = inputs[name].double().requires_grad_(True)
    result = function(**inputs, **case.params)
    result = dict(result) if isinstance(result, dict) else {next(iter(case.expected)): result}
    wanted = [n for n in leaves if f"grad_{n}" not in result] if "loss" in result else []
    if wanted:
        gradients = torch.autograd.grad(
            result["loss"].sum(), [inputs[n] for n in wanted], allow_unused=True
        )
        for name, gradient in zip(wanted, gradients, strict=True):
            zero = torch.zeros_like(inputs[name])
            result[f"grad_{name}"] = zero if gradient is None else gradient
    return {k: v.detach().numpy() if isinstance(v, torch.Tensor) else v for k, v in result.items()}
