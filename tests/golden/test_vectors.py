"""Every golden vector of the reference implementations that the project implements must match.

Point ``VLMCAL_GOLDEN`` at other folders of the same schema to run their cases instead of the carried
ones. Names without an implementation are counted and printed, never dropped silently.
"""

import importlib
import pkgutil
from collections import Counter

import maps
import pytest
from vectors import call, close, read_cases

ADAPTERS = {}
for module in pkgutil.iter_modules(maps.__path__):
    ADAPTERS.update(importlib.import_module(f"maps.{module.name}").MAP)
CASES = read_cases()


@pytest.mark.parametrize("case", CASES, ids=[c.id for c in CASES])
def test_vector(case, golden_summary):
    if case.name not in ADAPTERS:
        golden_summary["not implemented"][case.name] += 1
        return
    if case.kind.startswith("edge"):
        golden_summary["edge cases of a reference, not enforced"][case.name] += 1
        return
    golden_summary["checked"][case.name] += 1
    got = call(ADAPTERS[case.name], case)
    missing = sorted(set(case.expected) - set(got))
    assert not missing, f"adapter returned no {missing}"
    wrong = {
        key: (got[key], case.expected[key])
        for key in case.expected
        if not close(got[key], case.expected[key], case.rtol, case.atol)
    }
    assert not wrong


def test_there_are_cases_and_most_names_are_known():
    names = Counter(case.name for case in CASES)
    assert names, "no golden vectors found"
    assert any(name in ADAPTERS for name in names)
