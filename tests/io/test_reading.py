"""Tables as people have them: what is read, by which rule, and what is asked back."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from vlmcal.errors import DataError
from vlmcal.io.predictions import load_predictions, read_predictions, reading_plan, save_predictions
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import from_probabilities

N, NAMES = 60, ("cat", "dog", "owl")


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, 3)) * 2
    labels = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return z, p, labels


Z, P, LABELS = drawn()
WORDS = np.array(NAMES)[LABELS]
ACCURACY = (P.argmax(axis=1) == LABELS).mean()
RISK = P[:, 1]
ILL = (np.random.default_rng(1).random(N) < RISK).astype(int)


def table(scores=P, names=NAMES, **more):
    return pd.DataFrame(dict(zip(names, scores.T, strict=True)) | more)


def accuracy(rows):
    return rows.top_label().correct.mean()


@pytest.fixture
def csv(tmp_path):
    def write(frame, name="p.csv", **options):
        file = tmp_path / name
        frame.to_csv(file, index=False, **options)
        return file

    return write


# --- kinds of files


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.tsv", lambda d, f: d.to_csv(f, index=False, sep="\t")),
        ("bars.csv", lambda d, f: d.to_csv(f, index=False, sep="|")),
        ("commas.csv", lambda d, f: d.to_csv(f, index=False, sep=";", decimal=",")),
        ("mark.csv", lambda d, f: d.to_csv(f, index=False, encoding="utf-8-sig")),
        ("wide.csv", lambda d, f: d.to_csv(f, index=False, encoding="utf-16")),
        ("index.csv", lambda d, f: d.to_csv(f)),
        ("a.csv.gz", lambda d, f: d.to_csv(f, index=False)),
        ("a.xlsx", lambda d, f: d.to_excel(f, index=False)),
        ("a.parquet", lambda d, f: d.to_parquet(f)),
        ("a.jsonl", lambda d, f: d.to_json(f, orient="records", lines=True, double_precision=15)),
        ("a.json", lambda d, f: d.to_json(f, orient="columns", double_precision=15)),
        ("a.jsonl.gz", lambda d, f: f.write_bytes(gzip.compress(_nested().encode()))),
    ],
)
def test_the_same_rows_from_every_kind_of_file(tmp_path, name, write):
    file = tmp_path / name
    frame = table(label=WORDS)
    if name == "a.json":
        file.write_text(json.dumps({c: frame[c].tolist() for c in frame}))
    else:
        write(frame, file)
    rows = load_predictions(file, scores="probs")
    assert rows.class_names == NAMES
    assert rows.labels.tolist() == LABELS.tolist()
    np.testing.assert_allclose(rows.probabilities(), P, rtol=1e-9)


def _nested():
    lines = (
        {"label": str(word), "probs": dict(zip(NAMES, map(float, row), strict=True))}
        for word, row in zip(WORDS, P, strict=True)
    )
    return "\n".join(map(json.dumps, lines))


def test_latin_letters_are_read_and_told(csv):
    file = csv(table(names=("cat", "émeu", "owl"), label=np.array(["cat", "émeu", "owl"])[LABELS]))
    file.write_bytes(file.read_text(encoding="utf-8").encode("latin-1"))
    plan = reading_plan(file, scores="probs")
    assert plan.classes == ("cat", "émeu", "owl")
    assert "Windows-1252" in plan.form
    assert "UTF-8" in plan.notes[0]


def test_a_datasets_folder_with_its_class_names(tmp_path):
    import pyarrow as pa

    folder = tmp_path / "saved"
    folder.mkdir()
    columns = {**dict(zip(NAMES, P.T, strict=True)), "label": LABELS}
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink:
        data = pa.table(columns)
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
    (folder / "state.json").write_text("{}")
    features = {"label": {"names": list(NAMES), "_type": "ClassLabel"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    assert load_predictions(folder, scores="probs").labels.tolist() == LABELS.tolist()


def test_arrays_as_other_libraries_name_them(tmp_path):
    for names in (("predictions", "ground_truth"), ("preds", "target")):
        np.savez(tmp_path / "a.npz", **dict(zip(names, (P, LABELS), strict=True)))
        assert accuracy(load_predictions(tmp_path / "a.npz", scores="probs")) == ACCURACY
    np.savez(tmp_path / "b.npz", y_prob=RISK, y_true=ILL)
    assert load_predictions(tmp_path / "b.npz", scores="probs").probabilities()[:, 1] == (
        pytest.approx(RISK)
    )
    for risk, ill in ((RISK[:, None], ILL), (RISK, ILL.astype(bool)), (RISK, ILL.astype(float))):
        np.savez(tmp_path / "c.npz", y_prob=risk, y_true=ill)
        read = load_predictions(tmp_path / "c.npz", scores="probs")
        assert read.probabilities()[:, 1] == pytest.approx(RISK)
        assert read.labels.tolist() == ILL.tolist()
    np.savez(tmp_path / "d.npz", predictions=LABELS, labels=LABELS)
    with pytest.raises(DataError, match=r"no calibration to measure; add confidences \(N,\), or"):
        load_predictions(tmp_path / "d.npz", scores="probs")
    np.save(tmp_path / "val_logits.npy", Z)
    np.save(tmp_path / "labels.npy", LABELS)
    assert accuracy(load_predictions(tmp_path / "val_logits.npy", scores="logits")) == ACCURACY


# --- which columns are the classes


@pytest.mark.parametrize("form", ["prob_{}", "P({})", "{} probability", "Score.{}", "logit_{}"])
def test_classes_by_the_names_of_the_labels(csv, form):
    kind = "logits" if "logit" in form else "probs"
    names = [form.format(name.title()) for name in NAMES]
    scores = Z if kind == "logits" else P
    more = {"age": 40.5 + np.arange(N), "Confidence": P.max(1), "correct": 1, "pred": WORDS}
    rows = load_predictions(csv(table(scores, names, truth=WORDS, **more)), scores=kind)
    assert rows.class_names == NAMES
    assert accuracy(rows) == ACCURACY


def test_logits_and_probabilities_side_by_side(csv):
    both = table(Z, [f"logit_{n}" for n in NAMES], label=WORDS).join(
        table(P, [f"prob_{n}" for n in NAMES])
    )
    file = csv(both)
    assert reading_plan(file, scores="logits").columns[0] == "logit_cat"
    assert reading_plan(file, scores="probs").columns[0] == "prob_cat"


def test_what_counts_or_describes_rows_is_no_class(csv):
    more = {
        "index": np.arange(N),
        "age": np.arange(N) % 60 + 20,
        "finding": np.arange(N) % 2,
        "lesion": np.arange(N) % 7,
        "prediction": P.argmax(1),
        "confidence": P.max(1),
    }
    file = csv(pd.DataFrame(more).join(table(Z, label=LABELS)))
    plan = reading_plan(file, scores="logits")
    assert plan.classes == NAMES
    assert {n: why.split()[0] for n, why in plan.left_out.items()} == {
        "index": "counts",
        "age": "named",
        "finding": "only",
        "lesion": "whole",
        "prediction": "named",
        "confidence": "named",
    }


def test_a_column_that_may_be_a_class_is_asked_for(csv):
    file = csv(table(Z, label=WORDS, diameter=np.linspace(2, 3, N)))
    with pytest.raises(DataError, match=r"no row is labelled diameter.*--exclude diameter"):
        load_predictions(file, scores="logits")
    assert load_predictions(file, scores="logits", exclude=["diameter"]).class_names == NAMES
    named = load_predictions(
        csv(table(Z, ("owl", "x", "dog"), label=WORDS)),
        scores="logits",
        class_names=["owl", "x=cat", "dog"],
    )
    assert named.class_names == ("owl", "cat", "dog")
    probs = csv(table(P, label=WORDS, diameter=np.linspace(0.2, 0.3, N)))
    assert load_predictions(probs, scores="probs").class_names == NAMES


def test_prefix_names_the_classes(csv):
    file = csv(table(P, ["m1_cat", "m1_dog", "m1_owl"], label=WORDS, extra=P[:, 0]))
    assert load_predictions(file, scores="probs", prefix="m1_").class_names == NAMES


def test_a_saturated_class_without_rows_stays_one(csv):
    scores = np.column_stack([P, np.zeros(N)])
    assert load_predictions(
        csv(table(scores, (*NAMES, "emu"), label=WORDS)), scores="probs"
    ).class_names == (*NAMES, "emu")


# --- integer labels


def test_numbers_in_the_names_decide(csv):
    reversed_ = table(P[:, ::-1], ["prob_2", "prob_1", "prob_0"], label=LABELS)
    assert accuracy(load_predictions(csv(reversed_), scores="probs")) == ACCURACY
    from_one = table(P, ["prob_1", "prob_2", "prob_3"], label=LABELS + 1)
    assert accuracy(load_predictions(csv(from_one), scores="probs")) == ACCURACY


@pytest.mark.parametrize(
    ("names", "first"), [(NAMES, 1), (("prob_1", "prob_2", "prob_3"), 0), (("1", "2", "3"), 0)]
)
def test_labels_that_count_otherwise_are_asked_for_with_both_accuracies(csv, names, first):
    file = csv(table(P, names, label=LABELS + first))
    with pytest.raises(
        DataError, match=rf"--first-label {first}\): accuracy {100 * ACCURACY:.2f} %"
    ):
        load_predictions(file, scores="probs")
    assert accuracy(load_predictions(file, scores="probs", first_label=first)) == ACCURACY


def test_labels_from_one_without_the_last_class(csv):
    keep = LABELS < 2
    file = csv(table(P[keep], label=LABELS[keep] + 1))
    with pytest.raises(
        DataError, match=r"counted from 0 .*: accuracy .*counted from 1 .*: accuracy"
    ):
        load_predictions(file, scores="probs")


# --- rounding, percentages


@pytest.mark.parametrize("decimals", [2, 3, 4, 5])
def test_rounded_rows_are_renormalised_with_a_note(csv, decimals):
    rounded = P.round(decimals)
    rows = read_predictions(csv(table(rounded, label=WORDS)), scores="probs")
    off = np.abs(rounded.sum(axis=1) - 1)
    np.testing.assert_allclose(rows.data.probabilities().sum(axis=1), 1, atol=2e-5)
    if (off > 1e-5).any():
        assert f"{(off > 1e-5).sum()} of {N} rows renormalised" in rows.plan.notes[0]
        assert f"{decimals} decimals; tolerance {1.5 * 10.0**-decimals:g}" in rows.plan.notes[0]


def test_beyond_rounding_is_listed(csv):
    rounded = P.round(3)
    rounded[[4, 9], 0] += 0.05
    with pytest.raises(
        DataError, match=r"2 of 60 rows .*tolerance 0.0015 for 3 decimals; then rows"
    ):
        load_predictions(csv(table(rounded, label=WORDS)), scores="probs")


def test_arrays_of_rounded_probabilities(recwarn):
    rows = from_probabilities(P.round(3), LABELS)
    assert "renormalised" in str(recwarn[0].message)
    assert rows.resolution == 1e-3
    assert from_probabilities(P, LABELS).resolution == 0


def test_percentages_are_recognised_whatever_is_said(csv):
    file = csv(table(100 * P, label=WORDS))
    for kind in ("probs", "logits"):
        with pytest.raises(DataError, match=r"percentages; pass --percent"):
            load_predictions(file, scores=kind)
    rows = load_predictions(file, scores="percent")
    np.testing.assert_allclose(rows.probabilities(), P)
    signs = csv(table(np.array([[f"{100 * v:.3f} %" for v in row] for row in P]), label=WORDS))
    np.testing.assert_allclose(
        load_predictions(signs, scores="probs").probabilities(), P, atol=2e-5
    )


def test_logits_are_not_advised_for_what_cannot_be_logits(csv):
    for scores in (100 * P, P * 0.8, 1 / (1 + np.exp(-Z))):
        with pytest.raises(DataError) as caught:
            load_predictions(csv(table(scores, label=WORDS)), scores="probs")
        assert "logit" not in str(caught.value).partition(".csv: ")[2]


# --- two classes


def test_one_score_column_and_two_give_equal_rows(csv):
    words = np.where(ILL, "malignant", "benign")
    one = {"scores": "probs", "labels": "dx"}
    expected = np.column_stack([1 - RISK, RISK])
    frames = [
        (pd.DataFrame({"score": RISK, "dx": words}), {"positive_label": "malignant"}),
        (pd.DataFrame({"malignant_prob": RISK, "age": 30 + np.arange(N), "dx": words}), {}),
        (pd.DataFrame({"p": RISK, "q": RISK / 2, "dx": ILL}), {"positive": "p"}),
        (pd.DataFrame({"p": RISK, "dx": np.where(ILL, "Yes", "No")}), {}),
        (pd.DataFrame({"p": RISK, "dx": ILL == 1}), {}),
        (
            pd.DataFrame({"malignant": RISK, "benign": 1 - RISK, "dx": words}),
            {"positive": "malignant"},
        ),
    ]
    for frame, options in frames:
        rows = load_predictions(csv(frame), **one, **options)
        np.testing.assert_allclose(rows.probabilities(), expected, rtol=1e-12)
        assert rows.labels.tolist() == ILL.tolist()
    logit = pd.DataFrame({"logit": np.log(RISK / (1 - RISK)), "dx": ILL})
    rows = load_predictions(csv(logit), scores="logits", labels="dx")
    np.testing.assert_allclose(rows.probabilities(), expected, rtol=1e-9)


def test_which_value_is_positive_is_not_guessed(csv):
    file = csv(pd.DataFrame({"score": RISK, "label": np.where(ILL, "malignant", "benign")}))
    with pytest.raises(DataError, match="--positive-label"):
        load_predictions(file, scores="probs")
    with pytest.raises(DataError, match="--positive"):
        load_predictions(
            csv(pd.DataFrame({"risk": RISK, "score": RISK, "label": ILL})), scores="probs"
        )


# --- other shapes


def test_one_confidence_per_row(csv):
    frame = pd.DataFrame({"prediction": WORDS[::-1], "confidence": P.max(1), "label": WORDS})
    rows = read_predictions(csv(frame), scores="probs").data
    assert isinstance(rows, Confidences)
    assert rows.correct.tolist() == (WORDS[::-1] == WORDS).tolist()
    verdicts = pd.DataFrame({"confidence": P.max(1), "correct": WORDS == "cat"})
    rows = read_predictions(csv(verdicts), scores="probs").data
    assert rows.correct.tolist() == (WORDS == "cat").tolist()
    with pytest.raises(DataError, match="one confidence per row"):
        load_predictions(csv(frame), scores="probs")


def test_labels_in_a_second_file(csv):
    ids = [f"im{i}" for i in range(N)]
    scores = csv(table(image=ids), "scores.csv")
    order = np.random.default_rng(2).permutation(N)
    one_hot = table(np.eye(3, dtype=int)[LABELS[order]], image=np.array(ids)[order])
    csv(one_hot, "truth.csv")
    csv(pd.DataFrame({"image": np.array(ids)[order], "class": WORDS[order]}), "names.csv")
    for options in (
        {"labels_file": "truth.csv"},
        {"labels": "truth.csv"},
        {"labels_file": "names.csv"},
    ):
        rows = load_predictions(scores, scores="probs", ids="image", **options)
        assert rows.labels.tolist() == LABELS.tolist()
    csv(one_hot.iloc[1:], "short.csv")
    with pytest.raises(DataError, match="1 of 60 rows have no label there"):
        load_predictions(scores, scores="probs", ids="image", labels_file="short.csv")
    with pytest.raises(DataError, match="--labels-file"):
        load_predictions(scores, scores="probs")


def test_one_hot_truth_beside_the_scores_and_multi_label(csv):
    marks = table(np.eye(3, dtype=int)[LABELS], [f"true_{n}" for n in NAMES])
    scores = table(P, [f"prob_{n}" for n in NAMES])
    assert accuracy(load_predictions(csv(scores.join(marks)), scores="probs")) == ACCURACY
    marks.iloc[3] = 1
    with pytest.raises(DataError, match="multi-label"):
        load_predictions(csv(scores.join(marks)), scores="probs")
    joined = table(label=np.where(LABELS == 1, "cat|owl", WORDS))
    with pytest.raises(DataError, match="multi-label"):
        load_predictions(csv(joined), scores="probs")


def test_answers_of_a_language_model_are_sent_to_their_verb(csv):
    frame = pd.DataFrame({"question": ["q"], "answer": ["A"], "prediction": ["B"]})
    with pytest.raises(DataError, match="vlmcal vqa import"):
        load_predictions(csv(frame), scores="probs")


def test_subgroups_and_rows_without_labels(csv):
    file = csv(table(sex=np.array(["f", "m"])[np.arange(N) % 2]))
    rows = read_predictions(file, scores="probs", labels_needed=False, by=["sex"])
    assert not rows.data.labelled
    assert rows.strata["sex"].tolist()[:2] == ["f", "m"]
    with pytest.raises(DataError, match="no labels"):
        rows.data.top_label()
    with pytest.raises(IndexError):
        rows.data.probabilities()[np.arange(N), rows.data.labels]


# --- what is written is in the names and the scale of the input


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_output_in_names_and_scale_of_the_input(csv, tmp_path, ending):
    file = csv(table(100 * P, ["p_cat", "p_dog", "p_owl"], label=WORDS))
    wide = load_predictions(file, scores="percent")
    save_predictions(wide, tmp_path / f"out{ending}")
    again = load_predictions(tmp_path / f"out{ending}", scores="percent")
    np.testing.assert_allclose(again.probabilities(), P)
    assert reading_plan(tmp_path / f"out{ending}", scores="percent").columns[0] == "p_cat"
    one = load_predictions(csv(pd.DataFrame({"risk": RISK, "label": ILL})), scores="probs")
    save_predictions(one, tmp_path / "one.csv")
    assert pd.read_csv(tmp_path / "one.csv").columns.tolist() == ["id", "label", "risk"]
    save_predictions(one, tmp_path / "logit.csv", scores="logits")
    logit = pd.read_csv(tmp_path / "logit.csv")["risk"]
    np.testing.assert_allclose(logit, np.log(RISK / (1 - RISK)), rtol=1e-9)


# --- hostile files


def test_a_header_that_claims_more_than_the_file_holds(tmp_path):
    import zipfile

    file = tmp_path / "bomb.npz"
    np.savez(file, labels=LABELS)
    with zipfile.ZipFile(file, "a") as archive:
        header = np.lib.format.magic(1, 0)
        text = (
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (600000000, 9), }".ljust(117)
            + b"\n"
        )
        archive.writestr("logits.npy", header + len(text).to_bytes(2, "little") + text)
    with pytest.raises(DataError, match=r"claims 43,200,000,000 bytes"):
        load_predictions(file, scores="logits")


def test_binary_noise_and_missing_headers(tmp_path, csv):
    (tmp_path / "nul.csv").write_bytes(b"a,b,label\n0.5,\x00,a\n" + b"\x00\x00")
    with pytest.raises(DataError, match="NUL"):
        load_predictions(tmp_path / "nul.csv", scores="probs")
    (tmp_path / "bare.csv").write_text("0.5,0.25,0.25\n0.1,0.2,0.7\n")
    with pytest.raises(DataError, match="first line holds numbers"):
        load_predictions(tmp_path / "bare.csv", scores="probs")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b,label\n0.5,0.5,a\n")[:-9])
    with pytest.raises(DataError, match="gzip"):
        load_predictions(tmp_path / "cut.csv.gz", scores="probs")


# --- orders that names decide, and orders that nothing decides


@pytest.mark.parametrize(("no", "yes"), [("negative", "positive"), ("p_normal", "p_abnormal")])
def test_opposites_in_the_names_decide(csv, no, yes):
    for names in ((no, yes), (yes, no)):
        scores = np.column_stack([RISK if name == yes else 1 - RISK for name in names])
        rows = load_predictions(csv(table(scores, names, label=ILL)), scores="probs")
        assert rows.class_names == (no, yes)
        np.testing.assert_allclose(rows.probabilities()[:, 1], RISK)


def test_an_order_that_the_scores_speak_against_is_asked_for(csv):
    ill = (RISK > 0.5).astype(int)
    file = csv(table(np.column_stack([RISK, 1 - RISK]), ("x", "y"), label=ill))
    with pytest.raises(DataError, match=r"accuracy 0.00 %; as the columns y, x: accuracy 100.00 %"):
        load_predictions(file, scores="probs")
    chosen = load_predictions(file, scores="probs", class_names=["y", "x"])
    assert accuracy(chosen) == 1


def test_arrays_printed_into_cells(csv):
    for cells in ([str(row.tolist()) for row in P], [str(row) for row in P]):
        rows = load_predictions(
            csv(pd.DataFrame({"probs": cells, "label": LABELS})), scores="probs"
        )
        np.testing.assert_allclose(rows.probabilities(), P, atol=1e-7)


def test_decimals_as_labels_and_labels_joined_by_any_shared_name(csv):
    names = [f"a{i}.png" for i in range(N)]
    csv(pd.DataFrame({"image_name": names[::-1], "target": ILL[::-1]}), "truth.csv")
    file = csv(pd.DataFrame({"image_name": names, "target": RISK}))
    rows = load_predictions(file, scores="probs", labels_file="truth.csv")
    assert rows.labels.tolist() == ILL.tolist()
    rows = load_predictions(csv(pd.DataFrame({"p": RISK, "y": ILL.astype(float)})), scores="probs")
    assert rows.class_names == ("0", "1")
    assert rows.labels.tolist() == ILL.tolist()


def test_columns_beside_the_classes_and_other_words_for_a_scale(csv):
    beside = csv(table(label=LABELS, iou=np.linspace(0.1, 0.2, N)))
    assert load_predictions(beside, scores="probs").class_names == NAMES
    aged = csv(table(Z, label=LABELS, **{"Age (years)": 40.5}))
    assert load_predictions(aged, scores="logits").class_names == NAMES
    with pytest.raises(DataError, match="pass --percent"):
        load_predictions(csv(pd.DataFrame({"risk": 100 * RISK, "label": ILL})), scores="logits")
    with pytest.raises(DataError, match="pass --probs instead of --percent"):
        load_predictions(csv(table(label=WORDS)), scores="percent")
    words = np.where(ILL, "Malignant", "Benign")
    file = csv(pd.DataFrame({"score": RISK, "label": words}))
    rows = load_predictions(file, scores="probs", positive_label="malignant")
    assert rows.labels.tolist() == ILL.tolist()
