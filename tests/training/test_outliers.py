"""Outlier pools: encoding, cache, selection, sampling, and what is refused before training."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from vlmcal.data.vocabulary import OutlierVocabulary
from vlmcal.errors import DataError, SpecError
from vlmcal.experiment.plan import plan
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.learners.base import LEARNERS, ClassContext, Learner
from vlmcal.learners.coop import CoOp
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.training import word_features as module
from vlmcal.training.config import TrainConfig
from vlmcal.training.loop import TrainingData, fit
from vlmcal.training.outliers import outlier_source
from vlmcal.training.word_features import word_features
from vlmcal.types.features import Features

TEMPLATE = "a photo of a {}."
CLASSES = ("cat", "dog", "red fox")
WORDS = (
    *(
        "cat",
        "dogs",
        "Red_Foxes",
        "owl",
        "tiger cat",
        "hot dog",
        "bee",
        "the photo",
        "sea",
        "oak tree",
    ),
    *(
        "lamp",
        "zebra",
        "a very long name of a thing",
        "x",
        "tea-leaf",
        "u.s.",
        "brick",
        "gold mine",
    ),
)
SHARED = [n for n, k in LEARNERS.items() if k.outlier_features is not Learner.outlier_features]
APART = tuple(w for w in WORDS if w not in ("cat", "dogs", "Red_Foxes"))


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS))
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def learner(encoder, method="coop", templates=(TEMPLATE,), **options):
    kind = LEARNERS.get(method)
    classes = ClassContext(encoder, CLASSES, templates)
    return kind(classes, kind.Config(**options), torch_generator(1, "init"))


def dor(words, **settings):
    return parse_objective(["ce", {"name": "dor", "vocabulary": str(words), **settings}])


def plain(encoder, names, template=TEMPLATE):
    """Normalised features by the library's own forward, one text at a time."""
    texts = [template.replace("{}", name.replace("_", " ")) for name in names]
    return torch.stack([normalize(encoder.encode_texts([t])[0], dim=0) for t in texts])


def test_word_features_equal_the_librarys(tiny_encoder, words):
    vocabulary = OutlierVocabulary.load(str(words))
    seen = []
    found = word_features(tiny_encoder, vocabulary, TEMPLATE, progress=lambda *at: seen.append(at))
    expected = plain(tiny_encoder, WORDS)
    assert torch.allclose(torch.tensor(found.features), expected, atol=2e-6)
    assert found.lengths[[3, 7, 13]].tolist() == [3, 2, 1]  # o-w-l, the-photo, x
    assert seen[-1] == (len(WORDS), len(WORDS))


def test_features_are_encoded_once_per_backbone_template_and_list(
    tiny_encoder, words, cache, monkeypatch
):
    vocabulary = OutlierVocabulary.load(str(words))
    first = word_features(tiny_encoder, vocabulary, TEMPLATE)
    encode, calls = module.encode_prompts, []
    monkeypatch.setattr(module, "encode_prompts", lambda *a: calls.append(1) or encode(*a))
    again = word_features(tiny_encoder, vocabulary, TEMPLATE)
    assert np.array_equal(first.features, again.features)
    assert not calls
    for arguments in (
        (tiny_encoder, vocabulary, "the {}."),
        (tiny_encoder, OutlierVocabulary(("owl",), "test"), TEMPLATE),
        (tiny_encoder.with_logit_scale(3.0), vocabulary, TEMPLATE),
    ):
        before = len(calls)
        word_features(*arguments)
        assert len(calls) == before + 1
    assert len(list((cache / "words").glob("*/entry.json"))) == 4


def test_a_damaged_entry_is_noticed_and_made_again(tiny_encoder, words, cache):
    vocabulary = OutlierVocabulary.load(str(words))
    good = np.array(word_features(tiny_encoder, vocabulary, TEMPLATE).features)
    (path,) = (cache / "words").glob("*/features.npy")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        again = word_features(tiny_encoder, vocabulary, TEMPLATE)
    assert np.array_equal(again.features, good)


@pytest.mark.parametrize("templates", [(TEMPLATE,), (TEMPLATE, "the {}."), ("{}",)])
def test_near_and_far_are_the_extremes_of_the_mean_cosine(tiny_encoder, words, templates):
    model = learner(tiny_encoder, templates=templates)

    def ensemble(names):
        each = torch.stack([plain(tiny_encoder, names, t) for t in templates])
        return normalize(each.mean(dim=0), dim=-1)

    score = {name: float(torch.mean(ensemble([name]) @ ensemble(CLASSES).T)) for name in APART}
    ranked = sorted(APART, key=lambda name: -score[name])
    near = outlier_source(dor(words, pool=4), model)
    far = outlier_source(dor(words, pool=4, selection="far"), model)
    assert near.names == tuple(ranked[:4])
    assert far.names == tuple(reversed(ranked[-4:]))
    assert torch.allclose(near.frozen, ensemble(near.names), atol=2e-6)
    assert near.about["removed"] == 3
    assert near.about["removed_first"] == ["cat", "dogs", "Red Foxes"]


