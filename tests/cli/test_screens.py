"""Every page on a phone and on a laptop, measured in headless Chromium."""

import itertools
import warnings

import numpy as np
import pytest

from cli.posthoc_files import scores, write
from report.browser import CHROMIUM, measure
from vlmcal import Predictions, evaluate
from vlmcal.experiment.evaluate import Row
from vlmcal.report import runs_report
from vlmcal.types.estimate import Estimate

PHONE, LAPTOP = 375, 1280
SMALLEST = 9.0
NAMES = [f"class-{i}_with_one_long_identifier" if i % 2 else f"the class {i}" for i in range(8)]

if CHROMIUM is None:
    warnings.warn("NO CHROMIUM HERE: no page is measured on any screen", stacklevel=1)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="pages are measured in Chromium")


@pytest.fixture
def rows(tmp_path):
    return [
        write(
            tmp_path / f"{name}.npz",
            **scores(n=400, k=8, seed=seed, names=NAMES, groups=9),
            ids=np.array([f"{name}-study-{i:05}-series-1-image-lateral.dcm" for i in range(400)]),
        )
        for seed, name in enumerate(("val", "test"))
    ]


def evaluation(vlmcal, rows, page):
    assert vlmcal("evaluate", rows[0], "--resamples", 100, "-o", page).code == 0


def calibrators(vlmcal, rows, page):
    chosen = ("-m", "identity,temperature,vector,histogram")
    assert vlmcal("calibrate", "compare", *rows, *chosen, "-o", page).code == 0


def label_sets(vlmcal, rows, page):
    assert vlmcal("conformal", "compare", *rows, "-o", page).code == 0


def answers(vlmcal, rows, page):
    table = page.with_suffix(".csv")
    lines = ["id,question,answer,reply,stated,sort"] + [
        f"q{i},Is there any sign of finding number {i} in the left lower lobe?,yes,"
        f"{'yes' if i % 3 else 'no'},{50 + i % 50},{'size-of-the-largest-finding' if i % 2 else 'presence'}"
        for i in range(120)
    ]
    table.write_text("\n".join(lines) + "\n")
    folder = page.with_suffix("")
    made = vlmcal(
        *("vqa", "import", table, "--answer", "reply", "--gold", "answer", "-o", folder),
        *("--confidence", "stated", "--scale", "percent", "--column", "kind=sort"),
    )
    assert made.code == 0, made.err
    result = vlmcal("vqa", "evaluate", folder, "--by", "kind", "--resamples", 50, "-o", page)
    assert result.code == 0, result.err


def runs(vlmcal, rows, page):
    found = []
    for seed in (1, 2):
        for method in ("zero_shot", "coop"):
            for classes in ("base", "new"):
                for calibrator in ("none", "temperature"):
                    made = scores(n=300, k=4, seed=len(found))
                    data = Predictions(logits=made["logits"], labels=made["labels"], split="test")
                    cell = {
                        **{
                            "method": {"name": method},
                            "objective": "ce",
                            "shots": 16,
                            "seed": seed,
                        },
                        **{"data": {"name": "digits"}, "backbone": "pocket"},
                    }
                    measured = evaluate(data, resamples=100)
                    found.append(Row(str(len(found)), cell, classes, calibrator, measured, data))
    runs_report(found, title="Runs").write(page)


def comparison(vlmcal, rows, page):
    with np.load(rows[0]) as stored:
        first = dict(stored)
    noise = np.random.default_rng(0).normal(size=first["logits"].shape)
    other = write(page.with_suffix(".npz"), **first | {"logits": first["logits"] + noise})
    done = vlmcal("compare", rows[0], other, "--resamples", 50, "-o", page)
    assert done.code == 0, done.err


def grid(vlmcal, rows, page):
    """Hundreds of rows of two data sets and three numbers of shots, as numbers alone."""
    draw, found = np.random.default_rng(0), []
    for data, shots, method in itertools.product(
        ("digits", "shapes_of_forty_classes"), (1, 4, 16), ("coop", "kgcoop", "prompt_src")
    ):
        for objective, calibrator, classes in itertools.product(
            ("ce", "own + tcpt", "ce + mdca", "ce + dor"), ("none", "temperature"), ("base", "new")
        ):
            cell = {"method": method, "objective": objective, "calibrator": calibrator}
            place = {"data": data, "shots": shots, "backbone": "pocket", "classes": classes}
            names = ("accuracy", "ece", "ace", "mce", "brier", "nll")
            for seed in (1, 2):
                values = {name: Estimate(v) for name, v in zip(names, draw.random(6), strict=True)}
                values["ece"] = Estimate(0.1, 0.05, 0.2)
                found.append({**cell, **place, "seed": seed, "metrics": values})
    report = runs_report(found, title="Grid")
    assert len(report.summary) <= 5
    assert "All rows: backbone pocket." in report.sections[0].tables[0].notes
    report.write(page)


@pytest.mark.parametrize(
    "make",
    [evaluation, calibrators, label_sets, comparison, answers, runs, grid],
    ids=lambda make: make.__name__,
)
def test_a_page_fits_the_screen_and_can_be_read(vlmcal, rows, tmp_path, make):
    page = tmp_path / "page.html"
    make(vlmcal, rows, page)
    for width in (PHONE, LAPTOP):
        found = measure(page, width, tmp_path)
        assert found["width"] == found["screen"] == width, found["wide"]
        assert found["letters"][0][0] >= SMALLEST, found["letters"]
        assert found["height"] > 800
        if width == LAPTOP:
            assert found["cut"] == [], "columns are cut off"


def test_what_does_not_fit_is_found(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><p style="font-size:7px">small</p><div style="width:500px">wide</div>'
        '<div class="scroll" aria-label="t" style="overflow:auto"><div style="width:600px">x</div></div>'
    )
    found = measure(page, PHONE, tmp_path)
    assert found["width"] > PHONE
    assert found["letters"][0] == [7, "small"]
    assert found["wide"][0].startswith("DIV")
    assert found["cut"] == [["t", 600, found["cut"][0][2]]]
