"""What stands around a table and in its cells: each layout gives the same numbers as the plain table."""

import json

import numpy as np
import pandas as pd
import pytest

from vlmcal.cli import arguments
from vlmcal.errors import DataError
from vlmcal.io.prediction_sets import load_prediction_sets, save_prediction_sets
from vlmcal.io.predictions import load_predictions, read_predictions, save_predictions
from vlmcal.io.table_output import TABLES
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import from_probabilities

N, NAMES = 40, ("cat", "dog", "owl")
RNG = np.random.default_rng(3)
Z = RNG.normal(size=(N, 3)) * 2 + 0.001
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
LABELS = (Z + RNG.gumbel(size=Z.shape)).argmax(axis=1)
WORDS = np.array(NAMES)[LABELS]
ROWS = [dict(zip(NAMES, row, strict=True)) for row in P.tolist()]


def frame(scores=P, **more):
    return pd.DataFrame(dict(zip(NAMES, np.asarray(scores).T, strict=True)) | more)


PLAIN = frame(label=WORDS).to_csv(index=False)
SPACED = "\n".join(
    [
        "cat dog owl label",
        *(
            f"{a:.6f}  {b:.6f}\t{c:.6f} {w}".replace("\t", " ")
            for (a, b, c), w in zip(P, WORDS, strict=True)
        ),
    ]
)
R_ROWS = "\n".join(
    [
        "cat dog owl label",
        *(
            f'"{i}" {a} {b} {c} "{w}"'
            for i, ((a, b, c), w) in enumerate(zip(P, WORDS, strict=True), 1)
        ),
    ]
)
GERMAN = "\n".join(
    [
        "cat;dog;owl;label",
        *(
            ";".join([*(f"{1000 * v:,.3f}".translate(str.maketrans(",.", ".,")) for v in z), w])
            for z, w in zip(Z, WORDS, strict=True)
        ),
    ]
)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "# model: x\n# seed, 1\n" + PLAIN, "2 comment lines"),
        ("a.csv", PLAIN.replace("\n", "\n# second part\n", 2), "2 comment lines"),
        ("a.tsv", "#" + PLAIN.replace(",", "\t"), "TSV"),
        (
            "a.csv",
            "Results of the reader study, 2024\n\n" + PLAIN,
            "title above the header: Results of",
        ),
        ("a.csv", "Results,,,\n" + PLAIN, "title above the header: Results"),
        ("a.csv", PLAIN + ",,,\n\n,,,\n", "2 empty rows left out"),
        (
            "a.csv",
            PLAIN.replace("\n", ",\n", 1).replace("\n", ",\n").replace(",,\n", ",\n", 1),
            "CSV",
        ),
        ("a.txt", SPACED, 'separator "space"'),
        ("a.dat", SPACED, 'separator "space"'),
        ("a.dat", PLAIN, 'separator ","'),
        ("a.tab", PLAIN.replace(",", "\t"), "TAB"),
        ("a.txt", R_ROWS, 'separator "space"'),
        ("a.csv", PLAIN.replace("\n", "\r"), "CSV"),
        ("a.csv", "sep=;\n" + PLAIN.replace(",", ";"), 'separator ";"'),
    ],
)
def test_what_stands_around_a_table(tmp_path, name, text, said):
    file = tmp_path / name
    file.write_text(text, newline="")
    rows = read_predictions(file, scores="probs")
    assert rows.data.class_names == NAMES
    assert rows.data.labels.tolist() == LABELS.tolist()
    assert np.allclose(rows.data.probabilities(), P, atol=1e-6)
    assert said in rows.plan.form


@pytest.mark.parametrize(
    "text",
    [
        GERMAN,
        frame(np.vectorize(lambda v: f"{1000 * v:,.3f}")(Z), label=WORDS).to_csv(index=False),
        frame(
            np.vectorize(lambda v: f"{1000 * v:,.3f}".replace(",", "\u202f"))(Z), label=WORDS
        ).to_csv(index=False),
        frame(
            np.vectorize(lambda v: f"{1000 * v:.3f}".replace("-", "\u2212"))(Z), label=WORDS
        ).to_csv(index=False),
    ],
)
def test_thousands_and_minus_signs(tmp_path, text):
    file = tmp_path / "a.csv"
    file.write_text(text, encoding="utf-8")
    found = load_predictions(file, scores="logits")
    assert found.logits == pytest.approx((1000 * Z).round(3))