def test_random_selection_depends_on_the_seed_alone(tiny_encoder, words):
    model = learner(tiny_encoder)
    objective = dor(words, pool=6, selection="random")
    first, again, other = (outlier_source(objective, model, seed=s).names for s in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 6
    assert set(first) <= set(APART)


def test_oracle_takes_the_new_classes_and_says_so(tiny_encoder):
    model = learner(tiny_encoder)
    objective = parse_objective(["ce", {"name": "dor", "selection": "oracle"}])
    pool = outlier_source(objective, model, new_names=["owl", "cat", "lynx"])
    assert pool.names == ("owl", "lynx")
    assert torch.allclose(pool.frozen, plain(tiny_encoder, pool.names), atol=2e-6)
    assert "for analysis only" in pool.notes[0]
    with pytest.raises(SpecError, match=r"oracle.*this run has none"):
        outlier_source(objective, model)


def test_an_objective_without_outliers_asks_for_none(tiny_encoder):
    assert outlier_source(parse_objective(["ce", "tcpt"]), learner(tiny_encoder, "cocoop")) is None


def test_a_context_of_the_templates_own_words_has_no_loss(tiny_encoder, words):
    objective = dor(words, n_outliers=9)
    same = learner(tiny_encoder, init="a photo of a")
    tuned, frozen = outlier_source(objective, same).features(same, torch.Generator())
    assert torch.allclose(tuned, frozen, atol=2e-6)
    other = learner(tiny_encoder)
    tuned, frozen = outlier_source(objective, other).features(other, torch.Generator())
    assert not torch.allclose(tuned, frozen, atol=1e-2)


@pytest.mark.parametrize("method", SHARED)
def test_tuned_features_are_those_of_the_learner_with_these_names(tiny_encoder, words, method):
    model = learner(tiny_encoder, method)
    if not model.encodes_other_names:  # what it is built on changes the towers
        with pytest.raises(SpecError, match="cannot give them"):
            outlier_source(dor(words, n_outliers=5), model)
        return
    pool = outlier_source(dor(words, n_outliers=5), model)
    rows = torch.randperm(len(pool.names), generator=torch.Generator().manual_seed(3))[:5]
    tuned, frozen = pool.features(model, torch.Generator().manual_seed(3))
    names = [pool.names[row] for row in rows]
    expected = normalize(model.for_classes(names).text_features(), dim=-1)
    assert torch.allclose(tuned, expected, atol=2e-6)
    assert torch.equal(frozen, pool.frozen[rows])
    assert tuned.requires_grad
    assert not frozen.requires_grad


def test_samples_are_fresh_without_repetition_and_uniform(tiny_encoder, words, monkeypatch):
    model = learner(tiny_encoder)
    pool = outlier_source(dor(words, n_outliers=5), model)
    drawn = []
    plainly = model.outlier_features
    monkeypatch.setattr(
        model, "outlier_features", lambda names: drawn.append(names) or plainly(names)
    )
    for step in range(150):
        with torch.no_grad():
            pool.features(model, torch_generator(1, "outliers", step))
    assert all(len(set(names)) == 5 for names in drawn)
    assert len({tuple(names) for names in drawn}) > 140
    counts = [sum(name in names for names in drawn) for name in APART]
    # 150 draws at 1/3: mean 50, deviation 5.8; five deviations around it.
    assert min(counts) > 21
    assert max(counts) < 79


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        ("coop", {"class_specific": True}, "class_specific"),
        ("cocoop", {}, "depend on the image"),
        ("linear_probe", {}, "particular classes"),
        ("clip_adapter", {}, "no learned prompt"),
    ],
)
def test_a_learner_without_a_shared_prompt_is_refused(tiny_encoder, words, method, options, reason):
    with pytest.raises(SpecError, match=f'"{method}" cannot give them.*{reason}.*coop'):
        outlier_source(dor(words), learner(tiny_encoder, method, **options))


def test_two_different_samples_in_one_objective_are_refused(tiny_encoder, words):
    part = {"name": "dor", "vocabulary": str(words)}
    same = parse_objective(["ce", part, {**part, "weight": 1}])
    assert outlier_source(same, learner(tiny_encoder)) is not None
    different = parse_objective(["ce", part, {**part, "n_outliers": 3}])
    with pytest.raises(SpecError, match="appears twice"):
        outlier_source(different, learner(tiny_encoder))


