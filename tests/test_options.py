"""Options by name: three writings, one check, one message."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.conformal.base import CONFORMAL
from vlmcal.data.base import load_dataset
from vlmcal.errors import SpecError
from vlmcal.objectives.compose import parse_objective
from vlmcal.options import Typed, build, check_fields, describe_type, fit, names, parameters, split
from vlmcal.registry import Registry
from vlmcal.types.limits import Share


@dataclass
class Thing:
    share: Share = 0.5
    count: Annotated[int, Field(ge=1)] = 3
    way: Literal["near", "far"] = "near"
    ends: tuple[float, float] = (0.0, 1.0)
    end: Annotated[float, Field(allow_inf_nan=True)] = 0.0
    words: tuple[str, ...] = ()
    table: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: Path | None = None

    def __post_init__(self):
        check_fields(self, 'thing "thing"')


THINGS: Registry[Any] = Registry(
    "thing", "vlmcal.options_of_a_test", callable, "anything that can be called"
)
THINGS.register("thing")(Thing)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "thing", "share": 1, "way": "far", "ends": [0, "1e-3"], "words": ["a", "b"]},
        'thing(share=1, way=far, ends=[0, 1e-3], words=["a", "b"])',
        "thing(words=a, share=1.0, way=far, ends=[0, 0.001])",
    ],
)
def test_the_three_writings_are_one(spec):
    made = build(THINGS, spec)
    words = ("a",) if isinstance(spec, str) and "words=a" in spec else ("a", "b")
    assert made == Thing(share=1.0, way="far", ends=(0.0, 0.001), words=words)
    assert isinstance(made.share, float)
    assert isinstance(made.words, tuple)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": "0.1"}, "share must be a number, got '0.1'"),
        ({"share": True}, "share must be a number, got True"),
        ({"share": math.nan}, "share must be a number, got nan"),
        ({"ends": [0, "inf"]}, "ends must be a list of 2 numbers, .*should be a finite number"),
        ({"share": 2}, "share must be a number, got 2; input should be less than or equal to 1"),
        ({"count": "ten"}, "count must be a whole number, got 'ten'"),
        ({"count": 2.5}, "count must be a whole number, got 2.5"),
        ({"count": 0}, "count must be a whole number, got 0; input should be greater than"),
        ({"way": "fat"}, 'way must be one of "near", "far", got \'fat\'; did you mean "far"'),
        ({"ends": [1]}, r"ends must be a list of 2 numbers, got \[1\]"),
        ({"words": "a"}, "words must be a list of texts, got 'a'"),
        ({"root": 3}, "root must be a path or null, got 3"),
        ({"cuont": 3}, 'has no option "cuont"; did you mean "count"'),
        ({"zzz": 3}, 'has no option "zzz"; options: share: a number; count: a whole number'),
    ],
)
def test_a_wrong_option_is_one_message(options, words):
    with pytest.raises(SpecError, match=words):
        build(THINGS, {"name": "thing", **options}, where="here")
    with pytest.raises(SpecError, match=r'^here: thing "thing"'):
        build(THINGS, {"name": "thing", **options}, where="here")


@pytest.mark.parametrize("spec", [{"share": 1}, {"name": 3}, 3, None, "", "thing(", "thing(3)"])
def test_other_writings_are_refused(spec):
    with pytest.raises(SpecError, match="expected"):
        build(THINGS, spec)


def test_numbers_of_numpy_and_yaml_are_numbers():
    made = Thing(share=np.float32(0.5), count=np.int64(2), ends=np.array([0.0, 2.0]))
    assert (made.share, made.count, made.ends) == (0.5, 2, (0.0, 2.0))
    assert type(made.count) is int
    assert Thing(share="1e-3").share == 0.001
    assert Thing(end="-inf").end == -math.inf
    assert Thing(table={"a": ["b"]}).table == {"a": ("b",)}
    assert Thing(root="images").root == Path("images")


def test_typed_text_is_read_as_the_option_wants():
    assert fit(Typed("10"), str, "x") == "10"
    assert fit(Typed("10"), int | None, "x") == 10
    assert fit(Typed("null"), int | None, "x") is None
    assert fit(Typed("None"), int | None, "x") is None
    assert fit(Typed("True"), bool, "x") is True
    assert fit(Typed("a, b"), tuple[str, ...], "x") == ("a", "b")
    with pytest.raises(SpecError, match=r"x must be a whole number, got '1\.5'"):
        fit(Typed("1.5"), int, "x")


def test_commas_inside_of_brackets_and_quotes_do_not_divide():
    assert split('a(b=[1, 2], c="x, y"), d,, e') == ['a(b=[1, 2], c="x, y")', "d", "e"]
    assert names(["a,b", "b", '"one, two"']) == ["a", "b", "one, two"]
    assert names(None) == []


WRONG = [
    (CALIBRATORS, "histogram", {"bins": "ten"}, "bins must be a whole number, got 'ten'"),
    (CALIBRATORS, "temperature", {"zero": "tiny"}, "zero must be a number, got 'tiny'"),
    (CALIBRATORS, "temperature", {"bounds": 3}, "bounds must be a list of 2 numbers, got 3"),
    (CONFORMAL, "raps", {"penalty": "0.1"}, "penalty must be a number, got '0.1'"),
    (CONFORMAL, "aps", {"randomised": 1}, "randomised must be true or false, got 1"),
]


@pytest.mark.parametrize(("registry", "name", "options", "words"), WRONG)
def test_python_yaml_and_parentheses_say_the_same(registry, name, options, words):
    with pytest.raises(SpecError, match=f'{registry.kind} "{name}": {words}') as direct:
        registry.get(name)(**options)
    with pytest.raises(SpecError) as named:
        build(registry, {"name": name, **options})
    assert str(direct.value) == str(named.value)


@pytest.mark.parametrize("registry", [CALIBRATORS, CONFORMAL], ids=lambda r: r.kind)
def test_every_registered_method_checks_every_option(registry):
    for name, kind in registry.items():
        for option in parameters(kind):
            with pytest.raises(SpecError, match=f'{registry.kind} "{name}": {option} must be'):
                kind(**{option: object()})


def test_objectives_and_data_take_the_same_writings():
    assert parse_objective("focal(gamma=2)").objectives[0].gamma == 2.0
    assert len(load_dataset("shapes(n_train=1, n_val=1, n_test=1)")) == 120
    with pytest.raises(SpecError, match="n_train must be a whole number, got '1'"):
        load_dataset({"name": "shapes", "n_train": "1"})


def test_types_in_words():
    assert describe_type(dict[str, Any]) == "a mapping"
    assert describe_type(list[float] | None) == "a list of numbers or null"
    assert describe_type(bool | Literal["randomised"]) == 'true or false or "randomised"'
