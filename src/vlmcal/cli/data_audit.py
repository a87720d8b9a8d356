"""What ``vlmcal data audit`` does: look at images or questions, and say what was found."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress, command_line, note
from vlmcal.cli.reports import Reports
from vlmcal.errors import DataError

if TYPE_CHECKING:
    from vlmcal.data.problems import Report
    from vlmcal.types.dataset import Dataset


class Audit(NamedTuple):
    """What was found, and the data that it was found in where these are images."""

    report: "Report"
    data: "Dataset | None" = None


def audit_questions_at(data: str) -> Audit | None:
    """The audit of a file or folder of questions; None where it is none."""
    from vlmcal.data.question_checks import audit_questions
    from vlmcal.data.vqa.base import load_questions
    from vlmcal.data.vqa.layouts import layout_of

    path = Path(data).expanduser()
    tables = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".gz")
    held = path.is_dir() and any(p.suffix.lower() in tables[:5] for p in path.iterdir())
    if not (held or (path.is_file() and path.suffix.lower() in tables)):
        return None
    try:
        layout = layout_of(path)
    except DataError:
        return None
    found = load_questions({"name": layout, "path": path}, check_images=False)
    return Audit(audit_questions(found))


def audit_images(source: dict[str, Any], backbone: str | None, device: str) -> Audit:
    """The audit of images, thorough; with the features of a backbone if one is named."""
    from vlmcal.data.audit import audit_source
    from vlmcal.io.cache_dir import default_cache_dir

    seen: list[Dataset] = []
    progress = Progress()

    def features(dataset: "Dataset") -> Any:
        from vlmcal.backbones import load_backbone
        from vlmcal.backbones.cache import image_features

        encoder = load_backbone(str(backbone), device=device)
        made = image_features(encoder, dataset, progress=progress.counting("encoding images"))
        return made.image_features[:, 0]

    report = audit_source(
        source,
        names_alone=True,
        thorough=True,
        features=features if backbone else None,
        cache_dir=default_cache_dir(),
        progress=progress.counting("reading images"),
        keep=seen.append,
    )
    progress.clear()
    return Audit(report, seen[-1] if seen else None)


def tell(found: Audit, results: Reports) -> None:
    """Print what was found, and write the page and the numbers."""
    report = found.report
    results.show(arguments.with_options(report.to_text()))
    for line in report.overview:
        results.show(line)
    if results.page is not None:
        from vlmcal.report.pages.data_audit import audit_page

        audit_page(report, found.data, command=command_line()).write(results.page)
        note(f"report: {results.page}")
    problems = [
        {"severity": p.severity, "kind": p.kind, "message": p.message, "items": p.items}
        for p in report.problems
    ]
    about = {"name": report.name, "images": report.n_images, "overview": report.overview}
    results.write_numbers({**about, "problems": problems})
