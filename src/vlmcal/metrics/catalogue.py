"""All metrics as a Markdown table, for the manual and the command line."""

from vlmcal.metrics.base import METRICS, Metric, definition_of

_INPUT = {
    "confidences": "confidence, correct",
    "probabilities": "class probabilities, labels",
    "labels": "predicted, labels",
    "features": "features or logits",
    "sets": "label sets, labels",
}
_BETTER = {True: "higher", False: "lower", None: "-"}


def catalogue() -> str:
    """One line per metric: name, input, direction, definition, interval, source.

    Example:
        >>> catalogue().splitlines()[0]
        '| name | from | better | definition | interval | source |'
    """
    lines = [
        "| name | from | better | definition | interval | source |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(entry) for _, entry in METRICS.items())])


def _line(entry: Metric) -> str:
    cells = (
        f"`{entry.name}`",
        _INPUT[entry.consumes],
        _BETTER[entry.higher_is_better],
        definition_of(entry, {}),
        entry.interval or "none",
        entry.reference,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
