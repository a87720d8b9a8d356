"""Where DOR's outliers come from: a pool of words outside the task, chosen before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.data.vocabulary import OutlierVocabulary
from vlmcal.errors import DataError, SpecError
from vlmcal.learners.base import LEARNERS, Learner
from vlmcal.objectives.compose import Sum
from vlmcal.objectives.dor import DOR
from vlmcal.seeding import torch_generator
from vlmcal.training.word_features import Progress, WordFeatures, word_features
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray

_CHUNK = 8192
_PROBES = 4


@dataclass(frozen=True, eq=False)
class OutlierPool:
    """Outlier words with their frozen features; every step draws a fresh sample of them.

    Attributes:
        names: P words.
        frozen: Zero-shot text features (P, D), normalised.
        n_outliers: O, words per step, drawn without replacement.
        notes: What a reader of the result should know.
        about: How the pool was chosen, as plain data.
    """

    names: tuple[str, ...]
    frozen: Tensor
    n_outliers: int
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def features(self, learner: Learner, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised features (O, D) of a sample: under the learner's prompt now, and frozen."""
        rows = torch.randperm(len(self.names), generator=generator)[: self.n_outliers]
        raw = learner.outlier_features([self.names[row] for row in rows.tolist()])
        tuned = normalize(raw.to(learner.parameter_dtype), dim=-1)
        return tuned, self.frozen[rows].to(tuned)


