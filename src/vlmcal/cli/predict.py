"""``vlmcal predict``: calibrated confidence for images, also for class names the run never saw."""

import csv
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress, note
from vlmcal.cli.option_groups import arg, opt, result, written
from vlmcal.cli.train_findings import predict_findings
from vlmcal.errors import DataError, SpecError
from vlmcal.types.shown import plural

if TYPE_CHECKING:
    from vlmcal.api import Classifier
    from vlmcal.conformal.base import ConformalPredictor

    Sets = Callable[[Any], Any]

SIGNAL = "mutual_information"  # of models that average over draws

Rows = Annotated[
    Path | None,
    written("Table with the probability of every class: .csv, .jsonl, ...; - is standard output."),
]
ShownAs = Annotated[
    list[str] | None, opt("window=, frame=, plane= of medical images; default: as in training.")
]


def predict(
    run: arguments.RunPlace,
    images: Annotated[list[Path], arg("Image files, or folders of images at any depth.")],
    classes: Annotated[
        list[str] | None, opt("Other class names. With commas, or repeated.")
    ] = None,
    calibrator: Annotated[
        str, opt('Fitted on the held-out rows of the run; "none" for raw confidence.')
    ] = "temperature",
    unchecked: Annotated[
        bool, opt("Use it even where cross-validation says that it hurts.")
    ] = False,
    conformal: Annotated[
        str | None, opt("Label sets of a conformal method, such as lac or aps.")
    ] = None,
    alpha: Annotated[float, opt("Share of sets that may miss the right class.")] = 0.1,
    defer_below: Annotated[
        float | None, opt("Flag images whose confidence is lower, for a person.")
    ] = None,
    top: Annotated[int, opt("Classes to show per image.")] = 3,
    output: Rows = None,
    json_file: Annotated[
        Path | None, result("One JSON object per line; - is standard output.", "--json")
    ] = None,
    option: ShownAs = None,
    store: arguments.RunStore = "runs",
    device: arguments.Device = "cpu",
) -> None:
    """Classify images with a trained run; confidence is calibrated on the run's held-out split."""
    from vlmcal.experiment.remote_store import run_folder
    from vlmcal.training.parallel import require_device

    folder = run_folder(run, store)
    others = (classes, conformal, defer_below, json_file)
    if predict_findings(folder, images, calibrator, output, device, others):
        return
    _check(top, defer_below, output, json_file, images)
    names = _names(classes)
    require_device(device)
    model = _loaded(folder, calibrator, device, unchecked)
    with arguments.notes():
        predictor = None if conformal is None else _fitted(model, conformal, alpha)
    if names is not None:
        model = model.for_classes(names)
    records = _records(model, _images(model, images, option), predictor, defer_below)
    count = 0
    with arguments.notes(), _rows_to(output) as table, _lines_to(json_file, top) as lines:
        for record in records:
            table(record)
            lines(record)
            if output is None and json_file != Path("-"):
                typer.echo(_line(record, top))
            count += 1
    for file in (output, json_file):
        if file is not None and file != Path("-"):
            note(f"{plural(count, 'image')}: {file}")


def _images(model: "Classifier", paths: list[Path], option: list[str] | None) -> list[Any]:
    """The images, shown as those of the run's data were, or as the command line says."""
    from vlmcal.data.frames import as_shown
    from vlmcal.io.image_files import find_images
    from vlmcal.options import check

    told = check(as_shown, arguments.data_options(None, option), "--option")
    return as_shown(find_images(paths), **{**model.shown, **told})


def _loaded(folder: Path, calibrator: str, device: str, unchecked: bool) -> "Classifier":
    from vlmcal.api import Classifier

    model = Classifier.load(folder, calibrator=calibrator, unchecked=unchecked, device=device)
    if model.reason:
        note(f"note: raw confidence, because {model.reason}; --unchecked uses it all the same")
    return model


def _check(
    top: int,
    defer_below: float | None,
    output: Path | None,
    json_file: Path | None,
    images: list[Path],
) -> None:
    if top < 1:
        raise SpecError(f"--top: expected at least 1, got {top}")
    if defer_below is not None and not 0 <= defer_below <= 1:
        raise SpecError(f"--defer-below: expected a confidence from 0 to 1, got {defer_below}")
    if output is not None:
        arguments.require_output(output, arguments.TABLES)
    if output == json_file == Path("-"):
        raise SpecError("only one of the results can go to standard output")


def _names(classes: list[str] | None) -> list[str] | None:
    from vlmcal.options import names, split

    if not classes:
        return None
    given = [part for text in classes for part in split(text)]
    found = names(given)
    if not found or len(found) < len(given):
        raise SpecError(f"--classes: expected distinct names, got {','.join(classes)!r}")
    return found


