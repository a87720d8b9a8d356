import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.types.predictions import Predictions, from_probabilities

NAMES = ("cat", "dog, small", "émeu")
LOGITS = np.array([[2.0, 0.5, -1.25], [0.1, 1e-7, 3.0], [-5.0, 4.0, 1 / 3], [0.0, 0.0, 0.0]])
LABELS = np.array([0, 2, 1, 1])


def sample(**changes):
    fields = {"logits": LOGITS, "labels": LABELS, "class_names": NAMES} | changes
    return Predictions(**fields)


@pytest.fixture
def csv(tmp_path):
    def write(text, name="p.csv"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        file = tmp_path / "p.npz"
        np.savez(file, **arrays)
        return file

    return write


# --- round trips


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npz", "safetensors"])
def test_logits_survive_every_format(tmp_path, suffix):
    file = tmp_path / f"p.{suffix}"
    first = sample(ids=["a", "b", "c", "01"], groups=["p", "p", "q", "1"])
    save_predictions(first, file)
    again = load_predictions(file, scores="logits")
    assert np.array_equal(again.logits, LOGITS)
    assert again.logits.dtype == np.float64
    assert again.labels.tolist() == LABELS.tolist()
    assert again.class_names == NAMES
    assert again.ids.tolist() == ["a", "b", "c", "01"]
    assert again.groups.tolist() == ["p", "p", "q", "1"]
    assert again.kind == "logits"


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_probabilities_survive_foreign_formats(tmp_path, suffix):
    file = tmp_path / f"p.{suffix}"
    probabilities = softmax(LOGITS, axis=1)
    save_predictions(from_probabilities(probabilities, LABELS, class_names=NAMES), file)
    again = load_predictions(file, scores="probs")
    assert again.kind == "log_probs"
    assert np.allclose(again.probabilities(), probabilities, rtol=1e-14, atol=0)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), n=st.integers(1, 5), k=st.integers(1, 4))
def test_any_finite_logits_survive_csv_and_own_format(tmp_path_factory, data, n, k):
    flat = data.draw(st.lists(st.floats(-1e300, 1e300), min_size=n * k, max_size=n * k))
    values = np.asarray(flat).reshape(n, k)
    values[0, 0] = -1.0  # so that no draw is mistaken for probabilities
    folder = tmp_path_factory.mktemp("p")
    for name in ("p.csv", "p.safetensors"):
        save_predictions(Predictions(logits=values, labels=[0] * n), folder / name)
        again = load_predictions(folder / name, scores="logits")
        assert np.array_equal(again.logits, values)


def test_npz_keeps_split_and_extras_and_single_precision(tmp_path):
    extras = {"zero_shot_logits": LOGITS + 1}
    first = sample(logits=LOGITS.astype(np.float32), split="val", extras=extras)
    save_predictions(first, tmp_path / "p.npz")
    again = load_predictions(tmp_path / "p.npz", scores="logits")
    assert again.split == "val"
    assert again.logits.dtype == np.float32
    assert again.resolution == np.finfo(np.float32).eps
    assert np.array_equal(again.extras["zero_shot_logits"], LOGITS + 1)


def test_saving_leaves_no_temporary_files(tmp_path):
    save_predictions(sample(), tmp_path / "p.safetensors")
    save_predictions(sample(), tmp_path / "p.csv")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p.csv", "p.json", "p.safetensors"]


# --- what the file or the caller says


def test_foreign_rows_count_as_test_rows_unless_said(csv):
    file = csv("cat,dog,label\n2.5,1,cat\n")
    assert load_predictions(file, scores="logits").split == "test"
    assert load_predictions(file, scores="logits", split="val").split == "val"


def test_the_split_in_a_file_cannot_be_talked_away(tmp_path):
    for name in ("p.npz", "p.safetensors"):
        save_predictions(sample(split="test"), tmp_path / name)
        with pytest.raises(
            DataError, match=r"split is .test. in the file, but .val. was asked for"
        ):
            load_predictions(tmp_path / name, scores="logits", split="val")
    with pytest.raises(SplitError):
        load_predictions(tmp_path / "p.npz", scores="logits", split="val")


def test_labels_by_name_and_by_index_agree(csv):
    by_name = load_predictions(csv("cat,dog,label\n2.5,1,dog\n0,1.5,cat\n"), scores="logits")
    by_index = load_predictions(csv("cat,dog,label\n2.5,1,1\n0,1.5,0\n"), scores="logits")
    assert by_name.labels.tolist() == by_index.labels.tolist() == [1, 0]


def test_other_names_and_exclusion(csv):
    file = csv("row,truth,patient,note,cat,dog,uid\n7,dog,p1,ok,2.5,1,u1\n8,cat,p1,,0,1.5,u2\n")
    p = load_predictions(
        file, scores="logits", labels="truth", group="patient", ids="uid", exclude=["row", "note"]
    )
    assert p.class_names == ("cat", "dog")
    assert (p.ids.tolist(), p.groups.tolist()) == (["u1", "u2"], ["p1", "p1"])


