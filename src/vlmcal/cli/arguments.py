"""What the verbs on stored predictions share: arguments, options by name, notes, names of results."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from os import sep
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import typer

from vlmcal.cli.console import note
from vlmcal.cli.option_groups import TYPED, arg, opt, result, written
from vlmcal.errors import DataError, SpecError, require_known, require_none

if TYPE_CHECKING:
    from vlmcal.io.score_columns import Scores
    from vlmcal.options import Source
    from vlmcal.registry import Registry

T = TypeVar("T")
LAST_SEED = 2**32 - 1  # what every generator takes
# Endings of written tables; those of vlmcal.io.table_output, which needs numpy.
TABLES = tuple(
    f"{ending}{packed}"
    for packed in ("", ".gz")
    for ending in (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")
)

ROWS = (".npz", ".safetensors", *TABLES)  # of written predictions


def several(help: str, *flags: str) -> Any:
    """An option for several names: repeated, with commas, or both; commas in parentheses do not divide."""

    def divide(values: list[str] | None) -> list[str] | None:
        from vlmcal.options import names

        found = names(values) or None
        if values and found is None:
            raise typer.BadParameter("expected at least one name, got nothing")
        return found

    return opt(f"{help} With commas, or repeated.", *flags, callback=divide)


Val = Annotated[Path, arg("Held-out labelled rows: NPZ, CSV, Parquet, ...")]
Test = Annotated[Path, arg("Other rows, never fitted on.")]
By = Annotated[list[str] | None, several("Columns of subgroups that are measured apart.")]
SplitName = Annotated[str | None, opt("Split of the rows to fit on: val, calibration, train.")]
Options = Annotated[list[str] | None, opt("KEY=VALUE, a parameter of the method; may be repeated.")]
ImageRoot = Annotated[Path | None, opt("Folder that image paths in the file start from.")]
DataOptions = Annotated[
    list[str] | None,
    opt("KEY=VALUE of the data, such as image=COLUMN or label=COLUMN; may be repeated."),
]
AllowAbsent = Annotated[bool, opt("Fit although some classes have no row.")]
Methods = Annotated[
    list[str] | None,
    several("NAME or NAME(OPTION=VALUE, ...); default: all that fit.", "--method", "-m"),
]
Metrics = Annotated[list[str] | None, several("A preset, or NAME or NAME(OPTION=VALUE, ...).")]
Level = Annotated[float, opt("Confidence level of intervals.")]
Seed = Annotated[int, opt("Seed of every draw.", min=0, max=LAST_SEED)]
Resamples = Annotated[int, opt("Bootstrap resamples; 0 for no intervals.")]
SavedTo = Annotated[Path, written("Where it goes (.json); - is standard output.")]
Unchecked = Annotated[bool, opt("Train although `vlmcal data check` finds errors.")]
Compile = Annotated[bool, opt("Compile the backbone's blocks.", "--compile")]
Device = Annotated[str, opt("Torch device.")]
Backbone = Annotated[str, opt("A name of `vlmcal list backbones`, a folder, or a hub id.")]
Calibrators = Annotated[
    list[str] | None, several("Default: none and temperature.", "--calibrator", "-c")
]
RunPlace = Annotated[str, arg("Folder of a run, or its id together with --store.")]
RunStore = Annotated[str, opt("Store, when RUN is an id.")]
Page = Annotated[Path | None, result("HTML report.", "--report", "--html")]
Numbers = Annotated[Path | None, result("Numbers; - is standard output.")]


def made(registry: "Source[T]", method: str, option: Iterable[str] | None) -> T:
    """What ``--method`` and the ``--option`` values name together.

    Raises:
        SpecError: As :func:`vlmcal.options.build`, no equals sign in an option, or one that ``method``
            gives, too.

    Example:
        >>> from vlmcal.calibrators.base import CALIBRATORS
        >>> made(CALIBRATORS, "temperature(loss=brier)", ["bounds=[0.1, 10]"]).bounds
        (0.1, 10.0)
    """
    from vlmcal.options import build, pairs, read

    given = dict(pairs(option or (), "--option KEY=VALUE"))
    for name in given.keys() & read(method, registry.kind).options.keys():
        raise SpecError(f'--option {name}={given[name]}: "{method}" says what {name} is; give one')
    return build(registry, method, given)


def data_options(root: Path | None, option: Iterable[str] | None) -> dict[str, Any]:
    """What ``--root`` and the ``--option`` values say of a data set.

    Raises:
        SpecError: No equals sign in an option.

    Example:
        >>> data_options(Path("photos"), ["label=class"])
        {'label': 'class', 'image_root': 'photos'}
    """
    from vlmcal.options import Typed, pairs

    given: dict[str, Any] = dict(pairs(option or (), "--option KEY=VALUE"))
    return given if root is None else {**given, "image_root": Typed(root)}


def with_options(hint: str) -> str:
    """A message on data in which what Python would be passed is what the command line would.

    Example:
        >>> with_options('rename a column or pass image=NAME, or pass ignore=["imge"]')
        'rename a column or pass --option image=NAME, or pass --option ignore=imge'
    """
    listed = re.sub(r'\bpass (\w+)=\["?([^]"]*)"?\]', r"pass \1=\2", hint)
    return re.sub(r"\bpass (?=\w+=)", "pass --option ", listed)


@contextmanager
def told_in_options() -> Iterator[None]:
    """What is wrong with the data that are read inside is said as :func:`with_options` does.

    Raises:
        DataError: Likewise.
    """
    try:
        yield
    except DataError as error:
        raise DataError(with_options(str(error))) from error


def parse_pairs(texts: Iterable[str] | None, form: str) -> dict[str, str]:
    """``["a=1"]`` as a mapping of texts.

    Args:
        texts: As typed.
        form: What was expected, for the message.

    Raises:
        SpecError: No equals sign, or nothing before it.

    Example:
        >>> parse_pairs(["model=gpt-4o"], "--where COLUMN=VALUE")
        {'model': 'gpt-4o'}
    """
    from vlmcal.options import pairs

    return {name: str(value) for name, value in pairs(texts or (), form)}


def chosen_metrics(metrics: list[str] | None, default: str = "default") -> str | list[str]:
    """A preset, or a list of metrics that exist, with options that they have.

    Args:
        metrics: As :data:`Names` gives them.
        default: What None stands for.

    Raises:
        SpecError: No such metric or option.
    """
    from vlmcal.metrics import METRICS, PRESETS
    from vlmcal.metrics.presets import with_options

    if metrics is None:
        return default
    if len(metrics) == 1 and metrics[0] in PRESETS:
        return metrics[0]
    names, options = with_options(metrics, {})
    for name in names:
        METRICS.get(name).check_options(options.get(name, {}))
    return metrics


@contextmanager
def notes() -> Iterator[None]:
    """Print warnings that are raised inside as notes, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            tell(str(item.message) for item in caught)


