"""What a person should know of predictions before any metric: sizes, guessing, what is suspicious."""

import numpy as np

from vlmcal.metrics.auroc import auroc
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions


def plain_facts(data: Predictions | Confidences) -> list[str]:
    """Number of rows and classes, the level of guessing, and what is suspicious about the predictions.

    Example:
        >>> rows = Predictions(logits=[[1.0, 0.0]] * 40, labels=[1] * 30 + [0] * 10)
        >>> for line in plain_facts(rows):
        ...     print(line)
        40 rows, 2 classes; always "1" would be right in 75.0 %, guessing in 50.0 %
        Accuracy is 25.0 %, no better than always saying "1": check that labels and classes belong together.
        All rows have the same confidence, 0.7311.
        The model predicts only "0".
    """
    rows = data.top_label() if isinstance(data, Predictions) else data
    n, accuracy = len(rows), float(rows.correct.mean())
    lines, notes = [], []
    if isinstance(data, Predictions):
        counts = np.bincount(data.labels, minlength=data.n_classes)
        most, names = float(counts.max() / n), data.class_names
        name = names[int(counts.argmax())]
        chance = 100 / data.n_classes
        lines.append(
            f'{n:,} rows, {data.n_classes:,} classes; always "{name}" would be right in {100 * most:.1f} %, '
            f"guessing in {chance:.1f} %"
        )
        if 100 * accuracy <= chance or accuracy < most:
            guessed = 100 * accuracy <= chance and accuracy >= most
            worse = "guessing" if guessed else f'always saying "{name}"'
            notes.append(
                f"Accuracy is {100 * accuracy:.1f} %, no better than {worse}: check that labels and classes "
                "belong together."
            )
    else:
        lines.append(f"{n:,} rows, {100 * accuracy:.1f} % right")
    usual = np.partition(rows.confidence, n // 2)[n // 2]  # what more than half of the rows have
    share = np.count_nonzero(rows.confidence == usual) / n
    if share > 0.5 and n > 1:
        which = "All" if share == 1 else f"{100 * share:.0f} % of"
        notes.append(f"{which} rows have the same confidence, {usual:.4g}.")
    if isinstance(data, Predictions) and data.n_classes > 1 and n > 1:
        predicted = data.predicted()
        if (predicted == predicted[0]).all():
            notes.append(f'The model predicts only "{data.class_names[int(predicted[0])]}".')
    return [*lines, *notes]


def epistemic_facts(data: Predictions | Confidences) -> list[str]:
    """What the draws or members of the model disagree about, where rows carry their mutual information.

    Example:
        >>> information = {"mutual_information": np.array([0.01, 0.03, 0.4])}
        >>> logits = [[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]]
        >>> rows = Predictions(logits=logits, labels=[0, 0, 1], extras=information)
        >>> said, auroc = epistemic_facts(rows)[0].split("; ")
        >>> said
        'Mutual information of the draws: 0.0200 nats where right, 0.4000 where wrong'
        >>> auroc
        'AUROC for errors 100.0 % (of the confidence 100.0 %).'
    """
    if not isinstance(data, Predictions) or "mutual_information" not in data.extras:
        return []
    information, rows = data.extras["mutual_information"], data.top_label()
    right, ranks = rows.correct, np.exp(-np.maximum(information, 0.0))
    if right.all() or not right.any():
        return [f"Mutual information of the draws: {information.mean():.4f} nats."]
    return [
        f"Mutual information of the draws: {information[right].mean():.4f} nats where right, "
        f"{information[~right].mean():.4f} where wrong; AUROC for errors {100 * auroc(ranks, right):.1f} % "
        f"(of the confidence {100 * auroc(rows.confidence, right):.1f} %)."
    ]
