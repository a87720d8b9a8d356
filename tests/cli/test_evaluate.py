"""``vlmcal evaluate`` on good and on bad files."""

import csv
import io
import json

import numpy as np
import pytest


def probabilities(n=60, k=3, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    return p, np.array([rng.choice(k, p=row) for row in p]), logits


def write_csv(path, columns):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def good(tmp_path):
    p, labels, _ = probabilities()
    names = ["cat", "dog", "owl"]
    columns = {name: p[:, i] for i, name in enumerate(names)}
    columns["truth"] = [names[i] for i in labels]
    columns["patient"] = [f"p{i // 3}" for i in range(len(labels))]
    return write_csv(tmp_path / "good.csv", columns)


def test_table_json_and_report(vlmcal, good, tmp_path):
    numbers, page = tmp_path / "out.json", tmp_path / "report.html"
    result = vlmcal(
        *("evaluate", good, "--probs", "--labels", "truth", "--group", "patient"),
        *("--json", numbers, "-o", page, "--resamples", 100),
    )
    assert result.code == 0, result.err
    p, labels, _ = probabilities()
    accuracy = (p.argmax(1) == labels).mean()
    assert f"{100 * accuracy:.1f}" in result.out
    data = json.loads(numbers.read_text())
    assert data["estimates"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert data["estimates"]["nll"]["value"] == pytest.approx(
        -np.log(p[np.arange(60), labels]).mean(), rel=1e-6
    )
    html = page.read_text()
    assert "<svg" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


@pytest.mark.parametrize("kind", [(), ("--multi-label",)])
def test_a_table_on_standard_input(vlmcal, refused, good, tmp_path, monkeypatch, kind):
    def piped(*words):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(good.read_bytes())))
        return ("evaluate", "-", "--probs", "--labels", "truth", "--resamples", 0, *kind, *words)

    plain = ("evaluate", good, "--probs", "--labels", "truth", "--resamples", 0, *kind)
    data = json.loads(vlmcal(*piped("--json", "-")).out)
    assert data["estimates"] == json.loads(vlmcal(*plain, "--json", "-").out)["estimates"]
    assert data["reading"]["file"] == "standard input.csv"
    page = tmp_path / "page.html"
    assert "reading standard input.csv: CSV, 60 rows" in vlmcal(*piped("--html", page)).out
    assert page.exists()
    refused(*piped("--labels-file", "none.csv"), words=["none.csv"])


def test_logits_and_probabilities_of_the_same_rows_agree(vlmcal, tmp_path):
    p, labels, logits = probabilities()
    values = []
    for name, scores in (("probs", p), ("logits", logits)):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{name: scores}, labels=labels)
        out = tmp_path / f"{name}.json"
        assert vlmcal("evaluate", path, f"--{name}", "--json", out, "--resamples", 0).code == 0
        values.append(json.loads(out.read_text())["estimates"])
    for metric in ("ece", "brier", "nll", "accuracy", "aurc"):
        a, b = (v[metric]["value"] for v in values)
        assert a == pytest.approx(b, abs=1e-9)


def test_neither_or_both_kinds_are_refused(refused, good):
    refused("evaluate", good, words=["--logits", "--probs", "exactly one"])
    refused("evaluate", good, "--logits", "--probs", words=["exactly one"])


def test_wrong_column(refused, good):
    refused("evaluate", good, "--probs", "--labels", "trth", words=["trth", "truth"])


def test_unknown_metric(refused, good):
    refused(
        *("evaluate", good, "--probs", "--labels", "truth", "--group", "patient"),
        *("--metrics", "ecee"),
        words=["ecee", "ece"],
    )


def npz(tmp_path, **arrays):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    return path


def test_nan_logits(refused, tmp_path):
    _, labels, logits = probabilities()
    logits[7, 1] = np.nan
    path = npz(tmp_path, logits=logits, labels=labels)
    refused("evaluate", path, "--logits", words=["NaN", "1 of 60", "7"])


def test_rows_that_do_not_sum_to_one(refused, tmp_path):
    p, labels, _ = probabilities()
    path = npz(tmp_path, probs=p * 1.3 % 1.0, labels=labels)
    refused("evaluate", path, "--probs", words=["sum to"])


def test_logits_given_as_probabilities(refused, tmp_path):
    _, labels, logits = probabilities()
    path = npz(tmp_path, probs=logits, labels=labels)
    refused("evaluate", path, "--probs", words=["logits"])


def test_label_outside_the_classes(refused, tmp_path):
    p, labels, _ = probabilities()
    labels[3] = 9
    refused("evaluate", npz(tmp_path, probs=p, labels=labels), "--probs", words=["9", "0 to 2"])


def test_class_names_of_another_length(refused, tmp_path):
    p, labels, _ = probabilities()
    path = npz(tmp_path, probs=p, labels=labels, class_names=np.array(["a", "b"]))
    refused("evaluate", path, "--probs", words=["class_names", "3", "2"])


def test_duplicate_ids(refused, tmp_path):
    p, labels, _ = probabilities()
    ids = np.arange(60)
    ids[5] = 4
    path = npz(tmp_path, probs=p, labels=labels, ids=ids)
    refused("evaluate", path, "--probs", words=["ids", "more than once", "4"])


def test_missing_and_damaged_files(refused, tmp_path):
    refused("evaluate", tmp_path / "no.npz", "--probs", words=["no.npz"])
    damaged = tmp_path / "cut.npz"
    damaged.write_bytes(b"PK\x03\x04 not a real archive")
    refused("evaluate", damaged, "--probs", words=["cut.npz"])
    empty = tmp_path / "empty.csv"
    empty.write_text("a,b,label\n")
    refused("evaluate", empty, "--probs", words=["empty.csv"])


def test_a_report_that_cannot_be_written(refused, good, tmp_path):
    refused(
        *("evaluate", good, "--probs", "--labels", "truth", "--group", "patient"),
        *("--resamples", 0, "-o", tmp_path / "report.txt"),
        words=[".html"],
    )
