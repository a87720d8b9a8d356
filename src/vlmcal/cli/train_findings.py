"""``vlmcal train --multi-label`` and ``vlmcal predict`` of what it made: several findings in images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress, note
from vlmcal.cli.multi_label import MultiLabelOptions, tell_findings
from vlmcal.cli.reports import Reports, Results
from vlmcal.errors import SpecError

if TYPE_CHECKING:
    from vlmcal.cli.console import Progress
    from vlmcal.experiment.engines.base import CellResult
    from vlmcal.experiment.finding_runs import FindingRun


def train_each_finding(
    data: str,
    multi: MultiLabelOptions,
    recipe: Callable[..., Mapping[str, Any]],
    given: Mapping[str, Any],
    store: Path,
    results: Results,
    *,
    device: str,
    compile_: bool,
    unchecked: bool,
) -> None:
    """Train the method, beside zero-shot, for each finding of a table of images.

    Args:
        data: The table.
        multi: What uncertain and blank truths mean.
        recipe: The experiment on given data.
        given: Options of the table.
        store: Where runs go.
        results: Where the measurements of the method go.
        device: Torch device.
        compile_: Compile the backbone's blocks.
        unchecked: Train although the check of the data finds errors.
    """
    from vlmcal.data.base import as_spec
    from vlmcal.data.finding_images import read_finding_images
    from vlmcal.experiment.finding_runs import LOADER, finding_data, train_findings
    from vlmcal.experiment.run import Workbench
    from vlmcal.experiment.spec import parse_spec
    from vlmcal.experiment.store import Store
    from vlmcal.training.parallel import require_device

    results.require()
    require_device(device)
    rules = {k: v for k in ("uncertain", "blank") if (v := getattr(multi, k)) is not None}
    about = as_spec({"name": LOADER, "path": data}, {**given, **rules})
    options = {k: v for k, v in about.items() if k not in ("name", "path")}
    with arguments.told_in_options():
        images = read_finding_images(data, **options)
    results.show(f"{len(images.names)} findings: {', '.join(images.names)}; {images.rule}")
    spec = parse_spec(recipe(*finding_data(images, data, options)), "train")
    progress = Progress()
    bench = Workbench(
        device=device, progress=progress.encoding(), compile=compile_, unchecked=unchecked
    )
    named = spec.method[-1]
    last = named.partition("(")[0] if isinstance(named, str) else named["name"]
    made = train_findings(spec, Store(store), bench, _telling(progress))
    with arguments.notes():
        for found in list(made):
            progress.clear()
            _measure(found, data, results, last=found.method == last)


def _telling(progress: "Progress") -> "Callable[[CellResult], None]":
    told: set[str] = set()

    def tell(result: "CellResult") -> None:
        progress.clear()
        cell = result.cell
        who = f"{cell.data['finding']}: {cell.method['name']}"
        if result.run is None:
            reason = arguments.with_options(str(result.error))
            note(f"{who}: failed" + (" for the same reason" if reason in told else f"\n  {reason}"))
            told.add(reason)
        else:
            note(f"{who}: {'in the store' if result.reused else 'done'} ({result.run})")

    return tell


def _measure(found: "FindingRun", data: str, results: Results, *, last: bool) -> None:
    """Print what the test rows say; the page and the numbers are those of the method itself."""
    from vlmcal.metrics.multi_label import evaluate_multi_label

    rows = found.rows.get("test")
    if rows is not None and rows.labelled:
        results.show(f"\n{found.method}, test, not calibrated:")
        measured = evaluate_multi_label(rows, resamples=300)
        title = f"{found.method} on the findings of {Path(data).name}"
        reports = results if last else Reports()
        tell_findings(rows, measured, reports, title, {"data": data, **rows.provenance})
    files = [quote(str(found.folder / f"{name}.csv")) for name in found.rows]
    results.show(f"saved: {', '.join(files)}")
    known = all(each.known.all() for each in found.rows.values())
    words = " ".join([*files, "--multi-label", *([] if known else ["--blank ignore"])])
    if {"val", "test"} <= found.rows.keys():
        results.show(f"calibrate with: vlmcal calibrate compare {words}")
    results.show(f"predict with: vlmcal predict {quote(str(found.folder))} IMAGE... -o FILE.csv")


def predict_findings(
    folder: Path,
    images: list[Path],
    calibrator: str,
    output: Path | None,
    device: str,
    others: Sequence[object],
) -> bool:
    """``vlmcal predict`` of a folder of findings: a probability of each finding in each image.

    Args:
        folder: What was named.
        images: Files and folders.
        calibrator: For each finding, or "none".
        output: Table, or None to print.
        device: Torch device.
        others: Values of --classes, --conformal, --defer-below and --json, which must be None.

    Returns:
        Whether the folder is one of findings; else nothing was done.

    Raises:
        SpecError: One of the other options, or another ending.
    """
    if not (folder / "findings.json").is_file():
        return False
    from vlmcal.experiment.finding_runs import FindingClassifier
    from vlmcal.io.image_files import find_images
    from vlmcal.io.multi_label_output import ENDINGS, save_multi_label

    if any(value is not None for value in others):
        raise SpecError(
            "--classes, --conformal, --defer-below and --json are for classes that exclude each other, "
            "not for findings"
        )
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise SpecError(f"-o {output}: expected a name that ends in one of {', '.join(ENDINGS)}")
    with arguments.notes():
        model = FindingClassifier.load(folder, calibrator=calibrator, device=device)
        rows = model.predict(find_images(images))
    if output is not None:
        save_multi_label(rows, output)
        typer.echo(f"saved: {output} ({len(rows):,} rows)")
        return True
    for name, row in zip(rows.ids, rows.probabilities, strict=True):
        told = ", ".join(f"{f} {p:.3f}" for f, p in zip(rows.names, row, strict=True))
        typer.echo(f"{name}: {told}")
    return True
