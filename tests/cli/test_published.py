"""``vlmcal published``."""

import csv
import json

import numpy as np
import pytest

from absent import vlmcal_without
from vlmcal.data.base import load_dataset


def test_list_says_how_many_numbers_can_be_targets_and_needs_no_torch(tmp_path):
    shown = vlmcal_without(("torch", "transformers"), "published", "list", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "tcpt" in shown.stdout
    assert "5,046" in shown.stdout


def test_show_filters_and_writes_every_form(vlmcal, tmp_path):
    given = ("--paper", "tcpt", "--learner", "maple", "--dataset", "dtd", "--metric", "ece")
    files = [tmp_path / f"t.{end}" for end in ("csv", "json", "md", "tex")]
    options = ("--csv", files[0], "--json", files[1], "--markdown", files[2], "--latex", files[3])
    shown = vlmcal("published", "show", *given, *options).out
    assert "20.23" in shown
    assert "two logs of one run" in shown
    rows = list(csv.DictReader(files[0].open()))
    numbers = json.loads(files[1].read_text())["rows"]
    assert len(rows) == len(numbers) > 10
    assert {row["learner"] for row in rows} == {"maple"}
    assert max(len(row["value"]) for row in rows) <= 6  # 0.0386, as 3.86 % is, without noise
    assert "toprule" in files[3].read_text()
    assert "| learner |" in files[2].read_text()


def test_show_of_everything_ends_with_how_to_see_the_rest(vlmcal):
    assert "write all with --csv" in vlmcal("published", "show").out


@pytest.fixture
def eurosat(tmp_path):
    data = load_dataset("shapes(n_classes=4, n_train=2, n_val=2, n_test=3)")
    names = ("images", "labels", "splits", "class_names")
    arrays = {name: np.array(getattr(data, name)) for name in names}
    np.savez(tmp_path / "eurosat.npz", **arrays)
    return tmp_path / "eurosat.npz"


def test_compare_shows_difference_and_settings(vlmcal, eurosat, tmp_path):
    options = ("--method", "zero_shot", "--protocol", "base-to-new", "--store", tmp_path / "runs")
    vlmcal("train", eurosat, *options)
    page = tmp_path / "p.html"
    given = ("--paper", "tcpt", "--metric", "ece")
    answer = vlmcal("published", "compare", tmp_path / "runs", *given, "-o", page)
    assert "other backbone" in answer.out
    assert "backbone ViT-B/16, here pocket" in answer.out
    assert "says nothing about a reproduction" in answer.out
    assert "ViT-B/16" in page.read_text()
    nothing = vlmcal("published", "compare", tmp_path / "runs", "--paper", "calibprompt").out
    assert "None of 20 published numbers has a measured one" in nothing


def test_compare_refuses_a_folder_without_runs(refused, tmp_path):
    refused("published", "compare", tmp_path, words=["holds no finished run"])
