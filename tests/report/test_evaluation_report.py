import numpy as np
import pytest

from vlmcal.metrics import Evaluation, evaluate
from vlmcal.metrics.smooth_ece import smooth_reliability_curve
from vlmcal.report.display import metric_column, metric_name
from vlmcal.report.pages.evaluation import evaluation_report, evaluation_table
from vlmcal.report.pages.evaluation_pictures import class_columns, picture_width
from vlmcal.report.pages.verdict import calibration_verdict
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate


def rows(confidence, right, n=100, **fields):
    return Confidences(confidence=np.full(n, confidence), correct=np.arange(n) < right, **fields)


@pytest.mark.parametrize(
    ("confidence", "right", "direction", "gap"),
    [
        (0.9, 70, "over-confident", 0.2),
        (0.6, 80, "under-confident", -0.2),
        (0.7, 70, "neither", 0.0),
        (0.7, 62, "neither", 0.08),  # 1.96 sqrt(0.7 * 0.3 / 100) = 0.0898
        (0.7, 60, "over-confident", 0.1),
    ],
)
def test_the_gap_counts_when_it_exceeds_chance(confidence, right, direction, gap):
    verdict = calibration_verdict(rows(confidence, right))
    assert verdict.direction == direction
    assert verdict.gap == pytest.approx(gap)


def test_all_right_at_high_confidence_is_not_called_under_confident():
    assert calibration_verdict(rows(0.95, 20, n=20)).direction == "neither"


def test_rows_that_come_in_groups_count_less():
    groups = np.repeat(np.arange(10), 10)
    alone, grouped = rows(0.7, 60), rows(0.7, 60, groups=groups)
    assert calibration_verdict(alone).direction == "over-confident"
    assert calibration_verdict(grouped).direction == "neither"


def test_the_verdict_says_whether_the_ece_is_more_than_chance():
    sure = calibration_verdict(rows(0.9, 70), Estimate(0.2, 0.1, 0.3, n=100, floor=0.03))
    assert sure.distinguishable is True
    assert sure.sentences == (
        "The model is over-confident by 20.0 points on average: it states 90.0 % on average and is right "
        "in 70.0 % of rows.",
        "This is more than chance on 100 rows: ECE 20.0 % [10.0, 30.0]; a calibrated model would show "
        "about 3.0 %.",
    )
    unsure = calibration_verdict(rows(0.7, 68), Estimate(0.02, 0.0, 0.1, n=100, floor=0.03))
    assert unsure.distinguishable is False
    assert "within what a calibrated model shows by chance" in unsure.sentences[1]
    assert calibration_verdict(rows(0.7, 68), Estimate(0.02, n=100)).distinguishable is None


def test_opposite_errors_that_cancel_are_not_called_calibrated():
    both = Confidences(
        confidence=np.repeat([0.9, 0.5], 500),
        correct=np.concatenate([np.arange(500) < 350, np.arange(500) < 350]),
    )
    verdict = calibration_verdict(both, Estimate(0.2, 0.15, 0.25, n=1000))
    assert verdict.direction == "neither"
    assert "too high in some ranges, too low in others" in verdict.sentences[0]


def test_the_table_shows_value_interval_and_floor():
    result = Evaluation(
        estimates={
            "accuracy": Estimate(0.5, 0.4, 0.6, n=90),
            "ece": Estimate(0.1234, 0.05, 0.2, n=90, floor=0.0456),
            "nll": Estimate(1.23456, n=90),
        },
        definitions={},
        n=90,
        level=0.9,
    )
    lines = evaluation_table(result).to_text().splitlines()
    assert lines[2].split() == ["accuracy", "%", "↑", "50.00", "[40.00,", "60.00]", "–"]
    assert lines[3].split() == ["ECE", "%", "↓", "12.34", "[5.00,", "20.00]", "4.56"]
    assert lines[4].split() == ["NLL", "↓", "1.2346", "–"]
    assert "Brackets: 90 % interval." in lines
    assert "0.1234,0.05,0.2,0.0456" in evaluation_table(result).to_csv()


def test_units_and_directions_come_from_the_registry():
    assert metric_column("accuracy").better == "higher"
    assert metric_column("brier").percent is False
    assert metric_column("nll").label == "NLL ↓"
    assert metric_column("no_such_metric").label == "no such metric"
    assert metric_name("dac_adaptive_ece") == "adaptive ECE (DAC)"