def _fitted(model: "Classifier", method: str, alpha: float) -> "ConformalPredictor":
    """A conformal method on the raw scores of the run's held-out rows."""
    from vlmcal.conformal.quantile import too_few
    from vlmcal.experiment.evaluate import conformal_from

    name, predictor = conformal_from(method)
    if not 0 < alpha < 1:
        raise SpecError(f"--alpha: expected a number between 0 and 1, got {alpha}")
    if predictor.name == "lata":  # refines the rows of a whole test set by each other
        raise SpecError(
            f"--conformal {name}: reads all rows of a test set together; choose another method"
        )
    rows = model.held_out()
    if reason := too_few(len(rows), alpha):
        raise DataError(f"--conformal {name}: {reason}")
    predictor.fit(rows, alpha)
    return predictor


def _records(
    model: "Classifier",
    paths: Sequence[Any],
    predictor: "ConformalPredictor | None",
    defer_below: float | None,
) -> Iterator[dict[str, Any]]:
    """What is known of each image; images are read and forgotten batch by batch."""
    progress = Progress()
    count = progress.counting("predicting")
    names = model.class_names
    place = 0
    for raw in model.raw(paths):
        probabilities = model.calibrate(raw).probabilities()
        with warnings.catch_warnings():
            # a batch is too small a sample to judge how classes are spread
            warnings.filterwarnings("ignore", ".*are spread otherwise than")
            sets = None if predictor is None else predictor.predict(raw).sets
        progress.clear()
        for i, row in enumerate(probabilities):
            best = int(row.argmax())
            record: dict[str, Any] = {
                "image": str(paths[place]),
                "label": names[best],
                "confidence": round(float(row[best]), 6),
                "calibrated": model.calibrated,
                "probabilities": {n: round(float(p), 6) for n, p in zip(names, row, strict=True)},
            }
            if SIGNAL in raw.extras:
                record[SIGNAL] = round(float(raw.extras[SIGNAL][i]), 6)
            if sets is not None:
                record["set"] = [n for n, inside in zip(names, sets[i], strict=True) if inside]
            if defer_below is not None:
                record["defer"] = bool(row[best] < defer_below)
            place += 1
            yield record
        count(place, len(paths))
    progress.clear()


def _best(record: dict[str, Any], top: int) -> list[tuple[str, float]]:
    return sorted(record["probabilities"].items(), key=lambda pair: -pair[1])[:top]


def _line(record: dict[str, Any], top: int) -> str:
    others = ", ".join(f"{name} {p:.3f}" for name, p in _best(record, top)[1:])
    line = f"{record['image']}: {record['label']} {record['confidence']:.3f}"
    line += f" ({others})" if others else ""
    line += f" set: {{{', '.join(record['set'])}}}" if "set" in record else ""
    return line + (" defer" if record.get("defer") else "")


@contextmanager
def _lines_to(path: Path | None, top: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A JSON object for each record, with its likeliest classes; a file appears when all are in it."""
    from vlmcal.io.atomic import atomic_file

    if path is None:
        yield lambda record: None
    elif path == Path("-"):
        yield _json_lines(sys.stdout, top)
    else:
        with atomic_file(path) as stream:
            yield _json_lines(stream, top)


@contextmanager
def _rows_to(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A row for each record; CSV and JSON lines are written one at a time, other tables at the end."""
    from vlmcal.io.atomic import atomic_file, is_stream
    from vlmcal.io.table_output import write_table

    if path is None:
        yield lambda record: None
    elif is_stream(path) or path.suffix.lower() in (".csv", ".jsonl"):
        with atomic_file(path) as stream:
            yield _json_lines(stream, None) if path.suffix.lower() == ".jsonl" else _rows(stream)
    else:
        rows: list[dict[str, Any]] = []
        yield lambda record: rows.append(_row(record))
        write_table({name: [row[name] for row in rows] for name in rows[0]}, path)


def _json_lines(stream: TextIO, top: int | None) -> Callable[[dict[str, Any]], None]:
    def write(record: dict[str, Any]) -> None:
        shown = record if top is None else {**record, "probabilities": dict(_best(record, top))}
        stream.write(json.dumps(shown) + "\n")

    return write


def _rows(stream: TextIO) -> Callable[[dict[str, Any]], None]:
    """The columns of :func:`_row`, as CSV."""
    writer = csv.writer(stream)
    begun = False

    def write(record: dict[str, Any]) -> None:
        nonlocal begun
        row = _row(record)
        if not begun:
            writer.writerow(row)
            begun = True
        writer.writerow(row.values())

    return write


def _row(record: dict[str, Any]) -> dict[str, Any]:
    """Columns image, predicted, confidence, calibrated, what is known beside, and p_NAME of every class."""
    row = {"image": record["image"], "predicted": record["label"]}
    row |= {key: record[key] for key in ("confidence", "calibrated")}
    if SIGNAL in record:
        row[SIGNAL] = record[SIGNAL]
    if "set" in record:
        row["set"] = "|".join(record["set"])
    if "defer" in record:
        row["defer"] = record["defer"]
    return row | {f"p_{name}": p for name, p in record["probabilities"].items()}
