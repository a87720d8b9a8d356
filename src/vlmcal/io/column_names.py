"""What the name of a column says: words, numbers, and whether it can belong to a class."""

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from vlmcal.errors import DataError

_WORD: Final = re.compile(r"[^\W\d_]+|\d+", re.UNICODE)
# Words of a scale that stand before or after a class name: prob_cat, p(cat), cat_logit.
PROBABILITY_WORDS: Final = frozenset(
    {"p", "prob", "probs", "proba", "probability", "probabilities", "softmax", "sigmoid", "pr"}
)
LOGIT_WORDS: Final = frozenset({"logit", "logits", "z"})
SCALE_WORDS: Final = (
    PROBABILITY_WORDS
    | LOGIT_WORDS
    | frozenset(
        {"score", "scores", "pred", "preds", "predicted", "output", "outputs", "y", "class", "cls"}
    )
)
# Names of a lone column with the score of the positive class.
SINGLE_WORDS: Final = SCALE_WORDS | frozenset(
    {"prediction", "predictions", "risk", "hat", "positive", "pos"}
)
_ROW_WORDS: Final = frozenset(
    {"index", "idx", "row", "rows", "rownum", "rownumber", "rowid", "unnamed", "nr", "no", "number"}
)
_OTHER: Final = {
    "a confidence": {
        *("conf", "confidence", "confidences", "certainty", "uncertainty", "entropy", "margin"),
        *("msp", "energy", "maxlogit", "maxprob", "maxscore", "topscore", "topprob", "iou", "dice"),
    },
    "a verdict": {"correct", "iscorrect", "hit", "wrong", "error", "errors", "acc", "accuracy", "match"},
    "a prediction": {"pred", "preds", "prediction", "predicted", "predictions", "argmax"},
    "an age": {"age", "ages", "agegroup", "years", "yrs"},
    "a date": {"year", "month", "day", "date", "time", "timestamp"},
    "a name of rows or groups": {
        *("id", "ids", "uid", "uuid", "patient", "patientid", "subject", "study", "series", "slide"),
        *("image", "img", "file", "filename", "path", "slice", "frame", "fold", "split", "site"),
        *("center", "centre", "hospital", "scanner", "group", "batch", "seed", "epoch", "rank"),
    },
    "a measure of the sample": {
        *("sex", "gender", "weight", "weights", "height", "width", "size", "area", "length", "bmi"),
        *("count", "counts", "n", "loss", "nll", "distance", "mm", "cm", "kg", "ms", "seconds"),
    },
}  # fmt: skip
_ANY: Final = frozenset().union(*_OTHER.values())
_FILLING: Final = frozenset(
    {"is", "top", "max", "mean", "the", "of", "in", "at", "label", "class", "model"}
)


def words(name: str) -> tuple[str, ...]:
    """Words and numbers of a name, in small letters; camel case and digits part words.

    Example:
        >>> words("Prob_BasalCell 01"), words("P(dog, small)")
        (('prob', 'basal', 'cell', '1'), ('p', 'dog', 'small'))
    """
    apart = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    return tuple(
        str(int(word)) if word.isdecimal() else word.casefold() for word in _WORD.findall(apart)
    )