def tell(texts: Iterable[str]) -> None:
    """Print each of the texts once, as a note."""
    for text in dict.fromkeys(texts):
        note(f"note: {text}")


@contextmanager
def applying(path: Path) -> Iterator[None]:
    """Apply what was read from ``path``: its notes are printed, a damaged state is one message.

    Raises:
        DataError: What it learned does not fit together.
    """
    with notes():
        try:
            yield
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise DataError(
                f"{path}: what it learned cannot be applied ({error}); the file was edited or "
                "damaged, fit it again"
            ) from error


def require_calls(**values: float | None) -> None:
    """Refuse numbers of calls below 1, and a time to wait that is none.

    Raises:
        SpecError: One is.
    """
    for name, value in values.items():
        if value is not None and not (value >= 1 or (name == "timeout" and value > 0)):
            least = "seconds above 0" if name == "timeout" else "at least 1"
            raise SpecError(f"--{name}: expected {least}, got {value:g}")


def require_judge(judge: str, name: str | None, option: str) -> None:
    """Refuse the name of a model on a server where no model judges.

    Raises:
        SpecError: The judge is a registered one.
    """
    if ":" not in judge:
        require_none(f"--judge {judge} is none", {f"{option} is for a model": name})


def require_drawing(level: float, resamples: int) -> None:
    """Refuse values of ``--level`` and ``--resamples`` before anything is computed.

    Raises:
        SpecError: A level outside (0, 1), or resamples that are negative or too many.
    """
    if not 0 < level < 1:
        raise SpecError(f"--level: expected a number between 0 and 1, got {level}")
    if not 0 <= resamples <= 1_000_000:
        raise SpecError(f"--resamples: expected 0 to 1,000,000, got {resamples}")