def test_class_list_chooses_the_order_of_columns(csv):
    file = csv("dog,cat,label\n2.5,1,0\n")
    p = load_predictions(file, scores="logits", class_names=["cat", "dog"])
    assert p.logits.tolist() == [[1.0, 2.5]]
    assert p.labels.tolist() == [0]


def test_class_called_true_or_na_is_a_name(csv):
    p = load_predictions(csv("true,NA,label\n2.5,1,NA\n0,1.5,true\n"), scores="logits")
    assert p.labels.tolist() == [1, 0]


def test_probabilities_can_be_renormalised_beyond_what_rounding_explains(csv):
    file = csv("a,b,c,label\n0.333,0.333,0.328,a\n")
    with pytest.raises(
        DataError, match=r"do not sum to 1 .*tolerance 0.0015 for 3 decimals.*renormalise"
    ):
        load_predictions(file, scores="probs")
    p = load_predictions(file, scores="probs", renormalise=True)
    assert np.allclose(p.probabilities()[0, 0], 0.333 / 0.994)
    with pytest.raises(SpecError, match=r"renormalise=True is for probabilities"):
        load_predictions(file, scores="logits", renormalise=True)


def test_names_in_npz_and_labels_as_column(npz):
    file = npz(probs=softmax(LOGITS, axis=1), labels=LABELS[:, None], class_names=np.array(NAMES))
    p = load_predictions(file, scores="probs")
    assert p.class_names == NAMES
    assert p.labels.tolist() == LABELS.tolist()
    named = npz(
        logits=LOGITS, labels=np.array(["émeu", "cat", "cat", "cat"]), class_names=np.array(NAMES)
    )
    assert load_predictions(named, scores="logits").labels.tolist() == [2, 0, 0, 0]


# --- tables that cannot be read


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("cat,dog,lable\n1,2,cat\n", {}, 'no column "label"; .*labels=NAME: did you mean "lable"'),
        ("cat,dog,label\n1,2,cat\n", {"group": "patient"}, 'no column "patient"; .*group=NAME: valid: cat'),
        ("cat,dog,label\n1,2,cat\n1,x7,cat\n", {}, 'column "dog" is not numeric .first "x7" in data row 2'),
        ("cat,cat,label\n1,2,cat\n", {}, "column names occur twice: cat"),
        ("label,id\ncat,1\n", {}, "no class columns; found only label, id"),
        ("cat,dog,label\n", {}, "has a header but no rows"),
        ("", {}, r"the file is empty \(0 bytes\)"),
        ("cat,dog,label\n1,2\n", {}, "not readable as a .csv table .*Expected 3 columns, got 2"),
        ("cat,dog,label\n1,2,cow\n", {}, '1 labels are not in the class list, first "cow"; valid: cat'),
        ("cat,dog,label\n1,2,5\n", {}, "outside 0 to 1 .*; first: 5 in row 0. Labels count"),
        ("cat,dog,label\n1,2,-1\n", {}, "outside 0 to 1"),
        ("cat,dog,label\n1,2,1.5\n", {}, 'labels are not in the class list, first "1.5"'),
        ("cat,dog,label\n1,2,nan\n", {}, 'column "label" is empty in 1 rows, first in data row 1'),
        ("cat,dog,label\n1,2,\n3,4,cat\n", {}, 'column "label" is empty in 1 rows, first in data row 1'),
        ("1,2,label\n0.5,2,1\n", {}, 'class "1" is number 0: index or name is not guessed'),
        ("cat,dog,label\n1,2,cat\n1,,cat\n", {}, "logits: NaN or infinite values in 1 of 2 rows"),
        ("cat,dog,label\n1,2,cat\n1,inf,cat\n", {}, 'in 1 of 2 rows, first in column "dog", data row 2'),
        ("cat,dog,label,id\n1,2,cat,a\n3,4,cat,a\n", {}, "ids: 1 occur more than once"),
        ("cat,dog,label\n1,2,cat\n", {"class_names": ["cat", "cow"]}, 'no column for class "cow"'),
        ("cat,dog,label\n1,2,cat\n", {"exclude": ["dgo"]}, 'no column "dgo"; did you mean "dog"'),
        ("cat,dog,label\n0.25,0.75,cat\n", {}, 'these are probabilities, not logits; pass scores="probs"'),
    ],
)  # fmt: skip
def test_bad_tables(csv, text, options, message):
    file = csv(text)
    with pytest.raises(DataError, match=message) as caught:
        load_predictions(file, scores="logits", **options)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,label\n3.5,-1,a\n", "values outside .*, first row 0: .* look like logits"),
        ("a,b,label\n0.5,0.4,a\n", r"do not sum to 1 \(worst: row 0 sums to 0.9"),
        ("a,b,label\n0.5,nan,a\n0.5,0.5,a\n", "probs: NaN or infinite values in 1 of 2 rows"),
    ],
)  # fmt: skip
def test_bad_probabilities(csv, text, message):
    with pytest.raises(DataError, match=message):
        load_predictions(csv(text), scores="probs")