class Place(NamedTuple):
    """What stands around a class name in the name of a column; columns of one kind share it.

    Attributes:
        before: Words before it.
        after: Words after it.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def bare(self) -> bool:
        """Whether the column is called as the class."""
        return not self.before and not self.after

    @property
    def scale(self) -> str | None:
        """What the words around say the numbers are: "probs", "logits" or None."""
        around = {*self.before, *self.after}
        stated = [
            scale
            for scale, known in (("probs", PROBABILITY_WORDS), ("logits", LOGIT_WORDS))
            if around & known
        ]
        return stated[0] if len(stated) == 1 else None

    def text(self) -> str:
        """For messages: ``prob_*``."""
        return "_".join([*self.before, "*", *self.after])


def places(column: tuple[str, ...], label: tuple[str, ...]) -> list[Place]:
    """Every place of a label's words in a column's words; spaces within the class name do not count.

    Example:
        >>> places(words("prob_basal_cell"), words("BasalCell"))
        [Place(before=('prob',), after=())]
    """
    joined = "".join(label)
    found = []
    for start in range(len(column)):
        text = ""
        for end in range(start, len(column)):
            text += column[end]
            if text == joined:
                found.append(Place(column[:start], column[end + 1 :]))
            if len(text) >= len(joined):
                break
    return found


def number_places(column: tuple[str, ...]) -> list[tuple[Place, int]]:
    """Every number in a column's words, with what stands around it.

    Example:
        >>> number_places(words("prob_1"))
        [(Place(before=('prob',), after=()), 1)]
    """
    return [
        (Place(column[:at], column[at + 1 :]), int(word))
        for at, word in enumerate(column)
        if word.isdecimal()
    ]


def rest_of(column: str, place: Place) -> str:
    """What is left of a column's name without the words around it, as it is written.

    Example:
        >>> rest_of("prob_Basal cell", Place(("prob",), ()))
        'Basal cell'
    """
    text = column
    for word in place.before:
        at = text.casefold().find(word)
        text = text[at + len(word) :] if at >= 0 else text
    for word in reversed(place.after):
        at = text.casefold().rfind(word)
        text = text[:at] if at >= 0 else text
    return text.strip(" _-.:()[]{}|/") or column


def named_once(names: Sequence[str]) -> list[str]:
    """Names of columns, each its own: several without one are numbered, as pandas does.

    Raises:
        DataError: A name occurs twice.

    Example:
        >>> named_once(["cat", ""]), named_once(["", "", "cat"])
        (['cat', ''], ['Unnamed: 0', 'Unnamed: 1', 'cat'])
    """
    count = Counter(names)
    twice = sorted(name for name in count if name and count[name] > 1)
    if twice:
        raise DataError(f"column names occur twice: {', '.join(twice)}; give each its own name")
    if count[""] > 1:
        return [name or f"Unnamed: {at}" for at, name in enumerate(names)]
    return list(names)


def as_option(names: Iterable[str]) -> str:
    """Names as an option with commas takes them in a shell: names with commas and spaces in quotes.

    Example:
        >>> print(as_option(["cat", "dog"]), as_option(["cat", "dog, small"]))
        cat,dog 'cat,"dog, small"'
    """
    return shlex.quote(",".join(f'"{name}"' if "," in name else name for name in names))


def counts_rows_by_name(name: str) -> bool:
    """Whether a name is one that row numbers have: "", "Unnamed: 0", "index".

    Example:
        >>> [counts_rows_by_name(name) for name in ("", "Unnamed: 0", "idx", "finding")]
        [True, True, True, False]
    """
    parts = [word for word in words(name) if not word.isdecimal()]
    return name.strip() in ("", "#") or (bool(parts) and set(parts) <= _ROW_WORDS)


def other_meaning(name: str) -> str:
    """What a column of this name usually is, if not the score of a class, or "".

    Every word of the name must be known: "weight lifting" may be a class.

    Example:
        >>> [other_meaning(name) for name in ("Patient Age", "is_correct", "weight lifting")]
        ['an age', 'a verdict', '']
    """
    parts = words(name)
    plain = {part for part in parts if not part.isdecimal()} - _FILLING
    for meaning, known in _OTHER.items():
        if "".join(p for p in parts if not p.isdecimal()) in known or (
            plain & known and plain <= _ANY
        ):
            return meaning
    return ""


def stated_scale(name: str) -> str | None:
    """What a name says the numbers are: "probs", "logits" or None.

    Example:
        >>> stated_scale("logit"), stated_scale("y_prob"), stated_scale("cat")
        ('logits', 'probs', None)
    """
    return Place(words(name), ()).scale


LABEL_NAMES: Final = (
    *("label", "labels", "truelabel", "truelabels", "ytrue", "target", "targets", "groundtruth"),
    *("gt", "truth", "trueclass", "goldlabel", "gold", "class", "classlabel", "classname"),
    *("diagnosis", "dx", "actual", "reference", "truelabelname", "y"),
)  # fmt: skip
PREDICTION_NAMES: Final = frozenset(
    {
        *("prediction", "pred", "preds", "predicted", "predictedlabel", "predlabel", "ypred"),
        *("predictedclass", "predclass", "predictions", "predictionlabel", "toplabel", "argmax"),
    }
)
CONFIDENCE_NAMES: Final = frozenset(
    {
        *("confidence", "conf", "confidences", "score", "prob", "probability", "maxprob", "msp"),
        *("topprob", "toplabelprob", "predprob", "maxprobability", "predictedprobability"),
        "certainty",
    }
)
CLASS_LIST_NAMES: Final = frozenset(
    {
        *("classes", "classnames", "classlist", "categories", "labelnames", "labelmap"),
        *("targetnames", "names"),
    }
)
CORRECT_NAMES: Final = frozenset(
    {"correct", "iscorrect", "hit", "right", "match", "ok", "accurate"}
)


def joined(name: str) -> str:
    """Words of a name without anything between them, to compare names.

    Example:
        >>> joined("True_Label"), joined("y_true")
        ('truelabel', 'ytrue')
    """
    return "".join(words(name))
