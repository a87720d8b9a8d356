"""The experiments of papers: every plan, and a part of every smoke."""

import pytest

from vlmcal.errors import SpecError
from vlmcal.experiment.check import check_names
from vlmcal.experiment.evaluate import check_evaluation, evaluate_run
from vlmcal.experiment.grids import grid_spec, load_experiment, paper_grids
from vlmcal.experiment.method_choice import find_preset
from vlmcal.experiment.plan import plan
from vlmcal.experiment.published.tables import papers
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.hashing import digest
from vlmcal.learners.base import LEARNERS

CELLS = {
    "c-tpt-fine-grained": 2 * 11 * 5,
    "calibprompt-medical": 10 * 3,
    "coop-few-shot": 11 * (1 + 3 * (5 + 2 * 5)),
    "cross-dataset": 1 + 3 * 4,
    "dac": 11 * (1 + 3 * 7),
    "domain-generalisation": 1 + 3 * 8 + 4,
    "dor-base-to-new": 11 * (1 + 3 * 11),
    "tcpt-base-to-new": 11 * (1 + 3 * (6 + 4 + 3 + 2 + 4 + 2)),
}


@pytest.mark.parametrize("name", paper_grids())
def test_the_plan_is_the_whole_grid_of_the_paper(name):
    spec = grid_spec(name, root="images")
    assert len(plan(spec)) == CELLS[name]
    check_names(spec)
    check_evaluation(spec.evaluate)
    for part in spec.parts:
        assert all(data["root"] == "images" for data in part.data)
    assert set(paper_grids()[name].published) <= set(papers())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One store, one set of tools, and what was run already."""
    return Store(tmp_path_factory.mktemp("grids")).open(), Workbench(), set()


@pytest.mark.parametrize("name", paper_grids())
def test_the_smoke_trains_predicts_and_measures(name, shared):
    store, bench, done = shared
    spec = grid_spec(name, ["seed=1"], smoke=True)
    new = {}
    for cell in plan(spec):
        kind = digest([cell.method, cell.objective, cell.data["protocol"]])
        if kind not in done and "dor" not in str(cell.objective):  # reads the nouns of a language
            new.setdefault(kind, cell)
    chosen = dict(
        list(new.items())[1:2] or new
    )  # whole smokes take minutes; plans say that all is there
    done.update(chosen)
    rows = []
    for cell in chosen.values():
        run = run_cell(cell, store, bench)
        rows += evaluate_run(store, run, spec.evaluate)
    assert all(row.evaluation is not None or row.reason for row in rows)
    assert len({row.run for row in rows}) == len(chosen)


def test_a_smoke_has_every_method_objective_and_number_of_shots_of_the_grid():
    for name in ("dac", "coop-few-shot"):
        whole, small = plan(grid_spec(name)), plan(grid_spec(name, smoke=True))
        for what in ("method", "objective", "shots"):
            assert {digest(getattr(c, what)) for c in whole} == {
                digest(getattr(c, what)) for c in small
            }


@pytest.mark.parametrize("name", paper_grids())
def test_a_smoke_trains_for_one_epoch(name):
    trained = [cell for cell in plan(grid_spec(name, smoke=True)) if cell.train is not None]
    assert {cell.train_config().epochs for cell in trained} <= {1}


def test_a_preset_belongs_to_the_method_that_states_it():
    for name, learner in LEARNERS.items():
        for preset in vars(learner).get("presets", {}):
            assert find_preset(preset).options["name"] == name


def test_changes_reach_the_grids_that_do_not_state_them():
    spec = grid_spec("tcpt-base-to-new", ["seed=5", "shots=1"])
    assert {tuple(part.seed) for part in spec.parts} == {(5,)}
    assert [part.shots for part in spec.parts][-1] == [4]  # stated by the grid itself


def test_further_grids_state_what_differs():
    spec = parse_spec(
        {
            "data": "digits",
            "method": "zero_shot",
            "seed": [1, 2],
            "also": [{"method": "coop", "shots": [1, 2]}],
        }
    )
    assert len(plan(spec)) == 1 + 4
    with pytest.raises(SpecError, match=r"also\.0\.shotz: unknown key \"shotz\""):
        parse_spec({"data": "digits", "method": "coop", "also": [{"shotz": 1}]})


def test_what_only_presets_have_is_refused_for_a_file(tmp_path):
    with pytest.raises(SpecError, match="a file states its data itself"):
        load_experiment(str(tmp_path / "own.yaml"), smoke=True)
    with pytest.raises(SpecError, match='did you mean "dac"'):
        load_experiment("preset:daq")