def test_a_comma_of_unknown_meaning_is_no_number(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('y,score\n1,"1,234"\n0,"-2,345"\n')
    with pytest.raises(DataError, match=r"is not numeric .*1,234"):
        load_predictions(file, scores="logits")
    file.write_text('y,score,more\n1,"1,234",0.5\n0,"-2,345",0.25\n')
    found = load_predictions(file, scores="logits", positive="score")
    assert found.logits[:, 1].tolist() == [1234, -2345]


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_significant_digits_are_rounding(tmp_path, digits):
    file = tmp_path / "a.csv"
    frame(np.vectorize(lambda v: f"{v:.{digits - 1}e}")(P), label=WORDS).to_csv(file)
    found = read_predictions(file, scores="probs")
    assert f"{digits} significant digits" in found.plan.notes[0]
    assert np.abs(found.data.probabilities() - P).max() < 10.0**-digits


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_half_precision_in_text(tmp_path, kind):
    file = tmp_path / "a.csv"
    frame(P.astype(np.float16).astype(kind), label=WORDS).to_csv(file)
    found = read_predictions(file, scores="probs")
    assert "half precision; tolerance 0.005" in found.plan.notes[0]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ([str(row) for row in P], LABELS),
        ([str(list(row)) for row in P], LABELS),
        ([f"tensor([{a:.6f}, {b:.6f}, {c:.6f}], device='cuda:0')" for a, b, c in P], LABELS),
        ([f"array([[{a}, {b}, {c}]], dtype=float32)" for a, b, c in P], LABELS),
        ([json.dumps(row) for row in ROWS], WORDS),
        ([str(row) for row in ROWS], WORDS),
    ],
)
def test_lists_and_objects_in_cells(tmp_path, cells, labels):
    for file, write in (
        (tmp_path / "a.csv", pd.DataFrame.to_csv),
        (tmp_path / "a.xlsx", pd.DataFrame.to_excel),
    ):
        write(pd.DataFrame({"label": labels, "probs": cells}), file)
        found = load_predictions(file, scores="probs")
        assert found.labels.tolist() == LABELS.tolist()
        assert np.allclose(found.probabilities(), P, atol=1e-5)


FULL = [{"label": str(w), **row} for w, row in zip(WORDS, ROWS, strict=True)]


@pytest.mark.parametrize(
    "value",
    [
        {"model": "x", "predictions": FULL},
        {"model": {"name": "x"}, "tags": ["a"], "results": FULL},
        {f"i{at}": row for at, row in enumerate(FULL)},
        {"classes": NAMES, "labels": LABELS.tolist(), "probs": P.tolist()},
        {"class_names": NAMES, "labels": WORDS.tolist(), "probs": P.tolist(), "seed": 1},
        {
            "classes": NAMES,
            "rows": [
                {"label": w, "probs": p} for w, p in zip(WORDS.tolist(), P.tolist(), strict=True)
            ],
        },
        [
            {"label": w, "classes": NAMES, "p": p}
            for w, p in zip(WORDS.tolist(), P.tolist(), strict=True)
        ],
        json.loads(frame(label=WORDS).to_json(double_precision=15)),
        json.loads(frame(label=WORDS).to_json(orient="split", double_precision=15)),
        json.loads(frame(label=WORDS).to_json(orient="table", double_precision=15)),
        json.loads(frame(label=WORDS).to_json(orient="index", double_precision=15)),
    ],
)
def test_what_stands_around_rows_in_json(tmp_path, value):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(value))
    found = load_predictions(file, scores="probs")
    assert [name.rpartition(".")[2] for name in found.class_names] in (list(NAMES), ["0", "1", "2"])
    assert found.labels.tolist() == LABELS.tolist()
    assert np.allclose(found.probabilities(), P, atol=1e-9)


def test_several_tables_in_one_json_file_are_named(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"val": FULL[:3], "test": FULL[3:]}))
    with pytest.raises(DataError, match="several tables: val, test"):
        load_predictions(file, scores="probs")


