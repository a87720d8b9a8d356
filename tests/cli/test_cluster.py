"""vlmcal cluster, on images without labels."""

import csv
import re
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from vlmcal.cli.app import app
from vlmcal.errors import DataError, SpecError

TURNS = np.arange(24) % 3
ROWS = np.eye(3)[TURNS] + 0.1 * np.random.default_rng(0).normal(size=(24, 3))


def test_every_image_gets_a_cluster_a_name_and_a_confidence(small_images, tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "clusters.csv"
    command = ["cluster", str(small_images), "--k", "2", "-o", str(out), "--epochs", "2"]
    result = CliRunner().invoke(app, [*command, "--words", "zero,one"])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(out.open()))
    assert len(rows) >= 4
    assert {row["cluster"] for row in rows} <= {"0", "1"}
    assert {row["name"] for row in rows} <= {"zero", "one"}
    assert all(0.5 <= float(row["confidence"]) <= 1 for row in rows)


def test_with_labels_the_clusters_are_scored(small_images, tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "clusters.csv"
    command = ["cluster", str(small_images), "--k", "4", "-o", str(out), "--epochs", "2"]
    result = CliRunner().invoke(app, [*command, "--labels", str(small_images)])
    assert result.exit_code == 0, result.output
    (line,) = [text for text in result.output.splitlines() if text.startswith("against")]
    assert "classes of 48 images: accuracy" in line
    assert all(word in line for word in ("ARI", "NMI", "ECE"))
    other = tmp_path / "other"
    (other / "a").mkdir(parents=True)
    shutil.copy(next(small_images.rglob("*.png")), other / "a" / "x.png")
    result = CliRunner().invoke(app, [*command, "--labels", str(other)])
    assert "none of its 1 images" in str(result.exception)


def features(folder, **columns):
    """A table of 24 rows of three blobs, or an NPZ file of them."""
    table = {"id": [f"r{i}" for i in range(24)], **{f"f{i}": ROWS[:, i] for i in range(3)}}
    table |= {"kind": np.array(["a", "b", "c"])[TURNS], **columns}
    lines = [
        ",".join(table),
        *(",".join(map(str, row)) for row in zip(*table.values(), strict=True)),
    ]
    (folder / "rows.csv").write_text("\n".join(lines))
    np.savez(folder / "rows.npz", image_features=ROWS, labels=TURNS)


@pytest.mark.parametrize(
    ("name", "labels", "first"), [("rows.csv", "kind", "r0"), ("rows.npz", "labels", "0")]
)
def test_features_of_another_model_are_clustered_as_they_are(tmp_path, name, labels, first):
    features(tmp_path)
    out = tmp_path / "clusters.csv"
    command = ["cluster", str(tmp_path / name), "--k", "3", "-o", str(out), "--epochs", "1"]
    result = CliRunner().invoke(app, [*command, "--labels", labels])
    assert result.exit_code == 0, result.output
    assert "accuracy 100.0%" in result.output
    rows = list(csv.DictReader(out.open()))
    assert (len(rows), rows[0]["image"]) == (24, first)


@pytest.mark.parametrize(
    ("name", "columns", "more", "words"),
    [
        ("rows.csv", {}, ["--k", "13"], "13 clusters need at least 26 rows, got 24"),
        ("rows.csv", {"g0": ROWS[:, 0], "g1": ROWS[:, 1]}, ["--k", "3"], "2 such groups"),
        ("rows.csv", {"f1": ["x"] * 24}, ["--k", "3"], 'column "f1", row 1: not a number'),
        ("rows.csv", {}, ["--k", "3", "--labels", "kinds"], 'did you mean "kind"'),
        ("rows.npz", {}, ["--k", "3", "--labels", "kind"], 'no "kind"'),
        ("rows.npz", {}, ["--k", "3", "--words", "a,b"], "--words"),
    ],
)
def test_features_that_cannot_be_clustered(tmp_path, name, columns, more, words):
    features(tmp_path, **columns)
    command = ["cluster", str(tmp_path / name), "-o", str(tmp_path / "out.csv"), *more]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, DataError | SpecError), result.output
    assert re.search(words, str(result.exception))


def test_rows_that_are_all_alike_leave_clusters_empty(tmp_path):
    np.savez(tmp_path / "same.npz", image_features=np.ones((8, 3)))
    command = ["cluster", str(tmp_path / "same.npz"), "--k", "3", "-o", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(app, [*command, "--epochs", "1"])
    assert "note: 2 of 3 clusters are empty" in result.output
