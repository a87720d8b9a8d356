"""What a user should be told about trained runs beside their numbers: chance, harm, loss that never moved."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.data.protocol_variants import GRAVE
from vlmcal.experiment.evaluate import Row
from vlmcal.experiment.store import Store
from vlmcal.metrics.kit.proportions import wilson
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import plural

ZERO_SHOT = "zero_shot"
TOY = "pocket"
TOY_SENTENCE = (
    'The backbone "pocket" is a toy of two million parameters, trained on generated pictures; its numbers '
    "say nothing about CLIP. For anything that matters, name a real one, for example --backbone "
    "openai/clip-vit-base-patch16."
)
_Z = 1.959963984540054
_STILL = 0.01  # relative change of the loss below which it did not move
_SEEN = 0.01  # nats of the log-loss; a smaller difference does not show in the table
_SAID = 3  # sentences of one kind; a grid has hundreds of rows
_COLLAPSED = 0.5  # share of the predictions that one class may get


class _Pair(NamedTuple):
    tuned: Row
    zero_shot: Row


def findings(
    rows: Sequence[Row], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Sentences about runs whose numbers alone would mislead, most serious first; [] where all is well.

    - accuracy no better than always naming the most frequent class (its 95 % Wilson interval);
    - tuning that lowered the accuracy or raised the log-loss (by 0.01 or more) of the same images against
      zero-shot, by more than two standard errors of the paired difference;
    - a training loss whose first and last epoch differ by less than 1 %;
    - one class with more than half of the predictions and twice its share of the images;
    - runs of different seeds with the very same predictions, whose spread of 0 means nothing.

    Args:
        rows: Measured rows of an experiment; calibrated ones are passed over.
        histories: Run id -> one record per epoch, with the key "loss".
    """
    plain = [row for row in rows if row.calibrator == UNCALIBRATED and row.predictions is not None]
    first_of_each_run = list({row.run: row for row in reversed(plain)}.values())[::-1]
    kinds = {
        "at chance": [_chance(row) for row in plain],
        "of one class with most predictions": [_collapsed(row) for row in plain],
        "that tuning hurt": [_harm(pair) for pair in _pairs(plain)],
        "whose loss never moved": [
            _still(row, histories.get(row.run, ())) for row in first_of_each_run
        ],
        "with the same predictions for all seeds": _identical(plain),
    }
    return [line for kind, lines in kinds.items() for line in _first(lines, kind)]


def run_findings(store: Store, rows: Sequence[Row]) -> list[str]:
    """The :func:`findings` about stored runs, and what the runs themselves remarked, each once.

    Args:
        store: Holds the runs.
        rows: Measured rows of them.
    """
    runs = list(dict.fromkeys(row.run for row in rows))
    found = findings(rows, store.histories(runs))
    # Runs from before there were remarks have none.
    remarks = [line for run in runs for line in store.status(run).get("remarks", ())]
    grave = [line for line in remarks if line.startswith(GRAVE)]
    return list(dict.fromkeys([*grave, *found, *remarks]))


def _first(lines: Sequence[str], kind: str) -> list[str]:
    """The first sentences of a kind, and how many more rows it is true of."""
    said = list(dict.fromkeys(line for line in lines if line))
    more = len(said) - _SAID
    return (
        said if more < 1 else [*said[:_SAID], f"{plural(more, 'more row')} {kind}: see the table."]
    )


def chance_level(predictions: Predictions) -> float:
    """Accuracy of always naming the most frequent class of these rows.

    Example:
        >>> chance_level(Predictions(logits=[[1.0, 0.0]] * 4, labels=[0, 0, 0, 1]))
        0.75
    """
    return float(np.bincount(predictions.labels).max() / len(predictions))


def _name(row: Row) -> str:
    method = str(row.cell["method"]["name"])
    objective = row.cell.get("objective")
    parts = [f"{method}, {objective}" if objective else method]
    if row.cell.get("shots") is not None:
        parts.append(plural(row.cell["shots"], "shot"))
    if row.cell.get("seed") is not None:
        parts.append(f"seed {row.cell['seed']}")
    return f"{', '.join(parts)}, {row.set} classes"


def _right(predictions: Predictions) -> BoolArray:
    right: BoolArray = predictions.predicted() == predictions.labels
    return right


