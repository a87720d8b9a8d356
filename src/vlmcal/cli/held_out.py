"""Files by their role: rows to fit on, and rows that are never fitted on."""

import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.option_groups import opt
from vlmcal.errors import DataError, SpecError, SplitError

if TYPE_CHECKING:
    from vlmcal.io.predictions import ReadingOptions, Rows
    from vlmcal.io.score_columns import Scores
    from vlmcal.types.predictions import Predictions
    from vlmcal.types.split import Split

Role = Literal["val", "calibration", "test"]
_OWN = ".safetensors"


@dataclass(frozen=True)
class Reading:
    """How the user says that files are to be read; the options of every verb that reads predictions."""

    logits: Annotated[bool, opt("The numbers are logits.")] = False
    probs: Annotated[bool, opt("The numbers are probabilities.")] = False
    percent: Annotated[bool, opt("The numbers are percentages.")] = False
    labels: Annotated[
        str | None, opt("Column or key with the true class; one per class with commas.")
    ] = None
    labels_file: Annotated[str | None, opt("File with the labels, joined by the ids.")] = None
    group: Annotated[
        str | None,
        opt("Column with patient or slide: units of the intervals.", "--unit", "--group"),
    ] = None
    ids: Annotated[str | None, opt("Column with row ids.")] = None
    classes: Annotated[
        list[str] | None, arguments.several("Class columns in order; COLUMN=NAME renames; or all.")
    ] = None
    prefix: Annotated[str | None, opt("What the names of the class columns start with.")] = None
    positive: Annotated[
        str | None, opt("Score column of the positive class, or one of two classes.")
    ] = None
    positive_label: Annotated[str | None, opt("Label value that is positive.")] = None
    first_label: Annotated[int | None, opt("Number of the first class in integer labels.")] = None
    exclude: Annotated[list[str] | None, arguments.several("Columns that are no classes.")] = None
    renormalise: Annotated[bool, opt("Divide rows within 0.01 of 1 by their sum.")] = False
    sheet: Annotated[str | None, opt("Sheet of a workbook.")] = None
    dry_run: Annotated[bool, opt("Say how the files are read, and stop.")] = False

    def load(
        self,
        path: Path,
        role: Role,
        asked: str | None = None,
        *,
        last: bool = True,
        labels_needed: bool = True,
        known_classes: Sequence[str] = (),
        show: Callable[[str], None] = typer.echo,
        keep_ids: bool = False,
    ) -> "Predictions":
        """Rows of a file, tagged by their role unless the file itself names their split; says how it is read.

        Rows without ids get ids from the content of the file, so that two files do not clash and the same
        rows always do.

        Args:
            path: The file.
            role: Split of a file that names none; rows of any role but "test" are to be fitted on.
            asked: What the user says the split of rows to fit on is.
            last: Whether this is the last file that the verb reads: a dry run ends after it.
            labels_needed: Whether rows without labels are refused.
            known_classes: Class names of rows that these belong to, which choose the columns.
            show: Prints how the file is read.
            keep_ids: Leave ids as they are, also those that are row numbers.

        Raises:
            SplitError: The file says that its rows are test data, but they are to be fitted on, or
                ``asked`` contradicts it.
            SpecError: It is not said what the numbers are.
            DataError: As :func:`vlmcal.io.predictions.load_predictions`; or one confidence per row.
        """
        from vlmcal.types.confidences import Confidences

        options: ReadingOptions = {"labels_needed": labels_needed, "known_classes": known_classes}
        rows = self.read(
            path, role, asked, last=last, options=options, show=show, keep_ids=keep_ids
        )
        data = rows.data
        if isinstance(data, Confidences):
            raise DataError(
                f"{path}: holds one confidence per row and no scores of classes, which this verb needs; "
                "vlmcal evaluate measures such tables"
            )
        return data

    def read(
        self,
        path: Path,
        role: Role,
        asked: str | None = None,
        *,
        last: bool = True,
        options: "ReadingOptions | None" = None,
        show: Callable[[str], None] = typer.echo,
        keep_ids: bool = False,
    ) -> "Rows":
        """As :meth:`load`, with the plan and the subgroups, and also for tables of one confidence per row.

        ``options`` are those of :func:`vlmcal.io.predictions.load_predictions` beyond those of this class.
        """
        from vlmcal.io.predictions import read_predictions
        from vlmcal.io.predictions_npz import stated
        from vlmcal.types.predictions import Predictions
        from vlmcal.types.row_identity import with_content_ids

        if str(path) == "-":
            with standard_input(path) as (file, told):
                named: Any = {"options": options, "keep_ids": keep_ids, "last": last}
                return self.read(file, role, asked, show=lambda text: show(told(text)), **named)
        if path.suffix.lower() in (".sqlite", ".db"):
            from vlmcal.review.verdicts import review_rows

            # As shown to be measured, as the model gave them to be fitted on.
            given: Any = {"raw": role != "test", "by": (options or {}).get("by") or ()}
            rows = review_rows(path, split=split_of(path, role, asked), **given)
            self.tell(rows.plan, last, show)
            return rows
        own = path.suffix.lower() == _OWN
        array = path.suffix.lower() in (".npz", ".npy") and path.is_file()
        said, held = stated(path) if array else (None, None)
        split = split_of(path, role, asked, held)
        given = self.options(self._scores(path, said), None if own else split)
        given.update(options or {})
        rows = read_predictions(path, **given)
        data = rows.data
        self.tell(rows.plan, last, show)
        if own:
            data = replace(data, split=split_of(path, role, asked, data.split))
        if isinstance(data, Predictions) and not keep_ids and self.ids is None:
            data = with_content_ids(data)
        return rows._replace(data=data)

    def command_options(self) -> str:
        """These options as they are typed, for commands to be pasted.

        Example:
            >>> Reading(probs=True, labels="true label", exclude=["age"]).command_options()
            "--probs --labels 'true label' --exclude age"
        """
        words: list[str] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if value in (None, False) or f.name == "dry_run":
                continue
            declared = getattr(f.type, "__metadata__", (None,))[0]
            names = getattr(declared, "param_decls", None) or (f"--{f.name.replace('_', '-')}",)
            for item in value if isinstance(value, list) else [value]:
                text = f'"{item}"' if isinstance(value, list) and "," in item else str(item)
                words += [names[0]] if item is True else [names[0], text]
        return shlex.join(words)

    def tell(self, plan: object, last: bool, show: Callable[[str], None]) -> None:
        """Say how a file is read; a dry run ends after the ``last`` one."""
        show(f"{plan}\n")
        if self.dry_run and last:
            raise typer.Exit

    def options(self, scores: "Scores | None", split: "Split | None") -> "ReadingOptions":
        """As :func:`vlmcal.io.predictions.load_predictions` takes them."""
        same = (
            *("labels", "labels_file", "group", "ids", "prefix", "positive", "positive_label"),
            *("first_label", "renormalise", "sheet"),
        )
        given: Any = {name: getattr(self, name) for name in same}
        given |= {"class_names": self.classes, "exclude": self.exclude or ()}
        return cast("ReadingOptions", given | {"scores": scores, "split": split})

    def scale(self, path: Path) -> "Scores | None":
        """What the user says the numbers are, if anything.

        Raises:
            SpecError: Several things.
        """
        kinds = {"logits": self.logits, "probs": self.probs, "percent": self.percent}
        chosen = [name for name, wanted in kinds.items() if wanted]
        if len(chosen) > 1:
            raise SpecError(
                f"{path}: --{' and --'.join(chosen)} exclude each other; give exactly one of them"
            )
        return cast("Scores", chosen[0]) if chosen else None

    def _scores(self, path: Path, said: str | None) -> "Scores | None":
        from vlmcal.io.packed import ending_of

        asked = self.scale(path) or said
        foreign = ending_of(path) != _OWN and path.exists()
        if asked is None and foreign:
            raise SpecError(
                f"{path}: say what the numbers are with exactly one of --logits (unnormalised scores), "
                "--probs (rows sum to 1) or --percent (rows sum to 100)"
            )
        return cast("Scores | None", asked)


