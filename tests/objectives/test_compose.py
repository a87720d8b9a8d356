"""Weighted sums: reading, refusing, naming, hashing."""

import itertools
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import yaml

from vlmcal.errors import SpecError
from vlmcal.hashing import digest
from vlmcal.objectives.base import OBJECTIVES, Objective, weighted_sum
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.objectives.presets import CALIBPROMPT_WEIGHTS, PRESETS
from vlmcal.types.outputs import OUTPUT_NAMES


def read(text):
    return parse_objective(yaml.safe_load(text))


def test_the_issues_example():
    found = read("[ce, {name: dca, weight: 1}, {name: text_moments, weight: 5}]")
    assert found.names == ("ce", "dca", "text_moments")
    assert found.needs == {"logits", "labels", "text_features", "frozen_text_features"}
    assert [part.weight for part in found.objectives] == [1, 1, 5]


def test_one_name_or_one_mapping_is_enough():
    assert parse_objective("ce") == parse_objective({"name": "ce"}) == parse_objective(["ce"])


def test_tcpt_expands_with_the_published_weights(make_batch):
    found = parse_objective(["ce", {"name": "tcpt"}])
    outputs = make_batch()
    terms = found.terms(outputs)
    assert {name: term.weight for name, term in terms.items()} == {
        "ce": 1,
        "margin_mean_var": 1,
        "text_moments": 5,
    }
    want = sum(
        OBJECTIVES.get(name)().loss(outputs) * weight
        for name, weight in (("ce", 1), ("margin_mean_var", 1), ("text_moments", 5))
    )
    torch.testing.assert_close(weighted_sum(terms), want)
    assert parse_objective(["ce", {"name": "tcpt", "weight": 0.5}]).objectives[2].weight == 2.5


@pytest.mark.parametrize(("choice", "row"), CALIBPROMPT_WEIGHTS.items())
def test_calibprompt_by_backbone_and_dataset(choice, row):
    backbone, dataset = choice
    found = parse_objective(
        {"name": "calibprompt", "backbone": backbone.upper(), "dataset": dataset}
    )
    smoothing, separation, smac = found.objectives
    assert (smoothing.form, smoothing.alpha, smac.alpha) == ("others", row["alpha"], row["alpha"])
    assert (separation.name, separation.weight) == ("angular_separation", row["separation"])


def test_calibprompt_published_weights_are_the_table():
    assert CALIBPROMPT_WEIGHTS[("plip", "pannuke")] == {"alpha": 0.2, "separation": 0.1}
    assert CALIBPROMPT_WEIGHTS[("biomedclip", "covid")] == {"alpha": 0.1, "separation": 3.0}
    assert len(CALIBPROMPT_WEIGHTS) == 10


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_expands(name):
    chosen = {"alpha": 0.1, "separation": 1} if name == "calibprompt" else {}
    found = parse_objective({"name": name, **chosen}, allow_incomplete=True)
    assert len(found.objectives) == len(PRESETS[name].items)
    assert parse_objective(found.to_spec(), allow_incomplete=True) == found


def test_no_preset_hides_an_objective():
    assert not set(PRESETS) & set(OBJECTIVES.names())


REFUSED = [
    ("cee", 'unknown objective "cee"; did you mean "ce"'),
    ("tctp", 'did you mean "tcpt"'),
    ({"name": "focal", "gama": 1}, 'no option "gama"; did you mean "gamma"'),
    ({"name": "focal", "zz": 1}, 'reduction: one of "mean", "sum"'),
    ({"name": "focal", "gamma": "high"}, "gamma must be a number, got 'high'"),
    ({"name": "focal", "gamma": True}, "gamma must be a number, got True"),
    ({"name": "focal", "gamma": -1}, "got -1; input should be greater than or equal to 0"),
    ({"name": "focal", "gamma": float("nan")}, "gamma must be a number, got nan"),
    ({"name": "focal", "reduction": "sun"}, 'did you mean "sum"'),
    ({"name": "ada_focal", "bins": 2.5}, "bins must be a whole number, got 2.5"),
    ({"name": "mbls", "with_ce": 1}, "with_ce must be true or false, got 1"),
    ({"weight": 2}, r"expected a name or \{name: ..."),
    (3, "an objective is a name"),
    ([], "must name at least one"),
    ("dca", 'no likelihood term.*add "ce"'),
    (["dca", "tcpt"], 'dca \\+ margin_mean_var \\+ text_moments has no likelihood.*add "ce"'),
    ({"name": "mbls", "with_ce": False}, 'add "ce"'),
    ({"name": "calibprompt"}, "needs backbone and dataset.*plip/kather"),
    ({"name": "calibprompt", "backbone": "plip", "dataset": "covid"}, "no published weights"),
    ({"name": "calibprompt", "backbone": "plip"}, "no published weights for.*dataset: None"),
    ({"name": "tcpt", "alpha": 1}, 'preset "tcpt" has no option "alpha"'),
    ({"name": "tcpt", "weight": "x"}, "weight must be a number"),
    (["ada_focal", {"name": "ada_focal", "bins": 5}], "may appear only once"),
    ("vlmcal.objectives.nowhere:Thing", "cannot be imported"),
    ("json:loads", "is not an objective"),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED, ids=lambda v: str(v)[:40])