def _chance(row: Row) -> str:
    assert row.predictions is not None
    right = _right(row.predictions)
    n = len(right)
    most = chance_level(row.predictions)
    low, _ = wilson(np.array(float(right.sum())), np.array(float(n)))
    if n == 0 or float(low) > most:
        return ""
    return (
        f"{_name(row)}: accuracy {right.mean():.1%} of {n} images is not above chance (always naming the "
        f"most frequent class gives {most:.1%}): the model does not know these classes. Try "
        "another backbone, other class names or templates (--template), or more shots."
    )


def _collapsed(row: Row) -> str:
    assert row.predictions is not None
    k = row.predictions.n_classes
    predicted = np.bincount(row.predictions.predicted(), minlength=k)
    present = np.bincount(row.predictions.labels, minlength=k)
    top, n = int(predicted.argmax()), len(row.predictions)
    if k < 3 or predicted[top] <= max(_COLLAPSED * n, 2 * present[top]):
        return ""
    return (
        f'{_name(row)}: "{row.predictions.class_names[top]}" gets {predicted[top] / n:.0%} of the '
        f"predictions ({present[top] / n:.0%} of the images): look at the class names and templates before "
        "trusting the rest."
    )


def _pairs(plain: Sequence[Row]) -> list[_Pair]:
    def place(row: Row) -> tuple[str, str, str]:
        data = {k: v for k, v in row.cell["data"].items() if k != "calibration"}
        return str(sorted(data.items())), str(row.cell["backbone"]), row.set

    base = {place(row): row for row in plain if row.cell["method"]["name"] == ZERO_SHOT}
    return [
        _Pair(row, base[place(row)])
        for row in plain
        if row.cell["method"]["name"] != ZERO_SHOT and place(row) in base
    ]


def _harm(pair: _Pair) -> str:
    tuned, zero = pair.tuned.predictions, pair.zero_shot.predictions
    assert tuned is not None
    assert zero is not None
    if not np.array_equal(tuned.ids, zero.ids):
        return ""
    accuracy = _right(tuned).astype(np.float64) - _right(zero)
    loss = _losses(tuned) - _losses(zero)
    said = []
    if _beyond(-accuracy):
        said.append(f"accuracy {_right(tuned).mean():.1%} against {_right(zero).mean():.1%}")
    if _beyond(loss) and loss.mean() >= _SEEN:
        said.append(f"NLL {_losses(tuned).mean():.3f} against {_losses(zero).mean():.3f}")
    if not said:
        return ""
    return (
        f"{_name(pair.tuned)}: tuning hurt, {' and '.join(said)} of zero-shot on the same {len(accuracy)} "
        "images. Try more shots, fewer epochs, a regularised objective (own+tcpt), or use zero-shot."
    )


def _losses(predictions: Predictions) -> FloatArray:
    rows = np.arange(len(predictions))
    losses: FloatArray = -predictions.log_probabilities()[rows, predictions.labels]
    return losses


def _beyond(differences: FloatArray) -> bool:
    if len(differences) < 2:
        return False
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    return bool(differences.mean() > _Z * error)


def _still(row: Row, history: Sequence[Mapping[str, Any]]) -> str:
    losses = [float(record["loss"]) for record in history if "loss" in record]
    if len(losses) < 3 or max(losses) - min(losses) >= _STILL * abs(losses[0]):
        return ""
    assert row.predictions is not None
    chance = math.log(row.predictions.n_classes)
    at = " (ln K, what guessing gives)" if abs(losses[-1] - chance) < 0.02 * chance else ""
    return (
        f"{_name(row)}: the training loss never moved, {losses[0]:.3f} to {losses[-1]:.3f}{at}: nothing was "
        "learned. Try a larger train.lr or more epochs."
    )


def _identical(plain: Sequence[Row]) -> list[str]:
    groups: dict[str, list[Row]] = {}
    for row in plain:
        key = str({k: v for k, v in row.cell.items() if k != "seed"}) + row.set
        groups.setdefault(key, []).append(row)
    lines = []
    for members in groups.values():
        first = members[0].predictions
        assert first is not None
        same = [
            row
            for row in members[1:]
            if row.predictions is not None and np.array_equal(row.predictions.logits, first.logits)
        ]
        if same and len(same) == len(members) - 1:
            lines.append(
                f"{_name(members[0])} and {len(same)} more seeds gave the very same predictions (the "
                "whole training set in one batch, started from words): a spread of 0 over "
                "these seeds means nothing."
            )
    return lines