def test_a_report_on_predictions_has_all_parts(make_predictions, page):
    names = ("cat", "dog", "<script>", "a & b", "é")
    data = make_predictions(class_names=names, groups=np.arange(200) // 4)
    result = evaluate(data, resamples=50, by_group=True)
    report = evaluation_report(
        data,
        result,
        command="vlmcal evaluate p.npz --logits",
        title="Pets",
        provenance={"git": "abc"},
    )
    text = report.to_html()
    read = page(text)
    assert [section.heading for section in report.sections] == [
        "Measurements",
        "Pictures",
        "Groups",
        "Classes",
        "Confidently wrong",
    ]
    assert "script" not in read.tags
    assert read.tags["svg"] == 4 + 5
    assert set(report.definitions) >= {"ECE", "Brier", "NLL", "if calibrated"}
    assert report.definitions["ECE"] == result.definitions["ece"]
    assert report.provenance["classes"] == 5
    assert report.provenance["git"] == "abc"
    assert report.summary[0].startswith("The model is over-confident")
    assert len(text) < 150_000


def test_the_worst_rows_are_the_most_confident_wrong_ones():
    data = Confidences(
        confidence=[0.9, 0.99, 0.8, 0.95], correct=[False, True, False, False], ids=list("abcd")
    )
    report = evaluation_report(data, evaluate(data, ["accuracy", "ece"], intervals=False))
    table = report.sections[-1].tables[0]
    assert [row[0] for row in table.rows] == ["d", "a", "c"]
    assert report.summary[-1] == (
        "2 of 3 wrong answers were given with a confidence of 0.9 or more."
    )


def test_nothing_wrong_leaves_the_worst_rows_out():
    data = rows(0.9, 50, n=50)
    report = evaluation_report(data, evaluate(data, ["accuracy", "ece"], intervals=False))
    assert [section.heading for section in report.sections] == ["Measurements", "Pictures"]


def test_mass_on_edges_is_reported_with_the_other_rule():
    # (0.5, 0.6] holds both: mean 0.575 against accuracy 0.5. [lo, hi) parts them: 0.55 and 0.4.
    data = Confidences(confidence=np.repeat([0.55, 0.6], 50), correct=np.repeat([False, True], 50))
    result = evaluate(data, ["ece"], intervals=False, options={"ece": {"bins": 10}})
    assert evaluation_report(data, result).sections[0].notes == [
        "50.0 % of rows lie on an edge of the 10 bins. With bins [lo, hi) the ECE would be 47.50 % instead "
        "of 7.50 %."
    ]


def test_class_columns_are_the_probabilities(make_predictions):
    data = make_predictions(n=50, k=7)
    chosen = np.array([5, 0, 3])
    np.testing.assert_allclose(
        class_columns(data, chosen), data.probabilities()[:, chosen], atol=1e-12
    )


def test_only_the_worst_classes_of_many_are_drawn(make_predictions):
    data = make_predictions(n=300, k=40)
    report = evaluation_report(data, evaluate(data, ["ece"], intervals=False))
    strip = next(s for s in report.sections if s.heading == "Classes").strips[0]
    assert strip.label == "12 of 40 classes, largest gap first"
    probabilities = data.probabilities()
    gaps = [
        sum(
            abs(np.sum(p[inside] - (data.labels[inside] == c)))
            for b in range(15)
            for inside in [(p > b / 15) & (p <= (b + 1) / 15)]
        )
        for c in range(40)
        for p in [probabilities[:, c]]
    ]
    assert [p.caption for p in strip.pictures] == [str(c) for c in np.argsort(gaps)[::-1][:12]]


def test_the_drawn_curve_is_not_smeared_by_a_crowd_at_one():
    # 9,000 rows at 0.99, right 9 times of 10, and 1,000 spread evenly below, right half as often as stated.
    low = np.linspace(0.4, 0.9, 1000)
    confidence = np.concatenate([np.full(9000, 0.99), low])
    generator = np.random.default_rng(0)
    correct = np.concatenate([np.arange(9000) % 10 > 0, generator.random(1000) < low / 2])
    curve = smooth_reliability_curve(confidence, correct, width=picture_width(confidence))
    assert np.interp(0.7, curve.confidence, curve.accuracy) == pytest.approx(0.35, abs=0.08)
