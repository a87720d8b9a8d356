"""Cells, ids and overrides."""

import pytest

from vlmcal.errors import SpecError
from vlmcal.experiment.plan import Cell, objective_label, plan, run_id
from vlmcal.experiment.recipes import recipes
from vlmcal.experiment.spec import load_spec, parse_spec
from vlmcal.learners.base import LEARNERS
from vlmcal.objectives.compose import parse_objective
from vlmcal.objectives.presets import CALIBPROMPT_WEIGHTS

PRESETS_OF_METHODS = [
    (name, preset)
    for _, kind in LEARNERS.items()
    for name, preset in vars(kind).get("presets", {}).items()
]


def spec(**changes):
    base = {"data": "digits", "method": "coop"}
    return parse_spec({**base, **changes})


def test_axes_multiply_and_ignored_axes_collapse():
    cells = plan(
        spec(
            method=["zero_shot", "coop"],
            objective=["ce", ["ce", "tcpt"]],
            shots=[1, 4],
            seed="1..3",
        )
    )
    methods = [cell.method["name"] for cell in cells]
    assert methods.count("zero_shot") == 1
    assert methods.count("coop") == 2 * 2 * 3


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ({"name": "coop", "n_ctx": [2, 3]}, [{"n_ctx": 2}, {"n_ctx": 3}]),
        ("wise_ft(alpha=[0, 0.5, 1], base=coop)", [{"alpha": 0}, {}, {"alpha": 1}]),
        ({"name": "swag", "rank": [2, 4], "start": [0.1, 0.2]}, [
            {"rank": r, "start": s} for r in (2, 4) for s in (0.1, 0.2)
        ]),
        ({"name": "tpt", "steps": [2, 3]}, [{"steps": 2}, {"steps": 3}]),
    ],
)  # fmt: skip
def test_a_list_where_an_option_takes_one_value_is_an_axis(method, options):
    cells = plan(spec(method=[method]))
    found = [{k: v for k, v in cell.method.items() if k not in ("name", "base")} for cell in cells]
    assert found == options


@pytest.mark.parametrize("values", [[], [0.5, "half"], [0.5, 2]])
def test_an_axis_of_an_option_holds_what_the_option_takes(values):
    with pytest.raises(SpecError, match="alpha"):
        plan(spec(method={"name": "wise_ft", "alpha": values}))


def test_defaults_do_not_change_a_cell():
    plain, explicit = (
        plan(spec(method=[m], train=t))[0]
        for m, t in (("coop", {}), ({"name": "coop", "n_ctx": 16}, {"epochs": 50}))
    )
    assert plain == explicit


def test_golden_run_id():
    """The id of a fixed cell; if this changes, every store in the world forgets its runs."""
    cell = Cell(
        data={"name": "digits", "protocol": "base-to-new"},
        backbone="pocket",
        method={"name": "coop", "n_ctx": 4},
        objective=[{"name": "ce"}, {"name": "text_moments", "weight": 5.0}],
        shots=16,
        seed=1,
        train={"epochs": 10},
    )
    assert run_id(cell, "d" * 64, "b" * 64) == "736c7106c1565f07"


def test_id_depends_on_content_but_not_on_names_of_places():
    def of(**changes):
        (cell,) = plan(spec(**{"backbone": "pocket", **changes}))
        return run_id(cell, "data", "weights")

    assert of() == of(data={"path": "elsewhere"}) == of(backbone="./copy")
    assert of() != of(seed=2)
    assert of() != of(shots=8)
    assert of() != of(objective=[["ce", "tcpt"]])
    assert of() != of(data={"name": "digits", "protocol": "base-to-new"})
    assert of() != of(data={"name": "digits", "calibration": "few"})


@pytest.mark.parametrize(
    ("name", "preset"), PRESETS_OF_METHODS, ids=[name for name, _ in PRESETS_OF_METHODS]
)
def test_every_preset_is_a_cell_as_if_written_out(name, preset):
    """One cell, with the very id of the method, recipe and objective written by hand."""
    method = next(m for m, kind in LEARNERS.items() if name in vars(kind).get("presets", {}))
    kind = LEARNERS.get(method)
    objective = preset.get("objective", list(kind.default_objective))
    (cell,) = plan(spec(method=name))
    (by_hand,) = plan(
        spec(
            method=[{"name": method, **preset.get("method", {})}],
            train={"views": "epochs", **preset.get("train", {})},
            objective=[objective],
        )
    )
    assert run_id(cell, "data", "weights") == run_id(by_hand, "data", "weights")
    assert (
        "objective" in kind.ignores or cell.sum().to_spec() == parse_objective(objective).to_spec()
    )
    assert all(getattr(cell.train_config(), key) == v for key, v in preset.get("train", {}).items())


