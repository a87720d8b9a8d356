"""An alarm on the command line."""

import json

import numpy as np


def table(path, n=600, seed=0):
    generator = np.random.default_rng(seed)
    p = generator.uniform(0.6, 0.99, n).round(3)
    site = np.where(np.arange(n) % 2 == 0, "north", "south")
    right = generator.random(n) < np.where(site == "south", p - 0.3, p)
    rows = zip(p, right.astype(int), site, strict=True)
    path.write_text("confidence,correct,site\n" + "".join(f"{c},{r},{s}\n" for c, r, s in rows))
    return path


def test_the_site_whose_confidences_are_too_high_alarms(vlmcal, tmp_path):
    file, out = table(tmp_path / "stream.csv"), tmp_path / "watch.json"
    done = vlmcal("monitor", file, "--probs", "--by", "site", "--json", out)
    assert done.code == 0, done.err
    lines = dict(line.split(": ", 1) for line in done.out.splitlines() if line.startswith("site ="))
    assert lines["site = north"].startswith("no alarm after 300 outcomes")
    assert lines["site = south"].startswith("alarm at outcome ")
    assert "too high" in lines["site = south"]
    found = json.loads(out.read_text())
    assert found["site = north"]["alarm"] is None
    assert found["site = south"]["alpha"] == 0.05 / 2 / 2
    assert len(found["all rows"]["log_e"]) == 600


def test_looking_without_parts(vlmcal, tmp_path, refused):
    file = table(tmp_path / "stream.csv")
    assert "all rows: alarm at outcome" in vlmcal("monitor", file, "--probs").out
    refused("monitor", file, "--probs", "--alpha", 2, words=["alpha"])
    refused("monitor", tmp_path / "none.csv", "--probs", words=["none.csv"])
