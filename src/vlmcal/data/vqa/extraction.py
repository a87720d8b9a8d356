"""Structured extraction: a form to be filled in about each image, one question for each of its fields."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vlmcal.data.rows import Row, WholeFileError
from vlmcal.data.splits import known_split
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import listed, text
from vlmcal.data.vqa.gather import Defects, Source, counted, rows_of
from vlmcal.data.vqa.layouts import told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, nearest
from vlmcal.io.json_files import read_json
from vlmcal.types.form import FormField, form_of
from vlmcal.types.question import AnswerType, Question, QuestionSet

_OWN: Final = ("image", "id", "group", "split")
_FIELD: Final = "\0field"  # no name of a column
_TYPES: Final[Mapping[str, AnswerType]] = {"yes_no": "yes_no", "choice": "choice"}


@VQA_LAYOUTS.register("extraction")
@told_by("image, --option schema=FILE")
def extraction(
    path: Path,
    *,
    schema: str = "schema.json",
    images: Path | None = None,
    split: str | None = None,
    ignore: Sequence[str] = (),
    defects: Defects = "error",
) -> QuestionSet:
    r"""One question for every field of a form and every image of a table.

    Columns: ``image`` is needed (several: "a.png|b.png"), ``id``, ``group`` (patient; default the image) and
    ``split`` are optional, every other one is the gold of the field with its name ("lesion.size" for one
    inside an object, which JSON may hold as such); an empty cell is unknown, "null" says that there is no
    value. The kind of a question is its field, so tables, maps and verdicts by kind are by field.

    Args:
        path: A .csv, .tsv, .jsonl, .json (each also .gz) or .parquet.
        schema: JSON schema of the form, see :func:`vlmcal.types.form.form_of`; a path, or a name beside the
            table.
        images: Folder that relative image paths start from; default the folder of the file.
        split: Keep this split only; None keeps all.
        ignore: Columns that are none of the above.
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: The schema cannot be read, a column is no field, or a gold is no value of its field.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "schema.json").write_text('{"properties": {"side": {"enum": ["left", "right"]}}}')
        >>> _ = (folder / "records.csv").write_text("image,side\n1.png,left\n")
        >>> [(q.id, q.kind, q.options, q.gold) for q in extraction(folder / "records.csv")]
        [('1:side', 'side', ('left', 'right'), ('left',))]
    """
    form = form_of(_schema(path, schema))
    told = tuple(field.to_text() for field in form)
    names = {field.name for field in form}
    pictures = Pictures(path, images, (".",))

    def rows() -> Iterator[Row]:
        for row in rows_of([path]):
            _require_columns(row, names, ignore)
            for field in form:
                yield row._replace(cells={**row.cells, _FIELD: field})

    def make(row: Row) -> Question:
        cells, field = row.cells, row.cells[_FIELD]
        shown = [name for name in listed(cells.get("image")) if name]
        if not shown:
            raise DataError('"image" is empty')
        record = text(cells.get("id")) or str(row.number)
        return Question(
            id=f"{record}:{field.name}",
            question=asked(field),
            images=tuple(pictures.find(name) for name in shown),
            answer_type=_TYPES.get(field.kind, "open"),
            gold=_gold(cells, field),
            options=field.options if field.kind == "choice" else (),
            kind=field.name,
            group=text(cells.get("group")) or shown[0],
            split=known_split(text(cells.get("split")) or row.split, DataError),
            form=told,
            field=field.name,
        )

    def define(kept: Sequence[Question]) -> str:
        records = len({q.id.removesuffix(f":{q.field}") for q in kept})
        told = f"a form of {len(form)} fields about each of {records} records"
        return f"{told}, one question a field: {counted(kept)}"

    return Source("extraction", path, pictures, split, defects).questions(make, define, rows=rows())


def asked(field: FormField) -> str:
    """A field as a question of its own.

    Example:
        >>> asked(FormField("lesion.size", "number", about="largest diameter", unit="cm"))
        'What is "lesion size" here (largest diameter), in cm?'
    """
    about = f" ({field.about})" if field.about else ""
    name = field.name.replace(".", " ").replace("_", " ")
    if field.kind == "yes_no":
        return f'Does "{name}" hold here{about}?'
    return f'What is "{name}" here{about}{f", in {field.unit}" if field.unit else ""}?'


def _schema(path: Path, name: str) -> Mapping[str, Any]:
    beside = path.parent / name
    file = beside if beside.is_file() else Path(name).expanduser()
    if not file.is_file():
        raise DataError(f'{file}: no such file; name the JSON schema of the form with schema="..."')
    found = read_json(file)
    if not isinstance(found, Mapping):
        raise DataError(f"{file}: expected a JSON schema of an object")
    return found


def _require_columns(row: Row, names: set[str], ignore: Sequence[str]) -> None:
    known = {*_OWN, *names, *(name.partition(".")[0] for name in names), *ignore}
    unknown = [c for c in row.cells if c not in known]
    if "image" not in row.cells:
        raise WholeFileError(f'no column "image"; {nearest("image", row.cells)}')
    if unknown:
        raise WholeFileError(
            f'column "{unknown[0]}" is no field of the form; {nearest(unknown[0], [*names, *_OWN])} Or pass '
            f'ignore=["{unknown[0]}"]'
        )


def _gold(cells: Mapping[str, Any], field: FormField) -> tuple[str, ...]:
    value = cells.get(field.name)
    if value is None and "." in field.name:
        value = cells
        for part in field.name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, (list, dict)) and not text(value):
        return ()
    if field.kind == "list" and isinstance(value, str):
        value = listed(value)
    spelled = field.spelled(value)
    if spelled is None:
        wanted = (
            f"one of {list(field.options)}" if field.options else f"a value of kind {field.kind}"
        )
        raise DataError(f'"{field.name}": expected {wanted}, got {value!r}')
    return (spelled,)
