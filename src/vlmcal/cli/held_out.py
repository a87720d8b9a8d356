"""Files by their role: rows to fit on, and rows that are never fitted on."""

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from vlmcal.cli import arguments

if TYPE_CHECKING:
    from vlmcal.types.predictions import Predictions
    from vlmcal.types.split import Split

Role = Literal["val", "calibration", "test"]
_OWN, _FOREIGN = ".safetensors", (".npz", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Reading:
    """How the user says that files are to be read; the options of every verb that reads predictions.

    Attributes:
        logits: The numbers are logits.
        probs: The numbers are probabilities.
        labels: Column or array with the labels.
        group: Column or array with the groups.
        ids: Column or array with the ids.
        exclude: Columns or arrays that are neither classes nor any of the above.
    """

    logits: arguments.Logits = False
    probs: arguments.Probs = False
    labels: arguments.Labels = None
    group: arguments.Group = None
    ids: arguments.Ids = None
    exclude: arguments.Exclude = None

    def load(self, path: Path, role: Role, asked: str | None = None) -> "Predictions":
        """Rows of a file, tagged by their role unless the file itself names their split.

        Rows without ids get ids from the content of the file, so that two files do not clash and the same
        rows always do.

        Args:
            path: The file.
            role: Split of a file that names none; rows of any role but "test" are to be fitted on.
            asked: What the user says the split of rows to fit on is.

        Raises:
            SplitError: The file says that its rows are test data, but they are to be fitted on, or
                ``asked`` contradicts it.
            SpecError: It is not said what the numbers are.
            DataError: As :func:`vlmcal.io.predictions.load_predictions`.
        """
        from vlmcal.io.predictions import load_predictions
        from vlmcal.types.row_identity import with_content_ids

        said = _stated(path)
        split = _split(path, role, asked, said.split)
        rows = load_predictions(
            path,
            scores=self._scores(path, said.scores),
            labels=self.labels,
            group=self.group,
            ids=self.ids,
            exclude=self.exclude or (),
            split=None if path.suffix.lower() == _OWN else split,
        )
        if path.suffix.lower() == _OWN:
            rows = replace(rows, split=_split(path, role, asked, rows.split))
        return with_content_ids(rows)

    def _scores(self, path: Path, said: str | None) -> Literal["logits", "probs"] | None:
        from vlmcal.errors import SpecError

        if self.logits and self.probs:
            raise SpecError(
                f"{path}: --logits and --probs exclude each other; give exactly one of them"
            )
        asked = "logits" if self.logits else "probs" if self.probs else said
        if asked is None and path.suffix.lower() in _FOREIGN and path.is_file():
            raise SpecError(
                f"{path}: say what the numbers are with exactly one of --logits (unnormalised scores) or "
                "--probs (rows sum to 1)"
            )
        return cast(Literal["logits", "probs"] | None, asked)


def _split(path: Path, role: Role, asked: str | None, said: "Split | None") -> "Split":
    from vlmcal.errors import SplitError
    from vlmcal.types.split import as_split

    held = None if said == "unknown" else said
    if role == "test":
        return held or role
    wanted = None if asked is None else as_split(asked)
    if held == "test" or wanted == "test":
        who = "the file says that its rows are" if held == "test" else "these were called"
        raise SplitError(
            f"{path}: {who} test data; fitting on them would make every number measured on them too "
            "good. Fit on held-out rows (split val or calibration)"
        )
    if wanted and held and wanted != held:
        raise SplitError(
            f'{path}: the file says that its split is "{held}", --split says "{wanted}"; leave --split '
            "out, or correct the file"
        )
    return wanted or held or role


class _Stated(NamedTuple):
    """What an NPZ file says about itself by the names of its arrays; None where it does not."""

    scores: str | None
    split: "Split | None"


def _stated(path: Path) -> _Stated:
    import numpy as np

    from vlmcal.io.npz import read_npz
    from vlmcal.types.split import as_split

    if path.suffix.lower() != ".npz" or not path.is_file():
        return _Stated(None, None)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = [name for name in ("logits", "probs") if name in archive.files]
            split = str(archive["split"]) if "split" in archive.files else None
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        read_npz(path)  # says what is wrong with the file
        raise
    return _Stated(
        found[0] if len(found) == 1 else None, None if split is None else as_split(split)
    )


def absent_classes(rows: "Predictions") -> list[str]:
    """Names of the classes without a row.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> absent_classes(Predictions(logits=[[1.0, 0.0, 0.0]], labels=[1]))
        ['0', '2']
    """
    import numpy as np

    counts = np.bincount(rows.labels, minlength=rows.n_classes)
    return [
        name for name, count in zip(rows.class_names, counts.tolist(), strict=True) if not count
    ]


def absent_message(rows: "Predictions", what: str) -> str:
    """Why ``what``, which learns something for each class, should not be fitted on these rows, or "".

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> absent_message(Predictions(logits=[[1.0, 0.0]] * 2, labels=[0, 1]), "vector")
        ''
    """
    absent = absent_classes(rows)
    if not absent:
        return ""
    shown = ", ".join(f'"{name}"' for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
    return (
        f"{len(absent)} of {rows.n_classes} classes have no row to fit on ({shown}), but {what} learns "
        "something for each class; add rows of them, or pass --allow-absent to fit all the same"
    )


def note_shared(fitting: "Predictions", other: "Predictions", path: Path) -> None:
    """Say which groups and scores of other rows are those of rows that are fitted on.

    Raises:
        SplitError: Some rows are the same ones.
    """
    from vlmcal.cli.console import note
    from vlmcal.types.row_identity import FittedRows

    shared = FittedRows.of(fitting).shared(other, f"{path}")
    for text in shared.notes(len(other), path.name):
        note(f"note: {text}")
