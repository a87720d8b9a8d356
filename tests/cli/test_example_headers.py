"""The commands in the headers of the examples run: all are planned, the first one trains, made small."""

import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESS = {
    "digits_grid.yaml": ("method=zero_shot",),
    "digits_posthoc.yaml": ("method=coop", "objective=ce", "evaluate.calibrators=[none, sals]"),
    "learners.yaml": ("method=kgcoop", "objective=[null]"),
    "learners_image.yaml": ("method=vpt", "objective=[null]"),
    "objectives_digits.yaml": ("method=coop", "objective=[mbls]"),
    "test_time.yaml": ("method=tda",),
}


def commands(path):
    """The ``vlmcal run`` lines of an example's header, as words."""
    header = "".join(
        line.removeprefix("#").rstrip("\n").removesuffix("\\")
        if line.rstrip().endswith("\\")
        else line.removeprefix("#")
        for line in path.read_text().splitlines(keepends=True)
        if line.startswith("#")
    )
    lines = [line.strip() for line in header.splitlines()]
    return [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("vlmcal run ")
    ]


@pytest.mark.parametrize("name", LESS)
def test_the_headers_of_the_examples_run(name, vlmcal, tmp_path, monkeypatch):
    found = commands(ROOT / "examples" / name)
    assert found
    monkeypatch.chdir(tmp_path)
    small = ["seed=1", "shots=1", "train.epochs=1", "evaluate.resamples=100"]
    small.append("data={name: digits, protocol: base-to-new}")
    for place, words in enumerate(found):
        words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
        assert vlmcal(*words, "--plan").code == 0
        if place == 0:
            done = vlmcal(*words, *small, *LESS[name])
            assert done.code == 0, done.err
            assert "accuracy" in done.out