def test_scores_must_be_said(csv):
    file = csv("a,b,label\n0.5,0.5,a\n")
    with pytest.raises(SpecError, match=r'scores="logits" or scores="probs"; got None'):
        load_predictions(file)
    with pytest.raises(SpecError, match=r"got 'prob'"):
        load_predictions(file, scores="prob")


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(DataError, match=r"gone.csv: no such file"):
        load_predictions(tmp_path / "gone.csv", scores="probs")
    (tmp_path / "a.xls").touch()
    with pytest.raises(
        DataError, match=r'unknown kind of file ".xls"; expected one of .safetensors, .npz'
    ):
        load_predictions(tmp_path / "a.xls", scores="probs")
    with pytest.raises(DataError, match=r'unknown kind of file ".pkl"'):
        save_predictions(sample(), tmp_path / "a.pkl")


def test_truncated_parquet(tmp_path):
    file = tmp_path / "p.parquet"
    save_predictions(sample(), file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"not readable as a .parquet table"):
        load_predictions(file, scores="logits")


def test_tables_refuse_class_names_they_cannot_carry(tmp_path):
    for names, what in ((("label", "a", "b"), 'called "label"'), (("1", "2", "3"), 'called "1"')):
        with pytest.raises(DataError, match=f"cannot carry a class {what}; save as .safetensors"):
            save_predictions(sample(class_names=names), tmp_path / "p.csv")
    assert list(tmp_path.iterdir()) == []


# --- NPZ files that cannot be read


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": LOGITS, "probs": LOGITS, "labels": LABELS}, r'both logits and .* exclude=\["probs"\]'),
        ({"logist": LOGITS, "labels": LABELS}, 'no array logits or probs of .* did you mean "logist"'),
        ({"probs": LOGITS, "labels": LABELS}, 'holds "probs", but scores="logits" was asked for'),
        ({"logits": LOGITS, "lable": LABELS}, 'no array "labels"; .*labels=NAME: did you mean "lable"'),
        ({"logits": LOGITS, "labels": LABELS, "class_names": ["a", "", "c"]}, "name of class 1 is empty"),
        ({"logits": LOGITS[0], "labels": LABELS}, r"logits: expected shape \(N, K\), got \(3,\)"),
        ({"logits": LOGITS, "labels": LABELS[:2]}, "labels: expected 4 values for 4 rows, got 2"),
        ({"logits": LOGITS, "labels": np.eye(4)}, r"labels: expected one label per row, .* argmax"),
        ({"logits": LOGITS, "labels": LABELS + 0.5}, "expected integers or class names, got decimals"),
        ({"logits": LOGITS, "labels": LABELS + 2}, "outside 0 to 2"),
        ({"logits": LOGITS, "labels": LABELS, "class_names": ["a", "b"]}, "class_names: .* 3 columns, got 2"),
        ({"logits": LOGITS, "labels": LABELS, "id": LABELS}, r'unknown array "id"; .* exclude=\[.id.\]'),
        ({"logits": LOGITS, "labels": LABELS, "split": "tset"}, 'unknown split "tset"; did you mean "test"'),
        ({"logits": LOGITS.astype(object), "labels": LABELS}, "holds pickled Python objects"),
    ],
)  # fmt: skip
def test_bad_npz(npz, arrays, message):
    file = npz(**arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_predictions(file, scores="logits")
    assert str(caught.value).startswith(str(file))


def test_exclude_settles_both_scores(npz):
    file = npz(logits=LOGITS, probs=softmax(LOGITS, axis=1), label=LABELS)
    p = load_predictions(file, scores="logits", labels="label", exclude=["probs"])
    assert p.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_truncated_npz(npz, keep):
    file = npz(logits=LOGITS, labels=LABELS)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"not a readable NPZ file|holds pickled Python objects"):
        load_predictions(file, scores="logits")


def test_a_pickle_called_npz_is_not_loaded(tmp_path):
    import pickle

    file = tmp_path / "p.npz"
    file.write_bytes(pickle.dumps({"logits": LOGITS}))
    with pytest.raises(DataError, match=r"holds pickled Python objects"):
        load_predictions(file, scores="logits")


@pytest.mark.slow
def test_many_rows_of_csv_survive(tmp_path):
    n = 200_000
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 10)).astype(np.float32)
    file = tmp_path / "p.csv"
    save_predictions(Predictions(logits=logits, labels=rng.integers(0, 10, n)), file)
    again = load_predictions(file, scores="logits")
    assert np.array_equal(again.logits.astype(np.float32), logits)
