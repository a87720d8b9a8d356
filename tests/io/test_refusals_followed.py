"""What a refusal advises works when it is followed, and both readings are shown where neither is certain."""

import gzip
import shlex

import numpy as np
import pandas as pd
import pytest

from vlmcal.errors import DataError
from vlmcal.io.npz import write_npz
from vlmcal.io.predictions import load_predictions, read_predictions

N = 120
RNG = np.random.default_rng(4)
Z = RNG.normal(size=(N, 3)) * 2
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
LABELS = np.array([RNG.choice(3, p=row) for row in P])
ACCURACY = (P.argmax(axis=1) == LABELS).mean()


def write(path, columns, scores, label, **more):
    data = dict(zip(columns, scores.T, strict=True)) | {"label": label} | more
    pd.DataFrame(data).to_csv(path, index=False)
    return path


def accuracy(path, **options):
    return load_predictions(path, **options).top_label().correct.mean()


def test_labels_from_one_beside_columns_from_nought(tmp_path):
    file = write(tmp_path / "p.csv", ["p_0", "p_1", "p_2"], P, LABELS + 1)
    with pytest.raises(DataError, match=r"from 1 \(--first-label 1\): accuracy") as refused:
        load_predictions(file, scores="probs")
    assert f"{100 * ACCURACY:.2f} %" in str(refused.value)
    assert accuracy(file, scores="probs", first_label=1) == ACCURACY


def test_labels_from_one_of_which_the_last_class_is_absent(tmp_path):
    keep = LABELS < 2
    file = write(tmp_path / "p.csv", ["p_0", "p_1", "p_2"], P[keep], LABELS[keep] + 1)
    with pytest.raises(DataError, match=r"--first-label 0.*--first-label 1"):
        load_predictions(file, scores="probs")


@pytest.mark.parametrize("name", ["basal cell", "nevus, atypical"])
def test_names_of_classes_can_be_pasted(tmp_path, name):
    from vlmcal.options import names

    keep = LABELS < 2
    word = np.array(["cat", "dog"])[LABELS[keep]]
    file = write(tmp_path / "p.csv", ["cat", "dog", name], Z[keep], word)
    with pytest.raises(DataError, match="no row is labelled") as refused:
        load_predictions(file, scores="logits")
    typed = shlex.split(str(refused.value).partition("pass ")[2])
    classes = names([typed[typed.index("--classes") + 1].removesuffix(";")])
    assert accuracy(file, scores="logits", class_names=classes) == pytest.approx(
        (P[keep].argmax(axis=1) == LABELS[keep]).mean()
    )
    exclude = names([typed[typed.index("--exclude") + 1]])
    assert load_predictions(file, scores="logits", exclude=exclude).n_classes == 2


def test_an_empty_score_is_named_by_its_column(tmp_path):
    scores = P.copy()
    scores[7, 1] = np.nan
    file = write(tmp_path / "p.csv", ["cat", "dog", "owl"], scores, LABELS)
    with pytest.raises(DataError, match='1 of 120 rows, first in column "dog", data row 8'):
        load_predictions(file, scores="probs")
    scores[np.arange(N), P.argmin(axis=1)] = np.nan  # a pipeline that gives the likeliest two
    file = write(tmp_path / "p.csv", ["cat", "dog", "owl"], scores, LABELS)
    with pytest.raises(DataError, match="not only those of the likeliest"):
        load_predictions(file, scores="probs")


def test_percentages_of_one_confidence(tmp_path):
    frame = pd.DataFrame({"confidence": 100 * P.max(axis=1), "correct": P.argmax(axis=1) == LABELS})
    frame.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match="--percent"):
        read_predictions(tmp_path / "p.csv", scores="probs")
    rows = read_predictions(tmp_path / "p.csv", scores="percent").data
    assert rows.confidence == pytest.approx(P.max(axis=1))


def test_a_packed_npz(tmp_path):
    write_npz(tmp_path / "p.npz", {"probs": P, "labels": LABELS})
    packed = tmp_path / "p.npz.gz"
    packed.write_bytes(gzip.compress((tmp_path / "p.npz").read_bytes()))
    assert accuracy(packed, scores="probs") == ACCURACY
    packed.write_bytes(packed.read_bytes()[:90])
    with pytest.raises(DataError, match="gzip"):
        load_predictions(packed, scores="probs")


def test_labels_in_an_array_beside_a_table(tmp_path):
    file = write(tmp_path / "p.csv", ["cat", "dog", "owl"], P, LABELS)
    np.save(tmp_path / "y.npy", LABELS)
    assert accuracy(file, scores="probs", labels_file="y.npy") == ACCURACY
    np.save(tmp_path / "y.npy", LABELS[1:])
    with pytest.raises(DataError, match=r"each of the 120 rows.*\(119,\)"):
        load_predictions(file, scores="probs", labels_file="y.npy")


def test_one_column_per_class_keeps_the_names_as_written(tmp_path):
    marks = {name: (at == LABELS) * 1 for at, name in enumerate(("Cat", "BasalCell", "Owl"))}
    columns = [f"prob_{name}" for name in marks]
    frame = pd.DataFrame(dict(zip(columns, P.T, strict=True)) | marks)
    frame.to_csv(tmp_path / "p.csv", index=False)
    rows = load_predictions(tmp_path / "p.csv", scores="probs")
    assert rows.class_names == ("Cat", "BasalCell", "Owl")


def test_bands_of_a_number(tmp_path):
    age = np.arange(N)
    file = write(tmp_path / "p.csv", ["cat", "dog", "owl"], P, LABELS, age=age, sex=["f", "m"] * 60)
    rows = read_predictions(file, scores="probs", by=["age:40:65", "sex"])
    counts = [int((rows.strata["age"] == name).sum()) for name in np.unique(rows.strata["age"])]
    assert np.unique(rows.strata["age"]).tolist() == ["40 to below 65", "below 40", "from 65"]
    assert counts == [25, 40, 55]
    assert "by       age cut at 40, 65, sex" in str(rows.plan)
    with pytest.raises(DataError, match='"f", no number'):
        read_predictions(file, scores="probs", by=["sex:1"])
    with pytest.raises(DataError, match="ascend"):
        read_predictions(file, scores="probs", by=["age:65:40"])
