"""How each metric is called and formatted wherever it is shown."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from vlmcal.metrics.base import METRICS
from vlmcal.report.cells import Column

# Names as the field writes them; anything else is shown by its registry name.
NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "ace": "ACE",
    "mce": "MCE",
    "classwise_ece": "classwise ECE",
    "smooth_ece": "smooth ECE",
    "thresholded_classwise_ece": "thresholded classwise ECE",
    "max_bin_contribution": "largest bin contribution",
    "adaptive_ece": "adaptive ECE",
    "top_label_brier": "top-label Brier",
    "top_label_nll": "top-label NLL",
    "fpr_at_95_tpr": "FPR at 95 % TPR",
    "brier": "Brier",
    "nll": "NLL",
    "auroc": "AUROC (confidence)",
    "auprc": "AUPRC",
    "auprc_correct": "AUPRC of right",
    "auprc_error": "AUPRC of wrong",
    "coverage_at_accuracy": "coverage at 95 % accuracy",
    "aurc": "AURC",
    "e_aurc": "excess AURC",
    "ks": "KS error",
    "piece": "PIECE",
    "skce": "SKCE",
}
# Small by nature: in percent they would be 0.
SMALL = {"smallest_singular_value": 7}
# Metrics that reproduce somebody's evaluator, quirks included.
EVALUATORS = {"tcpt_": "TCPT", "dac_": "DAC", "ctpt_": "C-TPT"}


def under(like: Column, title: str) -> Column:
    """A column of another title, in the format and under the heading of ``like``."""
    return replace(like, title=title, group=like.title)


def metric_name(name: str) -> str:
    """The name of a metric for readers.

    Example:
        >>> metric_name("e_aurc"), metric_name("overconfidence_error"), metric_name("tcpt_ece")
        ('excess AURC', 'overconfidence error', 'ECE (TCPT)')
    """
    for prefix, evaluator in EVALUATORS.items():
        if name.startswith(prefix):
            return f"{metric_name(name.removeprefix(prefix))} ({evaluator})"
    return NAMES.get(name) or re.sub(r"_+", " ", name).strip()


def metric_column(name: str, *, group: str = "", better: bool = True) -> Column:
    """Column of a metric: unit and direction come from its registration.

    A metric between 0 and 1 is shown in percent, any other as it is with three digits.

    Args:
        name: Registry name; an unregistered name is shown without unit or direction.
        group: Heading shared with neighbours.
        better: Mark the best value.

    Example:
        >>> metric_column("ece").label, metric_column("nll").label
        ('ECE % ↓', 'NLL ↓')
    """
    if name not in METRICS:
        return Column(metric_name(name), group=group, digits=3)
    entry = METRICS.get(name)
    percent = in_percent(name)
    direction = {True: "higher", False: "lower", None: None}[entry.higher_is_better]
    return Column(
        metric_name(name),
        group=group,
        percent=percent,
        digits=1 if percent else SMALL.get(name, 3),
        better=direction if better else None,  # type: ignore[arg-type]
    )


def in_percent(name: str) -> bool:
    """Whether a metric is a share, to be shown in percent.

    Example:
        >>> in_percent("ece"), in_percent("nll")
        (True, False)
    """
    if name not in METRICS or name in SMALL:
        return False
    low, high = METRICS.get(name).bounds
    return low >= -1 and high <= 1


def named_definitions(
    definitions: Mapping[str, str], shown: Iterable[str] | None = None
) -> dict[str, str]:
    """Definitions by reader's name, in the order of ``shown`` (all of them if None).

    Example:
        >>> named_definitions({"ece": "Sum over bins."})
        {'ECE': 'Sum over bins.'}
    """
    names = definitions if shown is None else [name for name in shown if name in definitions]
    return {metric_name(name): definitions[name] for name in names}
