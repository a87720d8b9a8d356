"""Experiment files that nobody should be able to hurt himself or others with: one message, exit code 2."""

import sys

import pytest

from vlmcal.cli import main
from vlmcal.own_code import allow_code

BASE = "data: {name: digits}\nmethod: coop\nshots: 1\n"
NESTED = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n"
    for old, new in zip("abcdef", "bcdefg", strict=True)
)
REFUSED = {
    "refers to itself": (
        "data: digits\nmethod: coop\nobjective: &o [ce, *o]\n",
        "line 3 holds itself",
    ),
    "grows without end": (NESTED + "data: *g\nmethod: coop\n", "more than 100,000 values"),
    "key twice": (BASE + "shots: 2\n", '"shots" is given twice (first in line 3)'),
    "nested key twice": (
        "data: {name: digits, name: shapes}\nmethod: coop\n",
        '"name" is given twice',
    ),
    "runs code by its tag": (
        "data: !!python/object/apply:os.system [id]\nmethod: coop\n",
        "not valid YAML",
    ),
    "number without end": (BASE.replace("1", "9" * 6000), "not valid YAML"),
    "date that is none": (BASE + "seed: 2026-99-99\n", "not valid YAML"),
    "zero byte": ("data: digits\0\nmethod: coop\n", "not valid YAML"),
    "nested deeply": (BASE + "objective: " + "[" * 5000 + "]" * 5000 + "\n", "nested too deeply"),
    "a list": ("[1, 2]\n", "expected a mapping"),
    "unknown data set": ("data: digitz\nmethod: coop\n", 'did you mean "digits"'),
    "option of the data set": ("data: {name: digits, colour: red}\nmethod: coop\n", '"colour"'),
    "unknown protocol": (
        "data: {name: digits, protocol: bas-to-new}\nmethod: coop\n",
        'did you mean "base-to-new"',
    ),
    "unknown held-out rows": (
        "data: {name: digits, calibration: som}\nmethod: coop\n",
        'got "som"|cross-fit',
    ),
    "shots true": (BASE.replace("shots: 1", "shots: true"), "expected whole numbers, got True"),
    "no shots": (BASE.replace("shots: 1", "shots: 0"), "at least 1"),
    "shots beyond all": (BASE.replace("shots: 1", "shots: 2000000000"), "at most 1,000,000"),
    "seed true": (BASE + "seed: [1, true]\n", "expected whole numbers"),
    "negative seed": (BASE + "seed: -1\n", "at least 0"),
    "seed of 23 digits": (BASE + f"seed: {10**22}\n", "below 2**32"),
    "thirty million seeds": (BASE + "seed: 1..30000000\n", "more than 10,000 values"),
    "a million cells": (
        BASE.replace("shots: 1", "shots: 1..1000\nseed: 1..1000"),
        "1,000,000 cells",
    ),
    "rate that is none": (BASE + "train: {lr: .nan}\n", "train.lr must be a number"),
    "epochs beyond all": (
        BASE + "train: {epochs: 1000000000000}\n",
        "less than or equal to 1000000",
    ),
    "resamples beyond all": (BASE + "evaluate: {resamples: 1000000000000}\n", "resamples"),
    "alpha that is none": (BASE + "evaluate: {alpha: .nan}\n", "evaluate.alpha"),
    "no context": ("data: digits\nmethod: {name: coop, n_ctx: -1}\n", "greater than or equal to 1"),
    "context beyond all": (
        "data: digits\nmethod: {name: coop, n_ctx: 1000000000}\n",
        "equal to 512",
    ),
    "weight that is none": (
        BASE + "objective: [ce, {name: tcpt, weight: .nan}]\n",
        "weight must be",
    ),
    "bins beyond all": (
        BASE + "evaluate: {calibrators: [histogram(bins=1000000000)]}\n",
        "at most 1,000,000",
    ),
    "bins in words": (
        BASE + "evaluate: {calibrators: [histogram(bins=ten)]}\n",
        "must be a whole number",
    ),
    "unknown backbone": (BASE + "backbone: pockett\n", 'did you mean "pocket"'),
    "folder that is not there": (BASE + "backbone: ./nowhere\n", "there is no folder"),
    "command as data": (
        "data: {name: 'os:system', command: touch hurt}\nmethod: coop\n",
        "not a data set",
    ),
    "command as method": ("data: digits\nmethod: 'os:system'\n", "is not a method"),
    "command as objective": (BASE + "objective: 'os:system'\n", "is not an objective"),
    "command as metric": (BASE + "evaluate: {metrics: ['os:system']}\n", "is not a metric"),
    "command as calibrator": (
        BASE + "evaluate: {calibrators: ['os:system']}\n",
        "is not a calibrator",
    ),
    "command as backbone": (BASE + "backbone: 'os:system'\n", "is not a backbone"),
    "module as data": ("data: 'antigravity:fly'\nmethod: coop\n", "--allow-code"),
    "module as objective": (BASE + "objective: 'antigravity:fly'\n", "--allow-code"),
    "relative module": ("data: '..x:y'\nmethod: coop\n", "cannot be imported"),
    "Latin-1": ("# f\xfcr\n".encode("latin-1") + BASE.encode(), "not UTF-8"),
    "UTF-16": (BASE.encode("utf-16"), "not UTF-8"),
}


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLMCAL_ALLOW_CODE", "")  # so that it is restored

    def call(content, *more):
        file = tmp_path / "spec.yaml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(sys, "argv", ["vlmcal", "run", "spec.yaml", "--plan", *more])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_before_anything_is_done(plan, tmp_path, case):
    content, words = REFUSED[case]
    code, said = plan(content)
    assert code == 2, said
    assert "Traceback" not in said
    assert any(word in said for word in words.split("|")), said
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


OWN = """
from vlmcal.types.dataset import Dataset
from vlmcal.data.digits import digits

def mine() -> Dataset:
    return digits()

def anything():
    raise SystemExit("was called")

open("imported", "w").close()
"""


@pytest.mark.parametrize("where", ["before", "behind", "variable"])
def test_own_code_is_imported_only_where_it_is_allowed(plan, tmp_path, monkeypatch, where):
    name = f"own_{where}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = f"data: '{name}:mine'\nmethod: coop\nshots: 1\n"
    code, said = plan(spec)
    assert code == 2
    assert f"would import and run the module {name}" in said
    assert not (tmp_path / "imported").exists()
    if where == "variable":
        monkeypatch.setenv("VLMCAL_ALLOW_CODE", "1")
    more = ["--allow-code"] if where == "behind" else []
    if where == "before":
        monkeypatch.setenv("VLMCAL_ALLOW_CODE", "0")
        allow_code()
    assert plan(spec, *more)[0] == 0
    assert (tmp_path / "imported").exists()
    code, said = plan(spec.replace("mine", "anything"), *more)
    assert code == 2
    assert "is not a data set" in said
    assert "was called" not in said
