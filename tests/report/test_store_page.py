"""One page for everything in a store."""

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from vlmcal.errors import DataError
from vlmcal.report.pages.run_rows import RunRow
from vlmcal.report.pages.store import leaderboard, store_report
from vlmcal.report.pages.store_pairs import within_data_sets
from vlmcal.report.pages.store_sets import over_data_sets
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

HOSTILE = "</script><script>alert(1)</script>"


def rows(sets=("dtd", "eurosat"), methods=("coop", "maple"), seeds=(1, 2)):
    draw = np.random.default_rng(0)
    for place, data in enumerate(sets):
        for better, method in enumerate(methods):
            for seed in seeds:
                for classes, lower in (("base", 0.0), ("new", 0.2)):
                    value = 0.6 + 0.1 * better - lower + place / 100 + seed / 1000
                    confidence = draw.uniform(0.3, 1, 40)
                    yield RunRow(
                        method=method,
                        classes=classes,
                        seed=seed,
                        estimates={
                            "accuracy": Estimate(value),
                            "ece": Estimate(0.2 - 0.1 * better + seed / 1000),
                        },
                        confidences=Confidences(
                            confidence=confidence, correct=draw.random(40) < 0.6
                        ),
                        axes={"data": data},
                        provenance={"run": f"{data}{method}{seed}"},
                    )


def made(**more):
    found = list(rows())
    runs = [{"id": row.provenance["run"], "label": HOSTILE, "seconds": 1.0} for row in found[::2]]
    analysis = {
        (row.provenance["run"], row.classes): {"feature_divergence": 0.1 * i}
        for i, row in enumerate(found)
    }
    histories = {run["id"]: [{"loss": 1.0}, {"loss": 0.5}] for run in runs}
    return store_report(
        found, title="Runs", analysis=analysis, histories=histories, runs=runs, **more
    )


def test_every_section_is_there_and_names_are_escaped():
    report = made()
    assert [section.heading for section in report.sections] == [
        "Leaderboard",
        "Over data sets",
        "Within data sets",
        "Base against new classes",
        "Methods in small pictures",
        "What goes with miscalibration",
        "Runs",
    ]
    page = report.to_html()
    assert HOSTILE not in page
    assert page.count("<script>") == 1
    assert page.count('class="mini"') == 4 * 5  # four methods on data sets: two, two and the loss
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_only_the_script_of_the_package_may_run():
    page = made().to_html()
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_the_leaderboard_pools_seeds_and_marks_single_ones():
    table = leaderboard(list(rows()))
    titles = [column.title for column in table.columns]
    assert len(table.rows) == 4
    first = dict(zip(titles, table.rows[0], strict=False))
    assert first["seeds"] == 2
    assert not table.notes
    assert "1 seed" in leaderboard(list(rows(seeds=(1,)))).notes[0]


def test_methods_on_two_data_sets_are_ranked_with_both_harmonic_means():
    section, lines = over_data_sets(list(rows()))
    means = section.tables[0]
    titles = [column.title for column in means.columns]
    assert "H of averages" in titles
    at = dict(zip(titles, means.rows[0], strict=False))
    base, new = np.array([0.6015, 0.6115]), np.array([0.4015, 0.4115])
    both = 2 * base.mean() * new.mean() / (base.mean() + new.mean())
    assert at["H of averages"] == pytest.approx(both)
    assert at["average of H"] == pytest.approx(np.mean(2 * base * new / (base + new)))
    assert [table.rows[0][0] for table in section.tables[1:]] == ["maple", "maple"]
    assert "not distinguishable" in lines[0]  # two data sets show nothing


def test_mean_ranks_are_drawn_with_bars_over_what_cannot_be_told_apart():
    section, _ = over_data_sets(list(rows()))
    assert section.html.count("<svg") == 2
    assert (
        section.html.count('class="bar"') == 2
    )  # two methods, two data sets: one bar in each picture
    assert "maple 1.00" in section.html


def test_methods_stand_beside_the_best_of_their_data_set():
    made = []
    for row in rows(seeds=(1, 2)):
        correct = np.arange(40) < (36 if row.method == "maple" else 12)
        confidence = np.full(40, 0.9)
        made.append(replace(row, confidences=Confidences(confidence=confidence, correct=correct)))
    section, lines = within_data_sets(made, "new")
    first = section.tables[0].rows[0]
    assert (first[0], first[1], first[2], first[5]) == ("dtd", "coop", "maple", "worse")
    assert first[3].value == pytest.approx(-0.6)
    assert first[3].low < -0.6 < first[3].high < 0
    assert "on 2 of 2 data sets" in lines[0]


def test_seeds_with_other_test_rows_are_left_out_and_said():
    made = [
        replace(
            row,
            confidences=replace(
                row.confidences,
                ids=[f"{row.seed if row.method == 'coop' else 0} {i}" for i in range(40)],
            ),
        )
        for row in rows(methods=("coop", "maple", "kgcoop"))
    ]
    section, _ = within_data_sets(made, "new")
    assert {line[1] for line in section.tables[0].rows} | {
        line[2] for line in section.tables[0].rows
    } == {"maple", "kgcoop"}
    assert "different test rows are left out" in section.notes[0]


def test_one_data_set_has_no_ranks():
    assert over_data_sets(list(rows(sets=("dtd",)))) == (None, [])


def test_nothing_measured_is_refused():
    with pytest.raises(DataError, match="nothing was measured"):
        store_report([RunRow(method="coop", reason="none")], title="Runs")
