"""``vlmcal expect``: rows without labels: what calibrated probabilities expect, also under other shares."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, written
from vlmcal.errors import SpecError, require_known

if TYPE_CHECKING:
    from vlmcal.types.arrays import FloatArray
    from vlmcal.types.predictions import Predictions

_SHOWN = 12
ASSUMPTION = (
    "True only if the probabilities are calibrated for these rows: calibrate them (vlmcal calibrate), and "
    "check on a labelled sample."
)
Shares = Annotated[
    list[str] | None,
    arguments.several('Shares of the classes here, "CLASS=SHARE"; or estimate.', "--to"),
]
OldShares = Annotated[
    list[str] | None,
    arguments.several("Shares that the probabilities were made for; default: equal.", "--from"),
]


def expect(
    rows: Annotated[Path, arg("Rows of scores; labels are not read.")],
    output: Annotated[Path | None, written("Rows under the new shares.")] = None,
    *,
    reading: Reading,
    old: OldShares = None,
    new: Shares = None,
) -> None:
    """Expected accuracy and confusion matrix of rows without labels, from calibrated probabilities.

    With --to, probabilities are first turned to other shares of the classes (label shift): stated, or
    estimated from these rows by expectation maximisation, which only calibrated probabilities allow.
    """
    from vlmcal.io.predictions import save_predictions
    from vlmcal.metrics.clinical.shift import estimated_prior, expected_performance, with_prior

    if output is not None:
        arguments.require_output(output, arguments.ROWS)
        if new is None:
            raise SpecError("--output holds rows under new shares; state them with --to")
    if old is not None and new is None:
        raise SpecError("--from belongs to --to")
    show = arguments.telling_beside(output)
    data = reading.load(rows, "test", labels_needed=reading.labels is not None, show=show)
    probabilities = data.probabilities()
    if new is not None:
        start = _shares(old, data, "--from")
        if new == ["estimate"]:
            shares = estimated_prior(probabilities, start)
            note(
                "note: shares estimated by expectation maximisation; from probabilities that are not "
                "calibrated they can be far off"
            )
            shares = (shares + 1e-12) / (shares + 1e-12).sum()
        else:
            shares = _shares(new, data, "--to")
        probabilities = with_prior(probabilities, start, shares)
        named = zip(data.class_names, shares.tolist(), strict=True)
        show("shares: " + ", ".join(f"{name} {100 * share:.2f} %" for name, share in named))
    found = expected_performance(probabilities)
    show(f"expected accuracy {100 * found.accuracy:.2f} % on {len(data):,} rows")
    if data.n_classes <= _SHOWN:
        show(_confusion(found.confusion, data.class_names))
    show(ASSUMPTION)
    if output is not None:
        import numpy as np

        with np.errstate(divide="ignore"):
            turned = data.with_scores(np.log(probabilities), "log_probs", {"shares": str(new)})
        save_predictions(turned, output)
        show(f"saved: {output}")


def _shares(texts: list[str] | None, data: "Predictions", option: str) -> "FloatArray":
    import numpy as np

    names = data.class_names
    if texts is None:
        return np.full(len(names), 1 / len(names))
    given = arguments.parse_pairs(texts, f"{option} CLASS=SHARE")
    values: dict[str, float] = {}
    for name, text in given.items():
        require_known(name, names, f"{option}: no class")
        try:
            values[name] = float(text)
            if not 0 <= values[name] <= 1:
                raise ValueError
        except ValueError:
            raise SpecError(
                f'{option}: expected a share from 0 to 1 for "{name}", got "{text}"'
            ) from None
    left = [name for name in names if name not in values]
    if len(left) == 1:
        values[left[0]] = 1 - sum(values.values())
    elif left:
        raise SpecError(f"{option}: no share for {', '.join(left[:5])}")
    return np.asarray([values[name] for name in names])


def _confusion(counts: "FloatArray", names: tuple[str, ...]) -> str:
    from vlmcal.report.cells import Cell, Column, words
    from vlmcal.report.tables import Table

    columns = [words("expected: true")]
    columns += [Column(f"predicted {name}", digits=1) for name in names]
    rows: list[list[Cell]] = [
        [name, *map(float, line)] for name, line in zip(names, counts, strict=True)
    ]
    return Table(columns=columns, rows=rows).to_text()