def test_a_workbook_whose_first_sheet_tells_about_it(tmp_path):
    file = tmp_path / "a.xlsx"
    with pd.ExcelWriter(file) as book:
        pd.DataFrame({"about": ["reader study"]}).to_excel(book, sheet_name="README", index=False)
        frame(label=WORDS).to_excel(book, sheet_name="scores", index=False, startrow=2, startcol=1)
        book.sheets["scores"]["A1"] = "Scores of the second reading"
        frame(label=WORDS[::-1]).to_excel(book, sheet_name="old", index=False)
    rows = read_predictions(file, scores="probs")
    assert 'sheet "scores", title above the header: Scores of the second reading' in rows.plan.form
    assert rows.plan.notes == ("other sheets with tables: old; name one with --sheet",)
    assert rows.data.labels.tolist() == LABELS.tolist()
    old = load_predictions(file, scores="probs", sheet="old")
    assert old.labels.tolist() == LABELS[::-1].tolist()


def test_a_table_without_names_is_refused_as_one(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(PLAIN.partition("\n")[2])
    with pytest.raises(DataError, match=r"the first line holds numbers .* add a header"):
        load_predictions(file, scores="probs")


# --- labels elsewhere, and labels as words


def joined_pair(tmp_path, ours, theirs, **more):
    pictures, order = np.array([f"im{at:03}" for at in range(N)]), RNG.permutation(N)
    scores, labels = tmp_path / "scores.csv", tmp_path / "labels.csv"
    frame(**{ours[0]: np.char.add(np.char.add(ours[1], pictures), ours[2])}).to_csv(
        scores, index=False
    )
    names = np.char.add(np.char.add(theirs[1], pictures), theirs[2])
    pd.DataFrame({theirs[0]: names[order], "dx": WORDS[order], **more}).to_csv(labels, index=False)
    return scores, labels


@pytest.mark.parametrize(
    ("ours", "theirs", "how"),
    [
        (("image", "", ".jpg"), ("image", "", ""), 'joined by "image" without folders and endings'),
        (("image", "", ""), ("image_id", "", ""), 'joined by "image" and "image_id"'),
        (("filename", "data/test/", ".png"), ("image", "", ".jpeg"), "without folders and endings"),
        (("case", "", ""), ("case", "", ""), 'joined by "case"'),
    ],
)
def test_labels_are_joined_by_the_names_of_the_rows(tmp_path, ours, theirs, how):
    scores, labels = joined_pair(tmp_path, ours, theirs)
    rows = read_predictions(scores, scores="probs", labels_file=labels)
    assert rows.data.labels.tolist() == LABELS.tolist()
    assert how in rows.plan.label


def test_rows_named_twice_must_agree(tmp_path):
    scores, labels = joined_pair(tmp_path, ("image", "", ""), ("image", "", ""))
    table = pd.read_csv(labels)
    pd.concat([table, table[:5]]).to_csv(labels, index=False)
    found = load_predictions(scores, scores="probs", labels_file=labels, ids="image")
    assert found.labels.tolist() == LABELS.tolist()
    pd.concat([table, table[:5].assign(dx="emu")]).to_csv(labels, index=False)
    with pytest.raises(DataError, match=r"twice with two labels, first \"im\d+\": \w+ and emu"):
        load_predictions(scores, scores="probs", labels_file=labels, ids="image")


def test_files_without_a_shared_column_are_told_what_is_missing(tmp_path):
    scores, labels = joined_pair(tmp_path, ("image", "", ""), ("case", "x", ""))
    with pytest.raises(
        DataError, match=r"no column of it names the rows .* give both files a column"
    ):
        load_predictions(scores, scores="probs", labels_file=labels)


def test_labels_of_arrays_in_a_second_file(tmp_path):
    file, beside = tmp_path / "a.npz", tmp_path / "y.npy"
    np.savez(file, logits=Z, labels=np.zeros(N, int), classes=np.array(NAMES), features=Z)
    np.save(beside, LABELS)
    rows = read_predictions(file, scores="logits", labels_file=beside)
    assert rows.data.labels.tolist() == LABELS.tolist()
    assert rows.data.class_names == NAMES
    assert rows.plan.left_out == {"features": "array of shape (40, 3)"}
    np.savez(file, logits=Z, ids=[f"a/{at}.png" for at in range(N)])
    pd.DataFrame({"image": range(N), "label": LABELS}).to_csv(tmp_path / "y.csv", index=False)
    found = load_predictions(file, scores="logits", labels_file=tmp_path / "y.csv", ids="ids")
    assert found.labels.tolist() == LABELS.tolist()


def test_arrays_without_names_need_only_the_labels_named(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, P, LABELS)
    with pytest.raises(DataError, match=r"no array logits or probs .*labels=NAME"):
        load_predictions(file, scores="probs")
    found = load_predictions(file, scores="probs", labels="arr_1")
    assert found.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("no", "yes"), [("no", "yes"), ("False", "True"), ("negative", "positive")]
)
@pytest.mark.parametrize(
    "columns", [("prob_1", "prob_0"), ("p(y=1)", "p(y=0)"), ("class 1", "class 0")]
)
def test_yes_and_no_against_columns_0_and_1(tmp_path, no, yes, columns):
    risk, file = P[:, 1], tmp_path / "a.csv"
    ill = LABELS == 1
    pd.DataFrame({columns[0]: risk, columns[1]: 1 - risk, "y": np.where(ill, yes, no)}).to_csv(file)
    rows = read_predictions(file, scores="probs")
    assert rows.data.class_names == (no, yes)
    assert rows.data.labels.tolist() == ill.astype(int).tolist()
    assert np.allclose(rows.data.probabilities()[:, 1], risk)


