"""vlmcal cluster, on images without labels."""

import csv
import shutil

from typer.testing import CliRunner

from vlmcal.cli.app import app


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
