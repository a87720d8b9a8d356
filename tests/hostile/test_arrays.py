"""NPZ files and options that are no measurement: one message, exit code 2."""

import numpy as np
import pytest

from cli.conftest import *  # noqa: F403  (fixtures: vlmcal, refused)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 3))
GOOD = {"logits": LOGITS, "labels": LOGITS.argmax(1), "class_names": np.array(["a", "b", "c"])}
FILES = {
    "no rows": ({"logits": LOGITS[:0], "labels": GOOD["labels"][:0]}, "no rows"),
    "empty class name": ({"class_names": np.array(["a", "", "c"])}, "is empty"),
    "class name nan": ({"class_names": np.array(["a", "nan", "c"])}, "no name"),
    "one class": ({"logits": LOGITS[:, :1], "labels": GOOD["labels"] * 0}, "class_names"),
    "complex": ({"logits": LOGITS + 1j}, "expected numbers"),
    "infinite": ({"logits": np.where(LOGITS > 1, np.inf, LOGITS)}, "infinite"),
}
OPTIONS = {
    "negative seed": (["--seed", "-1"], "0"),
    "seed of 23 digits": (["--seed", "9" * 23], "4294967295"),
    "negative resamples": (["--resamples", "-1"], "0 to 1,000,000"),
    "resamples beyond all": (["--resamples", "9" * 20], "0 to 1,000,000"),
    "level 0": (["--level", "0"], "between 0 and 1"),
    "level nan": (["--level", "nan"], "between 0 and 1"),
    "command as metric": (["--metrics", "os:system"], "not a metric"),
    "unknown groups": (["--unit", "nope"], "nope"),
}


@pytest.mark.parametrize("case", FILES)
def test_files(refused, tmp_path, case):
    changes, words = FILES[case]
    np.savez(tmp_path / "rows.npz", **{**GOOD, **changes})
    refused("evaluate", tmp_path / "rows.npz", words=[words])


@pytest.mark.parametrize("case", OPTIONS)
def test_options(refused, tmp_path, case):
    words = OPTIONS[case][1]
    np.savez(tmp_path / "rows.npz", **GOOD)
    refused("evaluate", tmp_path / "rows.npz", *OPTIONS[case][0], words=[words])
