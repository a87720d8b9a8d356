"""How results are judged: the clinical table, conditions that fail a run, rows for a narrower interval."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import ge, gt, le, lt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import opt
from vlmcal.errors import DataError, SpecError, nearest, require_known

if TYPE_CHECKING:
    from vlmcal.io.predictions import Rows
    from vlmcal.metrics import Evaluation
    from vlmcal.metrics.clinical.summary import ClinicalSummary
    from vlmcal.types.confidences import Confidences
    from vlmcal.types.predictions import Predictions

CLINICAL = "clinical"
_CONDITION = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*")


@dataclass(frozen=True)
class Judging:
    """Options of ``vlmcal evaluate`` on what the numbers are for."""

    preset: Annotated[str | None, opt("clinical, or a preset of metrics.")] = None
    threshold: Annotated[
        str | None,
        opt(
            "Of decisions: a probability (default 0.5); or youden, sensitivity=X, specificity=X with "
            "--validation."
        ),
    ] = None
    validation: Annotated[Path | None, opt("Other rows, on which a rule chooses it.")] = None
    fail_if: Annotated[
        list[str] | None, arguments.several('Exit with 1 if so, such as "ece>0.05" (fractions).')
    ] = None
    width: Annotated[float | None, opt("Say how many rows intervals this wide need.")] = None

    @property
    def clinical(self) -> bool:
        """Whether the clinical table is wanted."""
        return self.preset == CLINICAL

    def chosen_metrics(self, metrics: list[str] | None) -> str | list[str]:
        """The metrics of the preset, or those named, with those that conditions need.

        Raises:
            SpecError: Unknown names, or a preset beside names.
        """
        from vlmcal.metrics import PRESETS
        from vlmcal.metrics.presets import metric_names, with_options

        self.conditions()
        if self.preset is not None:
            require_known(self.preset, [CLINICAL, *PRESETS], "--preset: no preset")
        if self.preset in PRESETS:
            if metrics is not None:
                raise SpecError("--preset and --metrics both name metrics; give one of them")
            metrics = [str(self.preset)]
        chosen = arguments.chosen_metrics(metrics)
        needed = [name for name, _, _ in self.conditions() if not name.startswith("clinical.")]
        listed = metric_names(chosen)[0]
        missing = set(needed) - set(with_options(listed, {})[0])
        if not missing:
            return chosen
        arguments.chosen_metrics(needed)
        return listed + [name for name in dict.fromkeys(needed) if name in missing]

    def only_conditions(self, metrics: list[str] | None) -> None:
        """Refuse, for findings that do not exclude each other, whatever would be passed over.

        Raises:
            SpecError: Options that are not for them.
        """
        given = {
            "preset": self.preset, "threshold": self.threshold, "validation": self.validation,
            "width": self.width, "metrics": metrics,
        }  # fmt: skip
        for name, value in given.items():
            if value is not None:
                raise SpecError(
                    f"--{name} is not for --multi-label; each finding has the same measures"
                )
        self.conditions()

    def conditions(self) -> list[tuple[str, str, float]]:
        """Name, comparison and limit of each condition.

        Raises:
            SpecError: Not written so.

        Example:
            >>> Judging(fail_if=["ece > 0.05"]).conditions()
            [('ece', '>', 0.05)]
        """
        found = []
        for text in self.fail_if or ():
            match = _CONDITION.fullmatch(text)
            try:
                limit = float(match[3]) if match else float("nan")
            except ValueError:
                match = None
            if match is None:
                raise SpecError(
                    f'--fail-if: expected METRIC>NUMBER such as "ece>0.05", got "{text}"'
                )
            found.append((match[1], match[2], limit))
        return found

    def summary(
        self,
        data: "Predictions | Confidences",
        reading: Reading,
        level: float,
        rows: "Rows",
        show: Callable[[str], None] = typer.echo,
    ) -> "ClinicalSummary | None":
        """The clinical measures, where they are wanted.

        Raises:
            DataError: One confidence per row.
            SpecError: A threshold that is none, or a rule without rows to choose on.
        """
        from vlmcal.metrics.clinical.summary import clinical_summary
        from vlmcal.types.predictions import Predictions

        if not self.clinical:
            if self.threshold is not None or self.validation is not None:
                raise SpecError("--threshold and --validation belong to --preset clinical")
            return None
        if not isinstance(data, Predictions):
            raise DataError(
                "--preset clinical needs the probability of each class, not one confidence"
            )
        threshold = self._threshold(data, reading, show)
        return clinical_summary(
            data, threshold=threshold, level=level, strata=rows.strata, weights=rows.weights
        )

    def _threshold(
        self, data: "Predictions", reading: Reading, show: Callable[[str], None]
    ) -> float:
        from vlmcal.metrics.clinical.decisions import choose_threshold
        from vlmcal.metrics.clinical.risks import Risks, positive_class

        said = self.threshold or "0.5"
        try:
            value = float(said)
        except ValueError:
            if self.validation is None:
                raise SpecError(
                    f"--threshold {said}: a rule chooses on other rows than those that are measured; name "
                    "them with --validation FILE, or give a number"
                ) from None
            if data.n_classes != 2:
                raise SpecError("--threshold: a rule needs two classes") from None
            plain = replace(reading, group=None, ids=None)
            known = data.class_names
            rows = plain.load(self.validation, "val", known_classes=known, show=show)
            value = choose_threshold(Risks.of_class(rows, positive_class(rows)), said)
            show(f"threshold {value:.4g} ({said} on {self.validation.name})\n")
        if not 0 < value < 1:
            raise SpecError(f"--threshold: expected a probability between 0 and 1, got {said}")
        return value

    def show_rows(self, result: "Evaluation", show: Callable[[str], None] = typer.echo) -> None:
        """Print how many rows intervals of the wanted width need."""
        from vlmcal.metrics.clinical.sample_size import rows_for_width
        from vlmcal.report.display import metric_name

        if self.width is None:
            return
        for name, estimate in result.estimates.items():
            rows = rows_for_width(estimate, self.width)
            if rows is not None:
                unit = f"about {rows:,} rows for an interval {self.width:g} wide"
                show(f"{metric_name(name)}: {unit} ({estimate.n:,} rows here)")

    def finish(self, result: "Evaluation") -> None:
        """End with exit code 1 if a condition holds, saying which.

        Raises:
            SpecError: A condition on what was not measured.
        """
        holds = {">": gt, "<": lt, ">=": ge, "<=": le}
        failed = []
        for name, sign, limit in self.conditions():
            if name not in result.estimates:
                raise SpecError(
                    f'--fail-if: "{name}" is not measured; {nearest(name, result.estimates)}'
                )
            value = result.estimates[name].value
            # An undefined value is no evidence that a limit is kept.
            if value != value or holds[sign](value, limit):
                failed.append(f"{name} = {value:.4g} ({sign} {limit:g})")
        if failed:
            typer.echo(f"failed: {'; '.join(failed)}", err=True)
            raise typer.Exit(1)