def test_a_class_and_its_absence(tmp_path):
    risk, file = P[:, 1], tmp_path / "a.csv"
    pd.DataFrame({"tumor": risk, "no tumor": 1 - risk, "y": (LABELS == 1).astype(int)}).to_csv(file)
    rows = read_predictions(file, scores="probs")
    assert rows.data.class_names == ("no tumor", "tumor")
    assert np.allclose(rows.data.probabilities()[:, 1], risk)


def test_rows_of_the_truth_without_a_mark_are_no_findings(tmp_path):
    marks = np.eye(3, dtype=int)[LABELS]
    marks[5] = 0
    file = tmp_path / "a.csv"
    frame(**{f"true_{name}": marks[:, at] for at, name in enumerate(NAMES)}).to_csv(file)
    with pytest.raises(DataError, match=r"1 of 40 rows mark no class .*first data row 6"):
        load_predictions(file, scores="probs")


def test_rows_of_lm_eval_with_a_target_are_sent_to_their_verb(tmp_path):
    file = tmp_path / "samples.jsonl"
    row = {"doc_id": 0, "target": "A", "resps": [["A"]], "acc": 1.0}
    file.write_text("\n".join(json.dumps({**row, "doc_id": at}) for at in range(5)))
    with pytest.raises(DataError, match="vlmcal vqa import FILE"):
        load_predictions(file, scores="probs")


# --- what is not read in silence


def test_columns_in_another_order_than_the_numbers_of_the_labels_are_asked_about(tmp_path):
    file = tmp_path / "a.csv"
    frame(label=LABELS)[["owl", "cat", "dog", "label"]].to_csv(file, index=False)
    with pytest.raises(DataError, match=r"Which is right is not guessed: .*--classes cat,dog,owl"):
        load_predictions(file, scores="probs")
    found = load_predictions(file, scores="probs", class_names=NAMES)
    assert (found.probabilities().argmax(axis=1) == found.labels).mean() > 0.5


def test_numbers_in_the_labels_and_in_the_columns(tmp_path):
    file = tmp_path / "a.csv"
    for spelled in ("class {}", "tensor({})", "c{}"):
        table = pd.DataFrame({f"prob_{at}": P[:, at] for at in (2, 0, 1)})
        table.assign(label=[spelled.format(at) for at in LABELS]).to_csv(file, index=False)
        found = load_predictions(file, scores="probs")
        assert found.class_names == tuple(spelled.format(at) for at in range(3))
        assert found.labels.tolist() == LABELS.tolist()