def test_refusals_say_what_is_valid(spec, message):
    with pytest.raises(SpecError, match=message):
        parse_objective(spec)


def test_regularisers_are_accepted_on_request():
    assert parse_objective("dca", allow_incomplete=True).names == ("dca",)
    assert not parse_objective("dca", allow_incomplete=True).complete


def test_order_does_not_change_the_spec_or_the_sum(make_batch):
    parts = ["dca", "ce", {"name": "tcpt"}, {"name": "zs_penalty", "weight": 1}]
    sums = {parse_objective(list(p)) for p in itertools.permutations(parts)}
    assert len(sums) == 1
    assert sums.pop().names[0] == "ce"


def test_spec_leaves_out_defaults_and_is_stable():
    spec = parse_objective(["ce", {"name": "focal", "gamma": 3, "weight": 0.5}]).to_spec()
    assert spec == [{"name": "ce"}, {"name": "focal", "weight": 0.5}]
    same = parse_objective(["ce", {"name": "focal", "weight": 0.5}]).to_spec()
    assert digest(spec) == digest(same)
    infinite = parse_objective({"name": "mbls", "margin": float("inf")}).to_spec()
    assert json.loads(json.dumps(infinite)) == [{"name": "mbls", "margin": "inf"}]
    assert parse_objective(infinite).to_spec() == infinite


def test_repeated_objectives_get_their_own_names(make_batch):
    found = parse_objective(["ce", "dca", {"name": "dca", "weight": 2}])
    assert found.names == ("ce", "dca", "dca#2")
    assert sorted(term.weight for term in found.terms(make_batch()).values()) == [1, 1, 2]


def test_parts_are_prefixed_by_their_objective(make_batch):
    outputs = make_batch()
    terms = parse_objective(["ce", {"name": "mbls", "weight": 2, "alpha": 0.3}]).terms(outputs)
    assert set(terms) == {"ce", "mbls.ce", "mbls.margin"}
    assert terms["mbls.margin"].weight == pytest.approx(0.6)


def test_check_names_what_is_missing_and_who_provides_it():
    found = parse_objective(["ce", {"name": "dor"}])
    found.check(OUTPUT_NAMES, 10, 32)
    with pytest.raises(
        SpecError, match=r'"dor" needs "outlier_text_features".*vocabulary.*shared by all classes'
    ):
        found.check(OUTPUT_NAMES - {"outlier_text_features"}, 10, 32)
    with pytest.raises(SpecError, match=r'"ada_focal" needs "validation_logits".*validation split'):
        parse_objective("ada_focal").check(OUTPUT_NAMES - {"validation_logits"}, 10, 32)
    with pytest.raises(SpecError, match='"smac" needs at least 2 classes, this run has 1'):
        parse_objective(["ce", "smac"]).check(OUTPUT_NAMES, 1, 32)
    with pytest.raises(SpecError, match='"kernel_mmd" needs at least 2 samples in a batch'):
        parse_objective(["ce", "kernel_mmd"]).check(OUTPUT_NAMES, 10, 1)


def test_options_decide_what_is_needed():
    features = parse_objective(["ce", "kernel_mmd"])
    confidence = parse_objective(["ce", {"name": "kernel_mmd", "on": "confidence"}])
    assert features.needs - confidence.needs == {"image_features"}


@dataclass(frozen=True)
class Zero(Objective):
    """Somebody else's objective."""

    size: int = 2
    name: ClassVar[str] = "zero"

    def compute(self, outputs):
        return 0.0 * outputs.require("logits", by=self.name).sum()


def test_objectives_by_path_and_by_object(make_batch, monkeypatch):
    import sys
    import types

    module = types.ModuleType("somewhere")
    module.Zero = Zero
    monkeypatch.setitem(sys.modules, "somewhere", module)
    monkeypatch.setattr(Zero, "__module__", "somewhere")
    found = parse_objective(["ce", {"name": "somewhere:Zero", "size": 3}])
    assert found.to_spec()[1] == {"name": "somewhere:Zero", "size": 3}
    assert parse_objective(found.to_spec()) == found
    assert parse_objective([OBJECTIVES.get("ce")(), Zero(size=3)]) == found
    assert parse_objective([found]) == found
    assert set(found.terms(make_batch())) == {"ce", "somewhere:Zero"}


def test_two_gradient_rules_are_refused():
    parts = [OBJECTIVES.get("prograd")(strength=s) for s in (1.0, 0.8)]
    with pytest.raises(SpecError, match="gradient rules in one sum"):
        Sum(tuple(parts)).combiner()
