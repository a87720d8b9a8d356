"""vlmcal cluster, on images without labels."""

import csv

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
