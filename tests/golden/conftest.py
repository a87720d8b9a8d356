"""Counts what the golden tests covered and prints it at the end of the run."""

from collections import Counter, defaultdict

import pytest

_ALL: dict[str, Counter[str]] = defaultdict(Counter)


@pytest.fixture(scope="session")
def golden_summary():
    return _ALL


@pytest.hookimpl
def pytest_sessionfinish(session):
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["golden"] = {kind: dict(names) for kind, names in _ALL.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    for kind, names in getattr(node, "workeroutput", {}).get("golden", {}).items():
        _ALL[kind].update(names)


def pytest_terminal_summary(terminalreporter):
    if not _ALL:
        return
    terminalreporter.section("golden numbers")
    for kind, names in sorted(_ALL.items()):
        terminalreporter.line(f"{kind}: {sum(names.values())} cases of {len(names)} names")
        if kind in ("not implemented", "not compared"):
            terminalreporter.line("  " + ", ".join(f"{n} ({c})" for n, c in sorted(names.items())))