def test_a_row_of_totals_is_shown(tmp_path):
    file = tmp_path / "a.csv"
    total = pd.DataFrame([[*P.mean(axis=0), "mean"]], columns=[*NAMES, "label"])
    pd.concat([frame(label=WORDS), total]).to_csv(file, index=False)
    with pytest.raises(DataError, match=r'first "mean" in data row 41; .*Leave out rows of totals'):
        load_predictions(file, scores="probs")


def test_percent_signs_in_one_column(tmp_path):
    file = tmp_path / "a.csv"
    risk = P[:, 1].round(3)
    pd.DataFrame({"y": LABELS == 1, "risk": [f"{100 * r:.1f} %" for r in risk]}).to_csv(file)
    assert np.allclose(load_predictions(file, scores="probs").probabilities()[:, 1], risk)


def test_composed_and_decomposed_letters_are_one(tmp_path):
    file = tmp_path / "a.csv"
    words = np.array(["e\u0301meu", "dog", "owl"])[LABELS]
    frame(label=words).rename(columns={"cat": "\u00e9meu"}).to_csv(file, index=False)
    assert load_predictions(file, scores="probs").labels.tolist() == LABELS.tolist()


def test_json_of_the_other_kind_and_names_of_other_kinds(tmp_path):
    lines = "\n".join(map(json.dumps, FULL))
    for name, text in (
        ("a.json", lines),
        ("a.jsonl", json.dumps(FULL)),
        ("b.jsonl", json.dumps(FULL, indent=1)),
    ):
        (tmp_path / name).write_text(text)
        assert load_predictions(tmp_path / name, scores="probs").labels.tolist() == LABELS.tolist()
    frame(label=WORDS).to_parquet(tmp_path / "a.parquet")
    frame(label=WORDS).to_csv(tmp_path / "b.csv.gz", index=False)
    (tmp_path / "a.parquet").rename(tmp_path / "a.csv")
    (tmp_path / "b.csv.gz").rename(tmp_path / "b.csv")
    (tmp_path / "a.xlsx").write_text(PLAIN)
    for name, message in (
        ("a.csv", "Parquet .* end in .parquet"),
        ("b.csv", "gzip"),
        ("a.xlsx", "end in .csv"),
    ):
        with pytest.raises(DataError, match=message):
            load_predictions(tmp_path / name, scores="probs")


def test_verdicts_in_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", confidences=P.max(axis=1), correct=P.argmax(axis=1) == LABELS)
    found = read_predictions(tmp_path / "a.npz", scores="probs").data
    assert found.correct.tolist() == (P.argmax(axis=1) == LABELS).tolist()


# --- tables out


@pytest.mark.parametrize("ending", TABLES)
def test_what_is_written_is_read_again(tmp_path, ending):
    file = tmp_path / f"a{ending}"
    rows = from_probabilities(
        P, labels=LABELS, class_names=NAMES, ids=[f"im {at}" for at in range(N)]
    )
    save_predictions(rows, file)
    found = load_predictions(file, scores="probs")
    assert found.ids.tolist() == rows.ids.tolist()
    assert found.labels.tolist() == LABELS.tolist()
    assert np.allclose(found.probabilities(), P, atol=1e-12)
    sets = PredictionSets(sets=P > 0.2, labels=LABELS, alpha=0.1, class_names=NAMES, ids=rows.ids)
    save_prediction_sets(sets, tmp_path / f"s{ending}")
    again = load_prediction_sets(tmp_path / f"s{ending}")
    assert (again.sets == sets.sets).all()
    assert again.labels.tolist() == LABELS.tolist()


def test_the_command_line_names_the_same_endings():
    assert set(TABLES) == set(arguments.TABLES)


@pytest.mark.parametrize("names", [("no", "yes"), ("class 0", "class 1")])
def test_rows_without_labels_get_the_class_names_that_are_known(tmp_path, names):
    file = tmp_path / "new.csv"
    pd.DataFrame({"prob_1": P[:, 1], "prob_0": 1 - P[:, 1]}).to_csv(file, index=False)
    rows = load_predictions(file, scores="probs", labels_needed=False, known_classes=names)
    assert rows.class_names == names
    assert np.allclose(rows.probabilities()[:, 1], P[:, 1])
