"""Scores of known and unknown images from their predictions, by name."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.io.unicode_text import text_lines
from vlmcal.posthoc.ood_scores import cosines, energy, max_logit, mcm, neg_label, negative_words
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions

Pair = tuple[FloatArray, FloatArray]


def row_scores(
    known: Predictions,
    unknown: Predictions,
    names: Iterable[str] | None = None,
    *,
    scale: float = 100.0,
) -> dict[str, Pair]:
    """Scores (N,) and (M,) of known and unknown images by name; larger means known.

    "confidence" (the largest probability), "mcm", "energy" and "max_logit" (these three need logits), and
    "mutual_information" of rows that carry it, negated.

    Args:
        known: Rows of known classes.
        unknown: Rows of images of other classes.
        names: Which; None for all that these rows allow.
        scale: The model's logit scale, for "mcm".

    Raises:
        SpecError: An unknown name, or a scale that is none.
        DataError: Rows without what a named score needs, or scores of other classes.

    Example:
        >>> one = Predictions(logits=[[100.0, 0.0]], labels=[0])
        >>> two = Predictions(logits=[[50.0, 50.0]], labels=[0])
        >>> [round(float(part[0]), 4) for part in row_scores(one, two, ["mcm"])["mcm"]]
        [0.7311, 0.5]
    """
    if not 0 < scale < np.inf:
        raise SpecError(f"scale: expected a number above 0, got {scale}")
    of: Mapping[str, Callable[[Predictions], FloatArray]] = {
        "confidence": lambda rows: np.asarray(rows.probabilities().max(axis=1)),
        "mcm": lambda rows: mcm(rows.logits, scale=scale),
        "energy": lambda rows: energy(rows.logits),
        "max_logit": lambda rows: max_logit(rows.logits),
        "mutual_information": lambda rows: (
            -np.asarray(rows.extras["mutual_information"], np.float64)
        ),
    }
    if known.class_names != unknown.class_names:
        one, two = (
            f"{rows.n_classes} ({', '.join(rows.class_names[:3])}, ...)"
            for rows in (known, unknown)
        )
        raise DataError(
            f"scores of known images are of {one} classes, those of unknown ones of {two}; both need the "
            "scores of the same, known classes"
        )
    both = (known, unknown)
    lacking = {
        "mutual_information": [r for r in both if "mutual_information" not in r.extras],
        **{
            name: [r for r in both if r.kind != "logits"] for name in ("mcm", "energy", "max_logit")
        },
    }
    chosen = [name for name in of if not lacking.get(name)] if names is None else list(names)
    for name in chosen:
        require_known(name, of, "--score: unknown score")
        if lacking.get(name):
            what = "logits" if name != "mutual_information" else "draws or an ensemble"
            raise DataError(f'the score "{name}" needs rows with {what}, which these are not')
    return {name: (of[name](known), of[name](unknown)) for name in chosen}


def negative_labels(
    known: Predictions, unknown: Predictions, words: Path, count: int, backbone: str
) -> Pair:
    """NegLabel scores of rows that carry image features, against the words farthest from all classes.

    Args:
        known: Rows of known classes, with the extra ``image_features`` (N, D).
        unknown: Rows of images of other classes, likewise.
        words: A text file, one word a line.
        count: Words kept.
        backbone: Whose text tower encodes words and classes; the one that made the features.

    Raises:
        SpecError: ``count`` is below 1.
        DataError: Rows without image features, or features of another width; no words, or no text.
    """
    from vlmcal.backbones import load_backbone

    listed = [word for word in text_lines(words) if word not in known.class_names]
    if count < 1:
        raise SpecError(f"negatives: expected at least 1, got {count}")
    if not listed:
        raise DataError(f"{words}: no words that are not classes")
    encoder = load_backbone(backbone)

    def encoded(names: Iterable[str]) -> FloatArray:
        rows = encoder.encode_texts([f"a photo of a {name}." for name in names]).double()
        return np.asarray(rows.cpu().numpy(), dtype=np.float64)

    classes, vocabulary = encoded(known.class_names), encoded(listed)
    kept = vocabulary[negative_words(vocabulary, classes, count)]
    scale = float(encoder.logit_scale)
    found = []
    for rows in (known, unknown):
        features = np.asarray(rows.extras.get("image_features", np.empty((0, 0))), dtype=np.float64)
        if features.shape != (len(rows), classes.shape[1]):
            raise DataError(
                f"neg_label needs image features of width {classes.shape[1]} in the rows (extra "
                f"image_features), got shape {features.shape}; use rows of runs with the same backbone"
            )
        near, far = (scale * cosines(features, text) for text in (classes, kept))
        found.append(neg_label(near, far))
    return found[0], found[1]