def outlier_source(
    objective: Sum,
    learner: Learner,
    *,
    new_names: Sequence[str] = (),
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> OutlierPool | None:
    """The pool that the objective's DOR term asks for; None if nothing needs outliers.

    Args:
        objective: Of the run.
        learner: Before training; its classes are the training classes.
        new_names: Test classes that are not trained on, for ``selection: oracle``.
        seed: Seed of the run, for ``selection: random``.
        cache_dir: Folder of the cache of word features; None for the default.
        progress: Called with (words done, V) while the vocabulary is encoded.

    Raises:
        SpecError: The learner's prompt does not apply to other words, two terms want different outliers,
            or ``oracle`` has no new classes.
        DataError: The vocabulary cannot be read, or no word is left.
    """
    if "outlier_text_features" not in objective.needs:
        return None
    settings = _settings(objective)
    _require_shared_prompt(learner)
    if settings.selection == "oracle":
        return _oracle(settings, learner, new_names)
    vocabulary = OutlierVocabulary.load(settings.vocabulary)
    words = [
        word_features(learner.encoder, vocabulary, template, cache_dir=cache_dir, progress=progress)
        for template in learner.classes.templates
    ]
    apart = vocabulary.apart_from(learner.classes.class_names)
    rows = np.flatnonzero(apart & _fitting(learner, vocabulary.words, words))
    if not len(rows):
        raise DataError(
            f'outlier vocabulary "{vocabulary.source}": none of its {len(vocabulary)} words is left '
            "without those that name a class or do not fit into the prompt; use a longer list"
        )
    chosen = _select(settings, learner, words, rows, seed)
    names = tuple(vocabulary.words[row] for row in chosen)
    removed = [vocabulary.words[row] for row in np.flatnonzero(~apart)]
    about = {
        "vocabulary": Path(vocabulary.source).name,
        "vocabulary_sha256": vocabulary.digest,
        "words": len(vocabulary),
        "removed": len(removed),
        "removed_first": removed[:20],
        "selection": settings.selection,
        "pool": len(names),
        "first": list(names[:10]),
    }
    return _pool(names, torch.from_numpy(_frozen(words, chosen)), settings, about)


def _settings(objective: Sum) -> DOR:
    found = [replace(p, weight=1.0) for p in objective.objectives if isinstance(p, DOR)]
    if len(set(found)) > 1:
        raise SpecError(
            'the objective "dor" appears twice with different outliers; a step has one sample, so give '
            "both the same n_outliers, pool, selection and vocabulary"
        )
    return found[0] if found else DOR()


def _require_shared_prompt(learner: Learner) -> None:
    if learner.encodes_other_names:
        return
    if learner.per_class:
        reason = "what it learns belongs to particular classes (with coop: class_specific)"
    elif learner.text_depends_on_image:
        reason = "its prompts depend on the image"
    else:
        reason = "it has no learned prompt that other words could stand in"
    inherited = Learner.outlier_features
    fit = [name for name, kind in LEARNERS.items() if kind.outlier_features is not inherited]
    raise SpecError(
        f'objective "dor" needs the features of other words under the learned prompt, and "{learner.name}" '
        f"cannot give them: {reason}. Use a context shared by all classes ({', '.join(fit)})"
    )


def _oracle(settings: DOR, learner: Learner, new_names: Sequence[str]) -> OutlierPool:
    names = tuple(name for name in new_names if name not in learner.classes.class_names)
    if not names:
        raise SpecError(
            'objective "dor" with selection: oracle takes the test classes that are not trained on, and '
            "this run has none; use protocol: base-to-new or selection: near"
        )
    note = (
        "DOR with selection oracle trains on the names of the new test classes: for analysis only, not "
        "comparable with methods that do not see them"
    )
    frozen = learner.classes.for_classes(names).text_features.cpu()
    about = {"selection": "oracle", "pool": len(names), "first": list(names[:10])}
    return _pool(names, frozen, settings, about, note)


def _pool(
    names: tuple[str, ...], frozen: Tensor, settings: DOR, about: Mapping[str, Any], *notes: str
) -> OutlierPool:
    short = []
    if settings.selection != "oracle" and len(names) < settings.pool:
        short = [f"DOR: only {len(names)} words for a pool of {settings.pool}; all are used"]
    if len(names) < settings.n_outliers:
        short.append(
            f"DOR: {len(names)} outliers per step instead of {settings.n_outliers}: there are no more"
        )
    return OutlierPool(names, frozen, settings.n_outliers, (*notes, *short), about)


def _fitting(learner: Learner, words: Sequence[str], known: Sequence[WordFeatures]) -> BoolArray:
    """Words that fit into the templates and into the learned prompt, (V,).

    Learned tokens and suffix take the same room beside every word, so the longest length that the learner
    accepts settles it; a few words of each length are tried, longest first.
    """
    lengths = known[0].lengths
    fits: BoolArray = np.all([~np.isnan(w.features[:, 0]) for w in known], axis=0)
    for length in np.unique(lengths[fits])[::-1]:
        own = [words[row] for row in np.flatnonzero(fits & (lengths == length)).tolist()]
        plain = [word for word in own if word[-1].isalnum()] or own  # a dot may merge with a suffix
        try:
            with torch.no_grad():
                learner.outlier_features(plain[:_PROBES])
        except DataError:
            fits &= lengths < length
        else:
            break
    return fits


def _select(
    settings: DOR, learner: Learner, words: Sequence[WordFeatures], rows: IntArray, seed: int
) -> IntArray:
    """Rows of the pool among the candidate ``rows``, best first; ties keep the order of the list."""
    if settings.selection == "random":
        stream = torch_generator(seed, "outlier pool")
        order = torch.randperm(len(rows), generator=stream).numpy()
    else:
        mean = learner.classes.text_features.mean(dim=0).cpu().double().numpy()
        parts = (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
        score = np.concatenate([_frozen(words, part) @ mean for part in parts])
        order = np.argsort(score if settings.selection == "far" else -score, kind="stable")
    chosen: IntArray = rows[order[: settings.pool]]
    return chosen


def _frozen(words: Sequence[WordFeatures], rows: IntArray) -> FloatArray:
    """Mean over templates of the normalised features, normalised again, (len(rows), D)."""
    mean = np.mean([w.features[rows] for w in words], axis=0)
    normed: FloatArray = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return normed