@pytest.mark.parametrize(
    ("preset", "weight"),
    [
        *[(f"coprompt-{name}", 8) for name in ("imagenet", "oxford_flowers", "sun397", "dtd")],
        *[(f"coprompt-{name}", 4) for name in ("caltech101", "stanford_cars")],
        *[(f"coprompt-{name}", 2) for name in ("fgvc_aircraft", "ucf101")],
        ("coprompt-food101", 0.5),
        *[(f"coprompt-{name}", 0.1) for name in ("oxford_pets", "eurosat")],
    ],
)
def test_co_prompt_presets_carry_their_consistency_weight(preset, weight):
    (cell,) = plan(spec(method=preset))
    assert [(o.name, o.weight) for o in cell.sum().objectives] == [("ce", 1), ("co_prompt", weight)]


def test_dept_on_kgcoop_carries_the_weights_of_all_three_terms():
    (cell,) = plan(spec(method="dept-kgcoop"))
    weights = {o.name: o.weight for o in cell.sum().objectives}
    assert weights == {"ce": 0.3, "dept": 0.7, "kgcoop": 2}
    (other,) = plan(spec(method={"name": "dept", "base": "kgcoop"}))
    assert {o.name for o in other.sum().objectives} == {"ce", "dept"}


def test_the_users_objective_comes_before_the_presets_and_that_before_the_methods():
    def names(method, **changes):
        (cell,) = plan(spec(method=method, **changes))
        return {o.name: o.weight for o in cell.sum().objectives}

    assert names("co_prompt") == {"ce": 1, "co_prompt": 1}
    assert names("coprompt-imagenet") == {"ce": 1, "co_prompt": 8}
    assert names("coprompt-imagenet", objective=[["ce", "mdca"]]) == {"ce": 1, "mdca": 1}
    (cell,) = plan(spec(method={"name": "coprompt-imagenet", "depth": 3}, train={"lr": 0.001}))
    assert cell.method["depth"] == 3
    assert cell.train_config().lr == 0.001
    assert {o.name: o.weight for o in cell.sum().objectives} == {"ce": 1, "co_prompt": 8}


@pytest.mark.parametrize(
    ("objective", "words"), [("cee", 'unknown objective "cee"'), ("dca", "no likelihood term")]
)
def test_a_presets_objective_is_checked_before_anything_runs(monkeypatch, objective, words):
    monkeypatch.setattr(LEARNERS.get("coop"), "presets", {"mine": {"objective": objective}})
    with pytest.raises(SpecError) as error:
        plan(spec(method="mine"))
    assert 'preset "mine"' in str(error.value)
    assert words in str(error.value)


def test_label_names_whole_presets():
    (cell,) = plan(spec(objective=[["ce", "tcpt"]]))
    assert objective_label(cell.objective) == "ce + tcpt"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metod": "coop"}, ['unknown key "metod"', '"method"']),
        ({"train": {"epoch": 3}}, ['unknown setting "epoch"', '"epochs"']),
        ({"evaluate": {"calibrator": "none"}}, ['"calibrators"']),
        ({"shots": 0}, ["at least 1"]),
        ({"seed": "3..1"}, ["empty range"]),
    ],
)
def test_a_wrong_file_is_explained(changes, words):
    with pytest.raises(SpecError) as error:
        spec(**changes)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "cop"}, ['unknown method or preset "cop"', '"coop"']),
        ({"method": "maple-j9-n2-ep55"}, ["unknown method or preset", '"maple-j9-n2-ep5"']),
        ({"method": {"name": "coop", "nctx": 4}}, ['no option "nctx"', '"n_ctx"']),
        (
            {"method": {"name": "ivlp", "text_depth": "two"}},
            ["text_depth", "whole number", "'two'"],
        ),
        ({"method": {"name": "ivlp", "text_depth": 2.5}}, ["text_depth", "whole number", "2.5"]),
        ({"train": {"epochs": 2.5}}, ["train.epochs", "whole number", "2.5"]),
        ({"train": {"epochs": True}}, ["train.epochs", "whole number", "True"]),
        ({"train": {"drop_last": "maybe"}}, ["train.drop_last", "true or false", "maybe"]),
        ({"train": {"lr": "fast"}}, ["train.lr", "a number", "fast"]),
        ({"train": {"lr": float("inf")}}, ["train.lr", "finite", "inf"]),
        ({"train": {"weight_decay": float("inf")}}, ["train.weight_decay", "finite"]),
        ({"objective": ["cee"]}, ['unknown objective "cee"', '"ce"']),
        ({"objective": ["dca"]}, ["likelihood", "ce"]),
        ({"data": {"protocol": "all-class"}}, ["name or a path"]),
    ],
)
def test_a_wrong_cell_is_refused_before_anything_runs(changes, words):
    with pytest.raises(SpecError) as error:
        plan(spec(**changes))
    assert all(word in str(error.value) for word in words)


