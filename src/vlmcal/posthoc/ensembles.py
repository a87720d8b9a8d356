"""Ensembles of runs: averaged probabilities, and what the members disagree about."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import logsumexp

from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' probabilities (N, K), row by row of the same items.

    ``extras["mutual_information"]`` (N,) is H(mean p) - mean H(p), in nats: 0 where all members say the
    same, and large where they disagree, as on classes that none of them knows; ``abstain`` reads it with
    ``signal: mutual_information``. Zero-shot scores and features are kept, those of the members left out.

    Args:
        members: At least two, of different seeds, shots, prompts or methods.

    Raises:
        SpecError: Fewer than two members.
        DataError: They are not of the same rows and classes.

    Source: Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty
    estimation using deep ensembles", NeurIPS 2017, arXiv 1612.01474. Oracle: torch-uncertainty's
    ``MutualInformation``.

    Example:
        >>> one, two = (Predictions(logits=[z], labels=[0]) for z in ([50.0, 0.0], [0.0, 50.0]))
        >>> both = ensemble([one, two])
        >>> both.probabilities().tolist(), round(float(both.extras["mutual_information"][0]), 4)
        ([[0.5, 0.5]], 0.6931)
    """
    if len(members) < 2:
        raise SpecError(f"an ensemble needs at least two members, got {len(members)}")
    first = members[0]
    for number, member in enumerate(members[1:], start=2):
        same = (
            np.array_equal(member.ids, first.ids)
            and member.class_names == first.class_names
            and np.array_equal(member.labels, first.labels)
        )
        if not same:
            raise DataError(
                f"member {number} of the ensemble has other rows or classes than the first ({len(member)} "
                f"rows, {member.n_classes} classes against {len(first)} and {first.n_classes}); take runs on "
                "the same data and test set"
            )
    logs = np.stack([member.log_probabilities() for member in members])
    mean = np.minimum(logsumexp(logs, axis=0) - np.log(len(members)), 0.0)
    information = np.maximum(_entropy(mean) - _entropy(logs).mean(axis=0), 0.0)
    kept = {k: v for k, v in first.extras.items() if k.startswith("zero_shot")}
    step = {"ensemble": [member.provenance.get("run", "") for member in members]}
    averaged = replace(first, extras={**kept, "mutual_information": information})
    return averaged.with_scores(mean, "log_probs", step)


def _entropy(logs: FloatArray) -> FloatArray:
    p = np.exp(logs)
    entropy: FloatArray = -np.where(p > 0, p * np.maximum(logs, -1e300), 0.0).sum(axis=-1)
    return entropy
