"""``vlmcal findings``: findings in images, each with a probability, without any training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress
from vlmcal.cli.multi_label import tell_findings
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.reports import Reports
from vlmcal.errors import SpecError, require_known

if TYPE_CHECKING:
    from vlmcal.data.finding_images import FindingImages
    from vlmcal.types.multi_label import MultiLabel

_EXAMPLE = '--findings "Edema,Pleural Effusion"'


@dataclass(frozen=True)
class Truths:
    """Where the truths of findings in images stand, and what they mean; an option group."""

    findings: Annotated[
        list[str] | None, arguments.several("Names of the findings; default: those of the table.")
    ] = None
    uncertain: Annotated[str | None, opt("What -1 means: ignore, positive or negative.")] = None
    blank: Annotated[str | None, opt("What an empty truth means: ignore or negative.")] = None
    root: arguments.ImageRoot = None
    option: Annotated[
        list[str] | None,
        opt("KEY=VALUE of the table, such as image=COLUMN, labels=COLUMN or group=COLUMN."),
    ] = None

    def read(self, table: Path) -> "FindingImages":
        """The images of a table.

        Raises:
            SpecError: An option that there is not.
            DataError: As :func:`vlmcal.data.finding_images.read_finding_images`.
        """
        from vlmcal.data.finding_images import read_finding_images
        from vlmcal.options import call

        options = {
            **arguments.data_options(self.root, self.option),
            "findings": self.findings or (),
            "uncertain": self.uncertain,
            "blank": self.blank,
            "labels_needed": False,
        }
        with arguments.told_in_options():
            return call(read_finding_images, "table of findings", options, table)

    def of_images(self, images: list[Path]) -> "FindingImages":
        """Images without truths.

        Raises:
            SpecError: It is not said which findings.
            DataError: A path does not exist.
        """
        import numpy as np

        from vlmcal.data.finding_images import FindingImages
        from vlmcal.io.image_files import find_images
        from vlmcal.types.dataset import Dataset

        if not self.findings:
            raise SpecError(f"say which findings to look for: {_EXAMPLE}")
        if self.uncertain or self.blank or self.option:
            raise SpecError("--uncertain, --blank and --option are of a table with truths")
        paths = find_images(images)
        dataset = Dataset(
            name="images",
            images=paths,
            labels=np.zeros(len(paths), dtype=np.int64),
            splits=np.full(len(paths), "unknown"),
            class_names=("image",),
            ids=np.array([str(path) for path in paths]),
        )
        return FindingImages(dataset, tuple(self.findings), None, "no truths")


@dataclass(frozen=True)
class Sentences:
    """How a probability is read off a dual encoder; an option group."""

    template: Annotated[str, opt('Says that a finding is there, "a chest X-ray with {}."')] = "{}"
    negative: Annotated[str | None, opt('Says that it is not; default "no {}".')] = None
    scores: Annotated[
        str, opt("softmax over the two sentences, or sigmoid with the bias of a SigLIP.")
    ] = "softmax"

    def options(self) -> dict[str, Any]:
        """As :func:`vlmcal.findings.zero_shot.score_findings` takes them.

        Raises:
            SpecError: Another read-out, or a negative sentence that it does not use.
        """
        from vlmcal.findings.zero_shot import NEGATIVE

        require_known(self.scores, ("softmax", "sigmoid"), "--scores: no read-out")
        if self.scores == "sigmoid":
            if self.negative is not None:
                raise SpecError("--negative is for --scores softmax; sigmoid reads one sentence")
            return {"template": self.template, "negative": None}
        return {"template": self.template, "negative": self.negative or NEGATIVE}


def findings(
    data: Annotated[
        list[Path], arg("A table of images and their findings, or image files and folders.")
    ],
    *,
    truths: Truths,
    backbone: arguments.Backbone = "pocket",
    sentences: Sentences,
    split: Annotated[str | None, opt("Rows of one split only: val, test, ...")] = None,
    output: Annotated[Path, written("A table (.csv), or a folder for one per split.")],
    level: arguments.Level = 0.95,
    resamples: arguments.Resamples = 300,
    seed: arguments.Seed = 0,
    device: arguments.Device = "cpu",
    reports: Reports,
) -> None:
    """Zero-shot probability of each of several findings, which do not exclude each other."""
    from vlmcal.backbones import load_backbone
    from vlmcal.findings.zero_shot import score_findings
    from vlmcal.io.table_files import ENDINGS
    from vlmcal.metrics.multi_label import evaluate_multi_label
    from vlmcal.training.parallel import require_device

    arguments.require_drawing(level, resamples)
    reports.require()
    options = sentences.options()
    table = len(data) == 1 and data[0].name.lower().removesuffix(".gz").endswith((*ENDINGS, ".npz"))
    images = truths.read(data[0]) if table else truths.of_images(data)
    targets = _targets(output, set(images.dataset.splits.tolist()), split)
    require_device(device)
    _say(images, reports)
    encoder = load_backbone(backbone, device=device)
    with Progress() as progress:
        scored = score_findings(encoder, images, **options, progress=progress.encoding())
    reports.show(f"probabilities: {_read_out(next(iter(scored.values())))}\n")
    measured = scored.get("test") if split is None else scored[split]
    if measured is not None and measured.labelled:
        result = evaluate_multi_label(measured, level=level, resamples=resamples, seed=seed)
        title = f"Zero-shot findings of {images.dataset.name}, {measured.split}"
        tell_findings(
            measured, result, reports, title, {"file": str(data[0]), **measured.provenance}
        )
    else:
        reports.require_none()
    _save(scored, targets, reports)


def _targets(output: Path, splits: set[str], asked: str | None) -> dict[str, Path]:
    """The file of each split that is written."""
    from vlmcal.io.multi_label_output import ENDINGS

    if asked is not None:
        require_known(asked, splits, "--split: no rows of")
    wanted = [asked] if asked is not None else sorted(splits)
    if not output.suffix and not output.is_file():
        return {name: output / f"{name}.csv" for name in wanted}
    arguments.require_output(output, ENDINGS)
    if len(wanted) > 1:
        raise SpecError(
            f"-o {output}: the rows are of the splits {', '.join(wanted)}; name one with --split, or a "
            "folder that gets a file for each"
        )
    return {wanted[0]: output}


def _say(images: "FindingImages", reports: Reports) -> None:
    rows = images.dataset
    count = {name: int((rows.splits == name).sum()) for name in dict.fromkeys(rows.splits.tolist())}
    sizes = ", ".join(f"{n:,} {name}" for name, n in count.items())
    reports.show(f"reading {rows.name}: {len(rows):,} images ({sizes})")
    reports.show(f"  findings {len(images.names)}: {', '.join(images.names)}")
    reports.show(f"  {images.rule}")
    for remark in rows.remarks:
        reports.show(f"  note: {arguments.with_options(remark)}")


def _read_out(rows: "MultiLabel") -> str:
    about = rows.provenance
    pair = [about["template"], *filter(None, [about["negative"]])]
    return f"{about['read-out']}: " + " against ".join(f'"{text}"' for text in pair)


def _save(scored: "Mapping[str, MultiLabel]", targets: dict[str, Path], reports: Reports) -> None:
    from vlmcal.io.multi_label_output import save_multi_label

    for name, path in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_multi_label(scored[name], path)
        reports.show(f"saved: {path} ({len(scored[name]):,} rows)")
    if {"val", "test"} <= targets.keys() and scored["val"].labelled:
        words = f"{quote(str(targets['val']))} {quote(str(targets['test']))}"
        reports.show(
            f"calibrate with: vlmcal calibrate compare {words} --multi-label --blank ignore"
        )
