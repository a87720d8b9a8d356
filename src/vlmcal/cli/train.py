"""``vlmcal train``: own data in one step, without a file."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress, note
from vlmcal.cli.multi_label import MultiLabelOptions
from vlmcal.cli.option_groups import arg, opt, result
from vlmcal.cli.reports import Results
from vlmcal.cli.train_findings import train_each_finding


@dataclass(frozen=True)
class Recipe:
    """What is tuned, and how; an option group."""

    method: Annotated[str, opt("NAME or NAME(OPTION=VALUE, ...); see `vlmcal list methods`.")] = (
        "coop"
    )
    objective: Annotated[
        str | None, opt('Sum with plus signs, such as own+tcpt; "own" is the method\'s own.')
    ] = None
    backbone: arguments.Backbone = "pocket"
    scores: Annotated[
        str | None, opt("Of models trained on pairs (SigLIP): softmax over classes, or sigmoid.")
    ] = None
    encode_precision: Annotated[
        str | None, opt("Of encoding images once: off, tf32, bfloat16 or float16.")
    ] = None
    protocol: Annotated[
        str,
        opt(
            "all-class, base-to-new, nested, by-group, cross-dataset, domain-generalisation or "
            "test-as-val."
        ),
    ] = "all-class"
    target: Annotated[
        list[str] | None,
        arguments.several("Data sets to test on, of cross-dataset and domain-generalisation."),
    ] = None
    shots: Annotated[int, opt("Training images per class.")] = 16
    seed: Annotated[str, opt("A seed, or a range such as 1..3.")] = "1"
    epochs: Annotated[int | None, opt("Passes over the training images.")] = None
    views: Annotated[
        str | None,
        opt(
            "Views per image: 1 (centre crop), a number of random crops, or epochs (as published)."
        ),
    ] = None
    calibration: Annotated[
        str, opt("Rows to calibrate on: all held-out ones, few (4 a class), cross-fit or none.")
    ] = "all"
    precision: Annotated[str | None, opt("Of the towers: off, tf32, bfloat16 or float16.")] = None
    template: Annotated[str | None, opt('Zero-shot prompt, for example "a photo of a {}."')] = None

    def spec(self, *data: dict[str, Any]) -> dict[str, Any]:
        """The experiment of this recipe beside zero-shot, as :func:`vlmcal.run` takes it.

        Args:
            *data: The data sets, as in an experiment file.

        Example:
            >>> Recipe(objective="own+tcpt", seed="3", epochs=9).spec({"path": "photos"})["train"]
            {'epochs': 9}
        """
        from vlmcal.experiment.findings import ZERO_SHOT
        from vlmcal.options import split

        options: dict[str, Any] = {"protocol": self.protocol, "calibration": self.calibration}
        if self.target:
            options["targets"] = list(self.target)
        if self.template is not None:
            options["templates"] = [self.template]
        variant = {"scores": self.scores, "encode_precision": self.encode_precision}
        recipe: dict[str, Any] = {"epochs": self.epochs, "precision": self.precision}
        if self.views is not None:
            recipe["views"] = _whole(self.views)
        found: dict[str, Any] = {
            "data": [{**each, **options} for each in data],
            "backbone": _with_options(self.backbone, **variant),
            "method": list(dict.fromkeys([ZERO_SHOT, self.method])),
            "shots": self.shots,
            "seed": _whole(self.seed),
            "train": {key: value for key, value in recipe.items() if value is not None},
        }
        if self.objective is not None:
            found["objective"] = [split(self.objective, at="+")]
        return found


def _whole(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def train(
    data: Annotated[str, arg("Folder of class folders, CSV manifest, NPZ, or name.")],
    *,
    root: arguments.ImageRoot = None,
    option: arguments.DataOptions = None,
    recipe: Recipe,
    multi: MultiLabelOptions,
    unchecked: arguments.Unchecked = False,
    store: Annotated[Path, result("Folder for results.")] = Path("runs"),
    device: arguments.Device = "cpu",
    compile_: arguments.Compile = False,
    results: Results,
) -> None:
    """Prompt-tune on your own images, calibrate on held-out ones, and measure, beside zero-shot."""
    from vlmcal.cli.run import execute
    from vlmcal.data.base import as_spec
    from vlmcal.data.protocols import WITHOUT_HELD_OUT
    from vlmcal.experiment.findings import ZERO_SHOT
    from vlmcal.experiment.plan import plan
    from vlmcal.experiment.spec import parse_spec

    given = arguments.data_options(root, option)
    if multi.multi_label:
        bench: dict[str, Any] = {"device": device, "compile_": compile_, "unchecked": unchecked}
        train_each_finding(data, multi, recipe.spec, given, store, results, **bench)
        return
    source = as_spec(data, given)
    alone, raw = recipe.method == ZERO_SHOT, recipe.calibration == "none"
    held_out = recipe.calibration not in WITHOUT_HELD_OUT and recipe.protocol != "test-as-val"
    sound = partial(_require_sound, source, 1 if alone else recipe.shots, held_out)
    spec = parse_spec(recipe.spec(source), "train")
    runs = execute(
        spec,
        store=store,
        device=device,
        compile_=compile_,
        results=results,
        title=f"{recipe.method} on {data}",
        check=None if unchecked or recipe.protocol == "by-group" else sound,
        unchecked=unchecked,
    )
    if any(cell.adaptation() for cell in plan(spec)):
        return  # it leaves no fixed classifier
    for run in runs if alone else runs[1:]:
        how = " --calibrator none" if raw else ""
        typer.echo(f"predict with: vlmcal predict {quote(str(store / 'runs' / run))} IMAGE...{how}")


def _require_sound(source: dict[str, Any], shots: int, held_out: bool) -> None:
    """Refuse data in which ``vlmcal data check`` finds an error, and say its warnings."""
    from vlmcal.data.audit import audit_source
    from vlmcal.data.sound import refuse_errors

    with Progress() as progress:
        reading = progress.counting("reading images")
        report = audit_source(source, shots=shots, held_out=held_out, progress=reading)
    with arguments.told_in_options():
        refuse_errors(report)
    for problem in report.warnings:
        note(f"note: data: {problem.message}")


def _with_options(backbone: str, **options: str | None) -> str:
    """A backbone's name with options behind it, as :mod:`vlmcal.backbones.variants` reads them."""
    given = ", ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"{backbone}({given})" if given else backbone