@contextmanager
def standard_input(path: Path) -> Iterator[tuple[Path, Callable[[str], str]]]:
    """The file of a path, and what takes its folder out of texts: "-" is what comes in until its end.

    Raises:
        DataError: As inside, of standard input.
        SpecError: Likewise.
    """
    from tempfile import TemporaryDirectory

    if str(path) != "-":
        yield path, str
        return
    content = typer.get_binary_stream("stdin").read()
    ending = ".jsonl" if content.lstrip()[:1] == b"{" else ".csv"
    with TemporaryDirectory() as folder:
        file = Path(folder, f"standard input{ending}")
        file.write_bytes(content)

        def told(text: str) -> str:
            return text.replace(f"{folder}/", "")

        try:
            yield file, told
        except (DataError, SpecError) as error:
            raise type(error)(told(str(error))) from error


def split_of(path: Path, role: Role, asked: str | None, said: "Split | None" = None) -> "Split":
    """The split of a file's rows: what the user or the file says, else that of their role.

    Raises:
        SplitError: The file says that its rows are test data, but they are to be fitted on, or ``asked``
            contradicts it.
    """
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


@contextmanager
def noting_shared(fitting: "Predictions", other: "Predictions", path: Path) -> Iterator[None]:
    """Say it as :func:`note_shared` does, and not again as what is called inside says it.

    Raises:
        SplitError: Some rows are the same ones.
    """
    from vlmcal.types.row_identity import SharedRowsWarning

    note_shared(fitting, other, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SharedRowsWarning)
        yield


def note_shared(fitting: "Predictions", other: "Predictions", path: Path) -> None:
    """Say which groups and scores of other rows are those of rows that are fitted on.

    Raises:
        SplitError: Some rows are the same ones.
    """
    from vlmcal.types.row_identity import FittedRows

    shared = FittedRows.of(fitting).shared(other, f"{path}")
    for text in shared.notes(len(other), path.name):
        note(f"note: {text}")
