"""Multi-label tables as people have them: which column is which, and what is asked back."""

import json

import numpy as np
import pandas as pd
import pytest

from vlmcal.errors import DataError
from vlmcal.io.multi_label import read_multi_label

NAMES = ("Edema", "Mass", "Pleural Effusion")
P = np.array([[0.9, 0.2, 0.4], [0.1, 0.7, 0.3], [0.6, 0.55, 0.25], [0.35, 0.8, 0.95]])
Y = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1]])


def write(folder, columns, name="t.csv"):
    pd.DataFrame(columns).to_csv(folder / name, index=False)
    return folder / name


def table(truth="{}", score="prob_{}", y=Y, **more):
    columns = {truth.format(name): y[:, at] for at, name in enumerate(NAMES)}
    columns |= {score.format(name): P[:, at] for at, name in enumerate(NAMES)}
    return {"patient": list("aabb"), "Age": [50, 60, 70, 80], **columns, **more}


@pytest.mark.parametrize(
    ("truth", "score"),
    [
        ("{}", "prob_{}"),
        ("{}_true", "{}"),
        ("{}_true", "{}_prob"),
        ("y_true_{}", "y_pred_{}"),
        ("label_{}", "P({})"),
        ("gt {}", "{} score"),
        ("labels.{}", "probs.{}"),
    ],
)
def test_columns_are_paired_by_name(tmp_path, truth, score):
    rows = read_multi_label(write(tmp_path, table(truth, score)), group="patient")
    assert rows.data.names == NAMES
    assert np.array_equal(rows.data.labels, Y)
    assert np.array_equal(rows.data.probabilities, P)
    assert rows.data.groups.tolist() == list("aabb")
    assert rows.plan.left_out == {"Age": "named like an age"}


def test_decisions_beside_the_probabilities_are_left_out(tmp_path):
    more = {f"pred_{name}": (P[:, at] > 0.5).astype(int) for at, name in enumerate(NAMES)}
    rows = read_multi_label(write(tmp_path, table(**more)))
    assert np.array_equal(rows.data.probabilities, P)
    assert np.array_equal(rows.data.labels, Y)
    assert "pred_Mass" in rows.plan.left_out


def test_findings_without_a_partner_are_said(tmp_path):
    rows = read_multi_label(write(tmp_path, table(Hernia=[0, 1, 0, 0], prob_Nodule=P[:, 0])))
    assert rows.data.names == NAMES
    assert rows.plan.left_out["Hernia"] == "a truth without probabilities"
    assert rows.plan.left_out["prob_Nodule"] == "a score without a truth"


def test_uncertain_and_empty_truths_need_a_rule(tmp_path):
    y = Y.astype(float)
    y[0, 1], y[1, 2] = -1, np.nan
    file = write(tmp_path, table(y=y))
    with pytest.raises(DataError, match=r"1 of 12 truths are uncertain .*--uncertain"):
        read_multi_label(file)
    with pytest.raises(DataError, match=r"1 of 12 truths are empty.*--blank"):
        read_multi_label(file, uncertain="positive")
    rows = read_multi_label(file, uncertain="positive", blank="negative")
    assert rows.data.labels[0, 1] == 1
    assert rows.data.labels[1, 2] == 0
    assert "1 uncertain (-1) taken as present; 1 empty taken as absent" in rows.plan.label
    unknown = read_multi_label(file, uncertain="ignore", blank="ignore").data
    assert np.isnan(unknown.labels).sum() == 2


def listed(mark="|"):
    return [mark.join(n for n, v in zip(NAMES, row, strict=True) if v) or "No Finding" for row in Y]


@pytest.mark.parametrize("mark", ["|", ";", ", "])
@pytest.mark.parametrize("score", ["{}", "prob_{}"])
def test_one_column_of_names(tmp_path, mark, score):
    columns = {
        "Image Index": list("wxyz"),
        "Finding Labels": listed(mark),
        "Patient ID": [1, 1, 2, 2],
    }
    columns |= {score.format(name): P[:, at] for at, name in enumerate(NAMES)}
    rows = read_multi_label(write(tmp_path, columns))
    assert rows.data.names == NAMES
    assert np.array_equal(rows.data.labels, Y)
    assert rows.plan.label.startswith('names in column "Finding Labels"')


