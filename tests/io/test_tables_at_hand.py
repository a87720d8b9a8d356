"""Data frames and ``datasets.Dataset`` objects are read as such tables in files are."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import vlmcal
from vlmcal.errors import DataError, SpecError

DRAW = np.random.default_rng(0)
Z = DRAW.normal(size=(60, 3))
Y = (Z + DRAW.gumbel(size=Z.shape)).argmax(axis=1)
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
NAMES = ("cat", "dog", "owl")
PATIENTS = [f"p{i // 3}" for i in range(60)]


class Dataset:
    """What is used of ``datasets.Dataset``."""

    def __init__(self, columns, names):
        self.table = pa.table(columns)
        self.column_names = self.table.column_names
        self.features = {"probs": object(), "label": SimpleNamespace(names=list(names))}

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def __getitem__(self, rows):
        return self.table[rows]


def dataset(kind):
    columns = {"probs": P.tolist(), "label": Y.tolist(), "patient": PATIENTS}
    if kind == "imitation":
        return Dataset(columns, NAMES)
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(columns)
    return made.cast_column("label", datasets.ClassLabel(names=list(NAMES)))


def ece(rows, labels=None, **given):
    return vlmcal.evaluate(rows, labels, "ece", intervals=False, **given)


@pytest.mark.parametrize("kind", ["imitation", "real"])
def test_a_dataset_with_a_class_label(kind):
    rows = vlmcal.load_predictions(dataset(kind), scores="probs", group="patient", split="val")
    assert (rows.class_names, rows.split) == (NAMES, "val")
    assert rows.labels.tolist() == Y.tolist()
    np.testing.assert_allclose(rows.probabilities(), P)
    found = ece(dataset(kind), scores="probs", groups="patient")
    assert found["ece"] == ece(P, Y, scores="probs")["ece"]
    assert "20 groups" in found.notes[-1]
    plan = str(vlmcal.reading_plan(dataset(kind), scores="probs"))
    assert plan.startswith("reading datasets.Dataset: datasets.Dataset, 60 rows\n")


def test_a_data_frame_with_a_column_of_labels():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(Z, columns=list(NAMES), index=np.arange(60)[::-1])
    frame["truth"] = pandas.Categorical(np.array(NAMES)[Y])
    expected = ece(Z, Y, scores="logits")["ece"]
    assert ece(frame, "truth", scores="logits")["ece"] == expected
    groups = np.arange(60) % 6
    assert "6 groups" in ece(frame, "truth", scores="logits", groups=groups).notes[-1]
    assert vlmcal.load_predictions(frame, scores="logits", labels="truth").class_names == NAMES
    with pytest.raises(DataError, match='did you mean "truth"'):
        ece(frame, "trut", scores="logits")
    with pytest.raises(SpecError, match='scores="logits" or scores="probs"'):
        ece(frame, "truth")
    with pytest.raises(DataError, match="column names occur twice: cat"):
        ece(frame.rename(columns={"dog": "cat"}), "truth", scores="logits")
