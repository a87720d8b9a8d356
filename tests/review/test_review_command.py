"""``vlmcal review`` as it is typed."""

import csv
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from absent import vlmcal_without
from cli.conftest import refused, vlmcal  # noqa: F401

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "review.md"
sys.path.insert(0, str(ROOT / "examples"))
import inputs  # noqa: E402

CLASSES = ("benign", "malignant", "normal")


def predictions(path, n, seed, start=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([2, 2, 2], n)
    cells = [[f"{v:.6f}" for v in row] for row in p]
    labels = [rng.choice(3, p=row) for row in p]
    with path.open("w", newline="") as stream:
        write = csv.writer(stream)
        write.writerow(["id", "image", "site", *CLASSES, "label"])
        for i, (row, y) in enumerate(zip(cells, labels, strict=True)):
            write.writerow([f"c{start + i}", f"{i % 4}.png", "ab"[i % 2], *row, CLASSES[y]])
    return path


@pytest.fixture
def files(tmp_path):
    (tmp_path / "0.png").write_bytes(b"x")
    policy = tmp_path / "policy.yaml"
    policy.write_text("critical: [malignant]\ntarget_risk: 0.3\nblind_share: 0\n")
    return (
        predictions(tmp_path / "new.csv", 60, 0),
        predictions(tmp_path / "val.csv", 400, 1, 1000),
        policy,
        tmp_path / "review.sqlite",
    )


def made(vlmcal, files, *more):  # noqa: F811
    new, val, policy, db = files
    given = ("--probs", "--renormalise", "--held-out", val, "--calibrator", "temperature")
    return vlmcal(
        "review", new, "--db", db, "--no-page", *given, "--conformal", "lac", "--image", "image",
        "--site", "site", "--policy", policy, *more,
    )  # fmt: skip


def test_from_a_table_to_a_new_calibrator(vlmcal, files, tmp_path):  # noqa: F811
    from vlmcal.review import Review

    db = files[-1]
    done = made(vlmcal, files)
    assert done.code == 0, done.err
    assert "60 cases" in done.out
    assert "confidences agree with the local cases" in done.out
    assert "not a diagnostic device" in done.out
    assert made(vlmcal, files).code == 0  # it is gone on with
    again = vlmcal("review", db, "--no-page")  # without its source, too
    assert again.code == 0, again.err
    assert again.out.startswith(f"{db}: 60 cases")
    assert vlmcal("review", files[0], "--probs", "--no-page").code == 2  # no --db
    review = Review.open(db)
    cases = list(review.cases())
    # what the table names and is not there stays, so that the page says that it is missing
    assert {c.image for c in cases} == {(f"{i}.png",) for i in range(4)}
    assert "of 15 of the first 60" in done.out
    assert cases[0].flags == ("critical",)
    for case in cases[:15]:
        review.act("r1", case.id, "answer", case.reference)
        review.act("r1", case.id, "reveal")
        why = {"code": "other", "text": ""}
        review.act("r1", case.id, "final", case.reference, reason=why)
    assert "45 entries" in vlmcal("review", "verify", db).out
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\n" + "".join(f"{c.id},{c.reference}\n" for c in cases[40:50]))
    assert "10 new outcomes" in vlmcal("review", "outcomes", db, labels).out
    log = tmp_path / "log.jsonl"
    assert "55 entries" in vlmcal("review", "export", db, "-o", log).out
    assert vlmcal("review", "verify", log).code == 0
    measured = vlmcal("evaluate", db, "--json", tmp_path / "e.json", "--by", "deferred")
    assert measured.code == 0, measured.err
    assert "10 outcomes, 15 decisions of readers" in measured.out
    assert json.loads((tmp_path / "e.json").read_text())["n"] == 25
    fitted = vlmcal("calibrate", "fit", "--from-review", db, "-o", tmp_path / "cal.json")
    assert fitted.code == 0, fitted.err
    assert "temperature fitted on 25 rows of review.sqlite" in fitted.out
    assert vlmcal("review", "agreement", db).out.startswith("no case was decided by two readers")


def test_a_broken_link_is_named(vlmcal, refused, files, tmp_path):  # noqa: F811
    from vlmcal.review import Review

    made(vlmcal, files)
    review = Review.open(files[-1])
    for row in review.page("r1", limit=3):
        review.act("r1", row.case.id, "answer", "benign")
    log = tmp_path / "log.jsonl"
    vlmcal("review", "export", files[-1], "-o", log)
    text = log.read_text().splitlines()
    log.write_text("\n".join([*text[:2], text[2].replace("benign", "normal"), *text[3:]]))
    refused("review", "verify", log, words=["entry 2 was changed"])
    log.write_text("\n".join(text[:-1]))
    refused("review", "verify", log, words=["the export says that it has 3 entries", "these are 2"])


def test_the_guide_works_as_shown(vlmcal, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    inputs.predictions(tmp_path)
    inputs.risks(tmp_path)
    page = GUIDE.read_text().partition("## What is reviewed")[2].partition("## The page")[0]
    policy = re.search(r"^```yaml\n(.*?)^```", page, re.M | re.S)[1]
    policy = policy.replace("benign", "nevus").replace("malignant", "melanoma")
    (tmp_path / "policy.yaml").write_text(policy.replace("energy", "max_probability"))
    lines = [line for line in page.splitlines() if line.startswith("vlmcal ")]
    assert len(lines) >= 10
    for line in lines:
        more = ["--no-page"] if line.startswith("vlmcal review test.csv") else []
        done = vlmcal(*shlex.split(line)[1:], *more)
        assert done.code == 0, f"{line}\n{done.err}"


def test_what_is_refused(vlmcal, refused, files, tmp_path):  # noqa: F811
    new, _, policy, db = files
    probs = ("--probs", "--renormalise", "--no-page")
    refused("review", new, words=["--db"])
    refused("review", new, "--db", new, *probs, words=["this is an input"])
    refused("review", tmp_path / "none.csv", "--db", db, *probs, words=["no such file"])
    refused("review", new, "--db", db, *probs, "--calibrator", "platt", words=["--held-out"])
    refused(
        "review", new, "--db", db, *probs, "--policy", policy, words=["target_risk", "--held-out"]
    )
    for text, words in (
        (
            "automation: {target: 0.1, alpha: 0.1}",
            ["automation needs target, alpha, date and resp"],
        ),
        ("automation: true", ["automation: expected a mapping"]),
        ("critical: [malignat]", ['no class "malignat"', 'did you mean "malignant"']),
        ("mode: reader-frist", ["mode", 'did you mean "reader-first"']),
        ("blind_share: 2", ["blind_share"]),
        ("threshold: 0.5\ntarget_risk: 0.1", ["exclude each other"]),
        ("treshold: 0.5", ['no option "treshold"', 'did you mean "threshold"']),
        ("costs: {bening: {malignant: 10}}", ['no class "bening"']),
        ("- 1", ["expected a mapping"]),
        ("a: [", ["not readable as YAML"]),
        ("ood: max_probability", ["needs held-out rows"]),
        ("ood: energy", ["energy needs logits"]),
    ):
        policy.write_text(text)
        refused("review", new, "--db", db, *probs, "--policy", policy, words=words)
    assert not db.exists()
    vlmcal("review", new, "--db", db, *probs)
    policy.write_text("threshold: 0.9")
    refused("review", new, "--db", db, *probs, "--policy", policy, words=["another source"])
    refused("review", "verify", new, words=["no review"])
    refused("review", "export", db, "-o", "a.txt", words=["expected a name that ends in"])
    refused("evaluate", db, words=["no case has a verdict yet"])


def test_automation_takes_the_sure_cases_out_of_the_queue(vlmcal, files):  # noqa: F811
    from vlmcal.review import Review

    files[2].write_text(
        "threshold: 0.5\nblind_share: 0\n"
        "automation: {target: 0.1, alpha: 0.1, date: 2026-11-01, responsible: A. Person}\n"
    )
    assert made(vlmcal, files).code == 0
    counts = Review.open(files[-1]).counts("r1")
    assert counts.todo == counts.deferred < counts.cases


def test_a_page_that_cannot_be_shown_is_said_before_a_review_is_made(files, tmp_path):
    new, *_, db = files
    given = ("review", new, "--probs", "--renormalise", "--db", db)
    result = vlmcal_without(("uvicorn",), *given, cwd=tmp_path)
    assert result.returncode == 2
    assert "this needs the extra: pip install 'vlmcal[app]'" in result.stderr
    assert not db.exists()
    assert vlmcal_without(("uvicorn",), *given, "--no-page", cwd=tmp_path).returncode == 0