def test_names_without_probabilities_are_said_and_absent_findings_stay(tmp_path):
    cells = ["Edema|Hernia", "No Finding", "Edema", ""]
    columns = {"labels": cells} | {f"prob_{n}": P[:, at] for at, n in enumerate(NAMES)}
    file = write(tmp_path, columns)
    with pytest.raises(DataError, match="blank"):
        read_multi_label(file)
    rows = read_multi_label(file, blank="ignore")
    assert rows.data.names == NAMES
    assert rows.data.labels[:3, 1].tolist() == [0, 0, 0]
    assert np.isnan(rows.data.labels[3]).all()
    assert "named in 1 rows" in rows.plan.left_out["Hernia"]


def test_truths_in_a_second_file(tmp_path):
    file = write(tmp_path, {"image": list("wxyz")} | {n: P[:, i] for i, n in enumerate(NAMES)})
    order = [3, 1, 0, 2]
    columns = {"image": np.array(list("wxyz"))[order]} | {
        n: Y[order, i] for i, n in enumerate(NAMES)
    }
    second = write(tmp_path, columns, "truth.csv")
    assert np.array_equal(read_multi_label(file, labels_file=second).data.labels, Y)
    names = {"image": np.array(list("wxyz"))[order], "Finding Labels": np.array(listed())[order]}
    third = write(tmp_path, names, "nih.csv")
    assert np.array_equal(read_multi_label(file, labels_file=third).data.labels, Y)


def test_columns_named_by_the_user(tmp_path):
    columns = {f"t{i}": Y[:, i] for i in range(3)} | {f"m{i}": P[:, i] for i in range(3)}
    file = write(tmp_path, columns)
    with pytest.raises(DataError, match="--classes"):
        read_multi_label(file)
    rows = read_multi_label(file, class_names=["m0=Edema", "m2=Mass"], labels="t0,t2")
    assert rows.data.names == ("Edema", "Mass")
    assert np.array_equal(rows.data.labels, Y[:, [0, 2]])


def test_json_lines_npz_logits_and_percentages(tmp_path):
    lines = [
        {
            "labels": [n for n, v in zip(NAMES, y, strict=True) if v],
            "probs": dict(zip(NAMES, p, strict=True)),
        }
        for y, p in zip(Y.tolist(), P.tolist(), strict=True)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert np.array_equal(read_multi_label(file).data.labels, Y)
    z = np.log(P) - np.log1p(-P)
    np.savez(tmp_path / "a.npz", logits=z, labels=Y, class_names=np.array(NAMES))
    rows = read_multi_label(tmp_path / "a.npz", scores="logits")
    assert np.allclose(rows.data.probabilities, P)
    assert rows.data.names == NAMES
    percent = table() | {f"prob_{n}": 100 * P[:, at] for at, n in enumerate(NAMES)}
    file = write(tmp_path, percent)
    with pytest.raises(DataError, match="percentages"):
        read_multi_label(file)
    assert np.allclose(read_multi_label(file, scores="percent").data.probabilities, P)
    with pytest.raises(DataError, match="probabilities; pass --probs"):
        read_multi_label(write(tmp_path, table()), scores="logits")


def test_refusals(tmp_path):
    with pytest.raises(DataError, match="holds other values"):
        read_multi_label(
            write(tmp_path, table(y=Y * 2)),
            class_names=["prob_Edema", "prob_Mass"],
            labels="Edema,Mass",
        )
    broken = table()
    broken["prob_Mass"] = [0.1, None, 0.3, 0.2]
    with pytest.raises(DataError, match="data row 2"):
        read_multi_label(write(tmp_path, broken))
    with pytest.raises(DataError, match="several columns may be its truth"):
        read_multi_label(write(tmp_path, table(Edema_true=Y[:, 0])))
    with pytest.raises(DataError, match="no such file"):
        read_multi_label(tmp_path / "none.csv")


def test_a_data_frame_at_hand():
    rows = read_multi_label(pd.DataFrame(table()), group="patient")
    assert np.array_equal(rows.data.labels, Y)
    assert str(rows.plan).startswith("reading table at hand: columns, 4 rows")
