"""What ``calibrate`` and ``conformal`` share: files by their role, options by name, warnings as notes."""

import json
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import typer

if TYPE_CHECKING:
    from vlmcal.types.predictions import Predictions
    from vlmcal.types.split import Split

Role = Literal["fit", "apply"]
_OWN = ".safetensors"

Val = Annotated[Path, typer.Argument(help="Held-out labelled rows: NPZ, CSV, Parquet, ...")]
Test = Annotated[Path, typer.Argument(help="Other rows, never fitted on.")]
Logits = Annotated[bool, typer.Option("--logits", help="The numbers are logits.")]
Probs = Annotated[bool, typer.Option("--probs", help="The numbers are probabilities.")]
Labels = Annotated[str | None, typer.Option(help="Column or key with the true class.")]
Group = Annotated[str | None, typer.Option(help="Column with patient, slide or site.")]
Ids = Annotated[str | None, typer.Option(help="Column with row ids.")]
SplitName = Annotated[
    str | None, typer.Option("--split", help="val (default), calibration or train.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="KEY=VALUE, a parameter of the method; may be repeated."),
]
AllowAbsent = Annotated[
    bool, typer.Option("--allow-absent", help="Fit although some classes have no row.")
]
Html = Annotated[Path | None, typer.Option("--report", help="Write an HTML report.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the numbers as JSON.")]


@dataclass(frozen=True)
class Reading:
    """How the user says that files are to be read.

    Attributes:
        logits: The numbers are logits.
        probs: The numbers are probabilities.
        labels: Column or array with the labels.
        group: Column or array with the groups.
        ids: Column or array with the ids.
        split: Split of the rows to fit on.
    """

    logits: bool = False
    probs: bool = False
    labels: str | None = None
    group: str | None = None
    ids: str | None = None
    split: str | None = None

    def load(self, path: Path, role: Role) -> "Predictions":
        """Rows of a file, tagged by their role unless the file itself names their split.

        Rows to fit on are "val", others "test". Rows without ids get ids from the content of the file, so
        that two files do not clash and the same rows always do.

        Raises:
            SplitError: The file says that its rows are test data, but they are to be fitted on, or
                ``split`` contradicts it.
            SpecError: It is not said what the numbers are.
            DataError: As :func:`vlmcal.io.predictions.load_predictions`.
        """
        from vlmcal.io.predictions import load_predictions

        said = _stated(path)
        split = self._split(path, role, said.split)
        rows = load_predictions(
            path,
            scores=self._scores(path, said.scores),
            labels=self.labels,
            group=self.group,
            ids=self.ids,
            split=None if path.suffix.lower() == _OWN else split,
        )
        if path.suffix.lower() == _OWN:
            rows = replace(rows, split=self._split(path, role, rows.split))
        return with_content_ids(rows)

    def _split(self, path: Path, role: Role, said: "Split | None") -> "Split":
        from vlmcal.errors import SplitError
        from vlmcal.types.split import as_split

        held = None if said == "unknown" else said
        if role == "apply":
            return held or "test"
        asked = None if self.split is None else as_split(self.split)
        if held == "test" or asked == "test":
            who = "the file says that its rows are" if held == "test" else "these were called"
            raise SplitError(
                f"{path}: {who} test data; fitting on them would make every number measured on them too "
                "good. Fit on held-out rows (split val or calibration)"
            )
        if asked and held and asked != held:
            raise SplitError(
                f'{path}: the file says that its split is "{held}", --split says "{asked}"; leave --split '
                "out, or correct the file"
            )
        return asked or held or "val"

    def _scores(self, path: Path, said: str | None) -> Literal["logits", "probs"] | None:
        from vlmcal.errors import SpecError

        if self.logits and self.probs:
            raise SpecError(f"{path}: --logits and --probs exclude each other; give one of them")
        asked = "logits" if self.logits else "probs" if self.probs else said
        if asked is None and path.suffix.lower() != _OWN and path.is_file():
            raise SpecError(
                f"{path}: say what the numbers are with exactly one of --logits (unnormalised scores) or "
                "--probs (rows sum to 1)"
            )
        return cast(Literal["logits", "probs"] | None, asked)


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


def with_content_ids(rows: "Predictions") -> "Predictions":
    """The same rows; ids that are mere row numbers get a prefix that tells files of other content apart.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> one = with_content_ids(Predictions(logits=[[1.0, 0.0]], labels=[0]))
        >>> two = with_content_ids(Predictions(logits=[[2.0, 0.0]], labels=[0]))
        >>> str(one.ids[0]), bool(one.ids[0] == two.ids[0])
        ('0e04ac5e:0', False)
    """
    import numpy as np

    from vlmcal.hashing import digest, digest_array

    numbers = np.arange(len(rows)).astype(np.str_)
    if not np.array_equal(rows.ids, numbers):
        return rows
    prefix = digest([digest_array(rows.logits), digest_array(rows.labels)])[:8]
    return replace(rows, ids=np.array([f"{prefix}:{number}" for number in numbers.tolist()]))


def parse_options(pairs: Iterable[str] | None, kind: type, what: str) -> dict[str, Any]:
    """``["bins=10"]`` as arguments of a method, each checked against the type of its field.

    Values are read as JSON where they are valid JSON (numbers, true, null, lists), else as text.

    Args:
        pairs: As typed.
        kind: Dataclass of the method.
        what: What to call it in messages.

    Raises:
        SpecError: No equals sign, an unknown name (with the nearest one), or a value of the wrong type.

    Example:
        >>> from vlmcal.calibrators.temperature import Temperature
        >>> parse_options(["bounds=[0.1, 10]"], Temperature, 'calibrator "temperature"')
        {'bounds': (0.1, 10.0)}
    """
    from vlmcal.errors import SpecError, nearest

    known = {f.name: f.type for f in fields(kind) if f.init}
    values = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals:
            raise SpecError(f'--option: expected KEY=VALUE, got "{pair}"')
        if name not in known:
            raise SpecError(f'{what} has no option "{name}"; {nearest(name, known)}')
        values[name] = _typed(text.strip(), known[name], f"{what}: option {name}")
    return values


def _typed(text: str, kind: Any, where: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    from vlmcal.errors import SpecError

    candidates: list[Any] = [text]
    try:
        candidates.insert(0, json.loads(text))
    except ValueError:
        if text in ("True", "False", "None"):
            candidates.insert(0, {"True": True, "False": False, "None": None}[text])
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    for candidate in candidates:
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            reason = str(error.errors()[0]["msg"])
    expected = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    raise SpecError(f'{where}: expected {expected}, got "{text}" ({reason})')


@contextmanager
def notes() -> Iterator[None]:
    """Print warnings that are raised inside as notes, each once."""
    from vlmcal.cli.console import note

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for text in dict.fromkeys(str(item.message) for item in caught):
                note(f"note: {text}")


def absent_classes(rows: "Predictions") -> list[str]:
    """Names of the classes without a row.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> absent_classes(Predictions(logits=[[1.0, 0.0, 0.0]], labels=[1]))
        ['0', '2']
    """
    import numpy as np

    counts = np.bincount(rows.labels, minlength=rows.n_classes)
    return [name for name, count in zip(rows.class_names, counts.tolist(), strict=True) if not count]


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


def require_output(output: Path, inputs: Iterable[Path], endings: tuple[str, ...]) -> None:
    """Refuse a name for the result before anything is computed.

    Raises:
        SpecError: It is one of the inputs, or has another ending than the formats that can be written.
    """
    from vlmcal.errors import SpecError

    if output.suffix.lower() not in endings:
        raise SpecError(f'{output}: expected a name that ends in {" or ".join(endings)}')
    if any(output.resolve() == path.resolve() for path in inputs):
        raise SpecError(f"{output}: this is an input; give the result another name")


def finite(value: Any) -> Any:
    """``value`` as JSON data: NaN and infinity become None.

    Example:
        >>> finite({"nll": float("inf"), "n": [1, 2.5]})
        {'nll': None, 'n': [1, 2.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