def require_output(output: Path, endings: tuple[str, ...], *inputs: Path) -> None:
    """Refuse a name for the result before anything is computed.

    Raises:
        SpecError: It is one of the inputs, or has another ending than the formats that can be written.
            Standard output ("-"), devices and pipes take tables as CSV, and what has one form only.
    """
    from vlmcal.io.atomic import is_stream

    if is_stream(output) and (
        ".csv" in endings or len({ending.removesuffix("l") for ending in endings}) == 1
    ):
        return  # a table of rows is CSV there; .htm is .html
    if not output.name.lower().endswith(endings):
        plain = [ending for ending in endings if not ending.endswith(".gz")]
        packed = ", tables also .gz" if len(plain) < len(endings) else ""
        raise SpecError(f"{output}: expected a name that ends in {' or '.join(plain)}{packed}")
    require_no_input(output, *inputs)


def telling_beside(output: Path | None) -> Callable[[str], None]:
    """Prints what a person reads: on standard error where standard output holds the result."""
    from vlmcal.io.atomic import is_output

    return partial(typer.echo, err=output is not None and is_output(output))


def require_no_input(output: Path, *inputs: Path) -> None:
    """Refuse to write over what is read: every other path that the verb was given, and ``inputs``.

    Raises:
        SpecError: The file is one of the inputs, belongs to one (.safetensors have a .json beside them), or
            is part of a run or of a folder of answers that is read.
        StoreError: Nothing can be written there.
    """
    from vlmcal.io.atomic import is_stream, require_place

    read = [path for path in (*inputs, *_named()) if not is_stream(path)]
    # Unlike Path.resolve, this does not mind links that lead to themselves.
    if _together(output) & set().union(*map(_together, read)):
        raise SpecError(f"{output}: this is an input; give the result another name")
    if output.suffix.lower() in _KEPT and output.exists():
        place = realpath(output)
        for folder in read:
            within = place.startswith(f"{realpath(folder)}{sep}")
            if within and any(
                (folder / record).is_file() for record in ("run.json", "status.json")
            ):
                raise SpecError(
                    f"{output}: this is a part of {folder}; give the result another name"
                )
    require_place(output)


_KEPT = (".json", ".jsonl", ".safetensors")
_PAIRED = (".json", ".safetensors")


def _named() -> list[Path]:
    given = (v if isinstance(v, list | tuple) else [v] for v in TYPED.get().values())
    return [Path(e) for each in given for e in each if isinstance(e, str | Path) and str(e)]


def _together(path: Path) -> set[str]:
    """The file, and the one beside it that is read and written with it."""
    ending = path.suffix.lower()
    names = [path, *(path.with_suffix(each) for each in _PAIRED if ending in _PAIRED)]
    return {realpath(name) for name in names}


def known(names: list[str] | None, registry: "Registry[Any]") -> list[str] | None:
    """The names of methods, or None for "all"; each is built once, so that a wrong one fails here.

    Raises:
        SpecError: As :func:`vlmcal.options.build`.

    Example:
        >>> from vlmcal.conformal.base import CONFORMAL
        >>> known(["lac", "raps(penalty=0.1)"], CONFORMAL)
        ['lac', 'raps(penalty=0.1)']
    """
    from vlmcal.options import build

    if names is None or names == ["all"]:
        return None
    for name in names:
        build(registry, name)
    return names


def scale(out_scores: str | None) -> "Scores | None":
    """What ``--out-scores`` says.

    Raises:
        SpecError: No such scale.
    """
    from vlmcal.io.score_columns import Scores

    kinds = get_args(Scores)
    if out_scores is not None:
        require_known(out_scores, kinds, "--out-scores: no scale")
    return cast("Scores | None", out_scores)