def test_words_that_do_not_fit_are_left_out(tiny_encoder, tmp_path):
    path = tmp_path / "words.txt"
    # One token per letter of a 77-token context: 16 learned tokens, start, dot and end leave 58.
    lengths = (1, 57, 58, 59, 70, 71, 80)
    path.write_text("\n".join("x" * length for length in lengths))
    pool = outlier_source(dor(path), learner(tiny_encoder, n_ctx=16))
    assert {len(name) for name in pool.names} == {1, 57, 58}
    assert torch.isfinite(pool.frozen).all()
    # The template "a photo of a {}." and start and end take 7: 70 letters fit, 4 learned tokens agree.
    pool = outlier_source(dor(path), learner(tiny_encoder, n_ctx=4))
    assert {len(name) for name in pool.names} == {1, 57, 58, 59, 70}
    path.write_text("y" * 80)
    with pytest.raises(DataError, match="none of its 1 words is left"):
        outlier_source(dor(path), learner(tiny_encoder))


def test_a_short_list_is_used_whole_and_noted(tiny_encoder, words):
    pool = outlier_source(dor(words, n_outliers=40), learner(tiny_encoder))
    assert len(pool.names) == len(APART)
    assert "only 15 words for a pool of 5000" in pool.notes[0]
    assert "15 outliers per step instead of 40" in pool.notes[1]
    tuned, _ = pool.features(learner(tiny_encoder), torch.Generator())
    assert len(tuned) == 15


def features(n=12, width=24):
    rng = np.random.default_rng(0)
    return Features(
        image_features=rng.normal(size=(n, 1, width)).astype(np.float32),
        labels=np.arange(n) % 3,
        ids=np.arange(n).astype(str),
        views=np.zeros((n, 1, 5), dtype=np.float32),
    )


def train(encoder, objective, seed=1, lr=0.05, epochs=12):
    model = learner(encoder)
    pool = outlier_source(objective, model, seed=seed)
    data = TrainingData(train=features(), outliers=pool)
    config = TrainConfig(epochs=epochs, batch_size=4, lr=lr)
    return fit(model, objective, data, config, seed=seed)


def test_every_step_of_the_loop_draws_anew_and_repeats_in_another_run(
    tiny_encoder, words, monkeypatch
):
    drawn = []
    plainly = CoOp.outlier_features
    monkeypatch.setattr(
        CoOp,
        "outlier_features",
        lambda self, names: drawn.append(tuple(names)) or plainly(self, names),
    )
    train(tiny_encoder, dor(words, n_outliers=5), epochs=4)
    steps = drawn[-12:]  # 4 epochs of 3 batches
    assert len(set(steps)) == 12
    drawn.clear()
    train(tiny_encoder, dor(words, n_outliers=5), epochs=2)
    assert drawn[-6:] == steps[:6]


def test_training_lowers_the_divergence_and_repeats_exactly(tiny_encoder, words):
    objective = dor(words, n_outliers=8)
    first, again = train(tiny_encoder, objective), train(tiny_encoder, objective)
    assert torch.equal(first.learner.ctx, again.learner.ctx)
    course = [record["terms"]["dor"] for record in first.history]
    assert course[-1] < 0.6 * course[0]
    free = train(tiny_encoder, dor(words, n_outliers=8, weight=0))
    assert course[-1] < 0.6 * free.history[-1]["terms"]["dor"]


def test_a_run_from_a_file_stores_how_its_pool_was_chosen(
    small_images, tiny_folder, words, tmp_path
):
    def cell(vocabulary, **settings):
        objective = ["ce", {"name": "dor", "vocabulary": str(vocabulary), **settings}]
        data = {"path": str(small_images), "protocol": "base-to-new"}
        spec = {"data": data, "backbone": str(tiny_folder), "method": "coop", "shots": 2}
        train = {"epochs": 1, "batch_size": 4}
        return plan(parse_spec({**spec, "objective": [objective], "train": train}))[0]

    bench, store, seen = Workbench(cache_dir=tmp_path / "features"), Store(tmp_path / "runs"), []
    bench.word_progress = lambda *at: seen.append(at)
    run = run_cell(cell(words), store, bench)
    status = store.status(run)
    assert status["provenance"]["outliers"]["words"] == len(WORDS)
    assert status["provenance"]["outliers"]["vocabulary"] == "words.txt"
    assert any("only 18 words" in note for note in status["warnings"])
    assert seen == [(18, 18)]
    history = json.loads((store.folder(run) / "history.json").read_text())
    assert history["epochs"][0]["terms"]["dor"] > 0

    copy = tmp_path / "elsewhere.txt"
    copy.write_bytes(words.read_bytes())
    assert bench.run_id(cell(copy)) == run
    copy.write_text("owl\nsea\n")
    assert bench.run_id(cell(copy)) != run
    assert bench.run_id(cell(words, selection="far")) != run
    oracle = store.status(run_cell(cell(words, selection="oracle"), store, bench))
    assert oracle["provenance"]["outliers"]["pool"] == 2  # half of the four classes
    assert "analysis only" in oracle["warnings"][0]
