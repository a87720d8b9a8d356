"""What `vqa elicit` says about calls, tokens and the price before and after it asks."""

import json

from PIL import Image

from elicit.fault_server import FaultServer, Manner
from vlmcal.report.pages.answers import _cost_tables


def test_the_command_says_what_it_costs(tmp_path, vlmcal):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "q.csv").write_text("image,question,answer\na.png,Is it?,yes\n")
    prices = tmp_path / "prices.csv"
    prices.write_text("model,in,out,thinking,currency\nmine*,1.00,4.00,,EUR\n")
    given = ("vqa", "elicit", str(tmp_path / "q.csv"), "--model", "http://localhost:1/v1")
    made = ("--name", "mine-vl", "--dry-run", "-o", str(tmp_path / "out"))
    told = vlmcal(*given, *made, "--prices", str(prices))
    assert "price EUR" in told.out
    assert "tokens assumed" in told.out
    assert "the price is unknown" in vlmcal(*given, *made).out
    assert not (tmp_path / "out").exists()


def test_the_end_of_a_run_and_the_table_of_the_report_say_what_it_cost(tmp_path, vlmcal):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "q.csv").write_text(
        "image,question,answer\na.png,Is it?,yes\na.png,Is it big?,no\n"
    )
    (tmp_path / "prices.csv").write_text("model,in,out,currency\nmine*,1,4,EUR\n")
    with FaultServer(manner=Manner(models=("mine-vl",))) as server:
        told = vlmcal(
            "vqa", "elicit", tmp_path / "q.csv", "--model", server.url, "-o", tmp_path / "out",
            "--prices", tmp_path / "prices.csv",
        )  # fmt: skip
    assert told.code == 0
    assert "tokens in" in told.out
    assert "price EUR" in told.out
    about = json.loads((tmp_path / "out" / "run.json").read_text())
    (shown,) = _cost_tables(about)
    assert "price EUR" in shown.to_text()
    assert _cost_tables({}) == []