def test_overrides(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("data: digits\nmethod: coop\ntrain: {epochs: 50}\n")
    changed = load_spec(path, ["train.epochs=3", "seed=1..2", "shots=4"])
    assert changed.train["epochs"] == 3
    assert changed.seed == [1, 2]
    assert changed.shots == [4]
    with pytest.raises(SpecError, match=r"key\.sub=value"):
        load_spec(path, ["epochs"])


@pytest.mark.parametrize(("text", "lr"), [("1e-3", 0.001), ("2E-4", 0.0002), ("1e1", 10.0)])
def test_numbers_with_an_exponent_need_no_point(tmp_path, text, lr):
    path = tmp_path / "s.yaml"
    path.write_text(f"data: digits\nmethod: coop\ntrain: {{lr: {text}}}\n")
    assert plan(load_spec(path))[0].train_config().lr == lr
    (cell,) = plan(load_spec(path, [f"train.weight_decay={text}"]))
    assert cell.train_config().weight_decay == lr


def test_an_override_reaches_into_a_mapping(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("data: {name: digits}\nmethod: coop\n")
    assert load_spec(path, ["data.protocol=all-class"]).data[0]["protocol"] == "all-class"
    with pytest.raises(SpecError, match="not a mapping"):
        load_spec(path, ["method.name=coop"])


@pytest.mark.parametrize(
    ("content", "words"),
    [("data: [", "not valid YAML"), ("- 1", "expected a mapping"), (None, "cannot be read")],
)
def test_unreadable_files(tmp_path, content, words):
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SpecError, match=words):
        load_spec(path)


def test_hostile_files_and_paths_are_one_message(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"data: digits\nmethod: '\xff'\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_spec(path)
    path.write_text("data: digits\nmethod: coop\n")
    with pytest.raises(SpecError, match="nested too deeply"):
        load_spec(path, ["objective=" + "[" * 3000])
    with pytest.raises(SpecError, match="cannot be imported"):
        LEARNERS.get("..x:y")


def objective_of(method, objective, **changes):
    (cell,) = plan(spec(method=[method], objective=[objective], **changes))
    return cell


def test_own_stands_for_the_terms_of_each_method():
    for name, kind in LEARNERS.items():
        if "objective" in kind.ignores:
            continue
        own = objective_of(name, None)
        assert objective_of(name, "own") == own
        more = objective_of(name, ["own", "tcpt"])
        assert all(term in more.objective for term in own.objective)
        assert more.objective == parse_objective([*own.objective, "tcpt"]).to_spec()
        assert "without" not in more.label()


def test_a_label_says_which_own_term_is_left_out():
    label = objective_of("kgcoop", ["ce", "tcpt"]).label()
    assert "ce + tcpt (without kgcoop's own term kgcoop)" in label
    assert "without" not in objective_of("coop", ["ce", "tcpt"]).label()


def test_own_takes_no_parameters():
    with pytest.raises(SpecError, match="takes no parameters, got weight"):
        objective_of("kgcoop", [{"name": "own", "weight": 2}])


@pytest.mark.parametrize(("method", "weight"), [("coop", 8.0), ("kgcoop", 2.0), ("maple", 2.0)])
def test_dor_has_the_weight_published_for_the_method(method, weight):
    (cell,) = plan(spec(method=[method], objective=[["own", "dor"]]))
    (dor,) = [part for part in cell.sum().objectives if part.name == "dor"]
    assert dor.weight == weight
    given = objective_of(method, ["own", {"name": "dor", "weight": 5}])
    assert [part.weight for part in given.sum().objectives if part.name == "dor"] == [5.0]


def test_views_may_follow_the_epochs():
    cell = objective_of("coop", "ce", train={"views": "epochs", "epochs": 7})
    assert cell.train_config().bank == 7
    with pytest.raises(SpecError, match="views"):
        objective_of("coop", "ce", train={"views": "epoch"})


def test_few_is_what_ids_without_the_key_have_always_meant():
    (few,) = plan(spec(data={"name": "digits", "protocol": "base-to-new", "calibration": "few"}))
    assert "calibration" not in few.data
    (all_,) = plan(spec(data={"name": "digits", "protocol": "base-to-new"}))
    assert all_.data["calibration"] == "all"


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_of_a_paper_is_a_cell(name):
    recipe = recipes()[name]
    (cell,) = plan(spec(method=name))
    assert cell.method["name"] == recipe.method["name"]
    assert cell.train_config().views == "epochs"
    assert all(getattr(cell.train_config(), key) == value for key, value in recipe.train.items())
    if recipe.objective is not None and "own" in recipe.objective:
        assert "without" not in cell.label()
    assert all((recipe.paper, recipe.source, recipe.checked, recipe.setting))


def test_the_recipe_of_tcpt_on_kgcoop_keeps_its_own_term():
    (cell,) = plan(spec(method="tcpt-kgcoop"))
    assert cell.sum().names == ("ce", "kgcoop", "margin_mean_var", "text_moments")
    (dor,) = plan(spec(method="dor-kgcoop"))
    assert {p.name: p.weight for p in dor.sum().objectives}["dor"] == 2.0


def test_calibprompts_recipes_are_those_with_published_weights():
    named = {name.removeprefix("calibprompt-") for name in recipes() if name.startswith("calibp")}
    assert named == {"-".join(key) for key in CALIBPROMPT_WEIGHTS}
