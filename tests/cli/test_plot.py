"""One picture of each kind, from each kind of saved result."""

from dataclasses import replace

import numpy as np
import pytest

from vlmcal import PredictionSets, load_predictions, plots
from vlmcal.io.prediction_sets import save_prediction_sets

KINDS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("name", ["reliability", "risk-coverage", "margins", "decision-curve"])
def test_pictures_of_predictions(vlmcal, unseen, tmp_path, name, ending):
    out = tmp_path / f"figure{ending}"
    more = ("--condition", "1") if name == "decision-curve" else ()
    made = vlmcal("plot", name, unseen, "--logits", "-o", out, *more)
    assert made.code == 0, made.err
    assert out.read_bytes().startswith(KINDS[ending])


def test_ways_of_reliability_differ(vlmcal, unseen, tmp_path):
    ways = {"plain": (), "mass": ("--equal-mass",), "few": ("--bins", 3), "smooth": ("--smooth",)}
    for name, words in ways.items():
        out = tmp_path / f"{name}.svg"
        assert vlmcal("plot", "reliability", unseen, "--logits", *words, "-o", out).code == 0
    assert len({path.read_bytes() for path in tmp_path.glob("*.svg")}) == len(ways)


def test_sets_show_what_was_saved(vlmcal, tmp_path):
    rows = PredictionSets(
        sets=[[True, False], [True, True], [False, True]], labels=[0, 1, 0], alpha=0.2
    )
    save_prediction_sets(rows, tmp_path / "sets.csv")
    out = tmp_path / "sets.svg"
    assert vlmcal("plot", "sets", tmp_path / "sets.csv", "-o", out, "--title", "Mine").code == 0
    text = out.read_text()
    assert "coverage; 66.7 % in all" in text
    assert "target 80 %" in text
    assert "Mine" in text


def test_the_size_is_as_asked(vlmcal, unseen, tmp_path):
    from PIL import Image

    out = tmp_path / "wide.png"
    vlmcal("plot", "margins", unseen, "--logits", "-o", out, "--width", 6, "--height", 2)
    assert Image.open(out).size == (1200, 400)


def test_margins_of_probabilities_are_those_of_logits(unseen):
    rows = load_predictions(unseen, scores="logits")
    same = replace(rows, logits=rows.log_probabilities(), kind="log_probs")
    a, b = (plots.margins(each) for each in (rows, same))
    assert a.get_legend().get_texts()[0].get_text() == b.get_legend().get_texts()[0].get_text()
    z, y = rows.logits, rows.labels
    own = z[np.arange(len(y)), y]
    others = np.where(np.arange(z.shape[1]) == y[:, None], -np.inf, z).max(axis=1)
    assert f"mean {np.mean(own - others):.2f}" in a.get_legend().get_texts()[0].get_text()


def test_what_cannot_be_drawn(vlmcal, refused, unseen, tmp_path):
    out = ("-o", tmp_path / "x.svg")
    refused("plot", "margins", unseen, "--logits", "-o", tmp_path / "x.gif", words=[".png", ".svg"])
    refused("plot", "decision-curve", unseen, "--logits", *out, words=["3 classes", "positive"])
    refused("plot", "decision-curve", unseen, "--logits", "--condition", "7", *out, words=['"7"'])
    refused("plot", "reliability", tmp_path, *out, words=["no predictions of a finished run"])
    refused("plot", "sets", tmp_path / "none.csv", *out, words=["none.csv"])
    (tmp_path / "c.csv").write_text("confidence,correct\n0.9,1\n0.6,0\n")
    refused(
        "plot", "margins", tmp_path / "c.csv", "--probs", *out, words=["one confidence per row"]
    )
    measured = tmp_path / "measured.json"
    given = ("--probs", "--resamples", 0, "--json", measured)
    assert vlmcal("evaluate", tmp_path / "c.csv", *given).code == 0
    refused("plot", "reliability", measured, *out, words=["holds what was measured, and no rows"])
    assert not (tmp_path / "x.svg").exists()
