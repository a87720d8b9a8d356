"""What is read from the text of modules is what importing them gives."""

from dataclasses import MISSING, fields, is_dataclass
from inspect import cleandoc

import pytest

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.conformal.base import CONFORMAL
from vlmcal.data.base import DATASETS
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.elicit.base import ELICITORS
from vlmcal.experiment.engines.base import ENGINES
from vlmcal.learners.base import LEARNERS
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.sketches import sketches
from vlmcal.test_time.base import ADAPTATIONS

READ = (
    ADAPTATIONS,
    CALIBRATORS,
    CONFORMAL,
    DATASETS,
    ELICITORS,
    ENGINES,
    LEARNERS,
    OBJECTIVES,
    VQA_LAYOUTS,
)


@pytest.mark.parametrize("registry", READ, ids=lambda registry: registry.package)
def test_names_docstrings_and_parameters_are_those_of_the_registry(registry):
    found = sketches(registry.package)
    assert set(found) == set(registry.names())
    for name, entry in registry.items():
        assert found[name].doc == cleandoc(entry.__doc__), name
        config = getattr(entry, "Config", entry)
        if is_dataclass(config):
            wanted = [
                (f.name, "" if f.default is MISSING else repr(f.default))
                for f in fields(config)
                if f.init
            ]
            assert [(n, value) for n, _, value in found[name].parameters()] == wanted, name


def test_settings_of_methods_are_those_of_the_classes():
    found = sketches("vlmcal.learners")
    for name, learner in LEARNERS.items():
        assert (found[name].attribute("presets") or {}) == dict(learner.presets), name


def test_choices_stand_in_place_of_their_names():
    (kind,) = [
        k for n, k, _ in sketches("vlmcal.learners")["kgcoop"].parameters() if n == "position"
    ]
    assert kind == "Literal['end', 'middle', 'front']"


def test_one_name_needs_no_other_module():
    assert set(sketches("vlmcal.objectives", only="text_moments")) < set(OBJECTIVES.names())
    assert "text_moments" in sketches("vlmcal.objectives", only="text_moments")


def test_a_class_has_the_name_it_is_registered_under():
    for registry in (ADAPTATIONS, CALIBRATORS, CONFORMAL, ELICITORS, LEARNERS, OBJECTIVES):
        for name, entry in registry.items():
            assert entry.name == name
