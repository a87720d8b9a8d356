"""``vlmcal conformal p-values``: how strange each label is, credibility and confidence of answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading, note_shared
from vlmcal.cli.option_groups import opt, written
from vlmcal.cli.reports import Reports

if TYPE_CHECKING:
    from vlmcal.conformal.p_values import Credible
    from vlmcal.types.arrays import FloatArray
    from vlmcal.types.predictions import Predictions

Score = Annotated[str, opt("Whose score: lac, aps, margin, ... (also with options).")]
LEVELS = (0.05, 0.1, 0.2)


def p_values(
    val: arguments.Val,
    test: arguments.Test,
    output: Annotated[Path, written("Table of the rows; - is standard output (CSV).")],
    score: Score = "lac",
    per_class: Annotated[bool, opt("A promise for every class, from its own rows.")] = False,
    *,
    reading: Reading,
    split: arguments.SplitName = None,
    json: arguments.Numbers = None,
) -> None:
    """P-value of every label, credibility and confidence of every answer, from held-out rows.

    The p-value of the true label is at most alpha in at most a share alpha of rows like VAL. Credibility, the
    largest one, is small where no label fits; confidence, 1 less the second largest, says how well all other
    labels are ruled out.
    """
    from vlmcal.conformal.p_values import conformal_p_values, credible
    from vlmcal.io.table_output import write_table
    from vlmcal.options import read

    results = Reports(json=json).beside(output, arguments.TABLES)
    named = read(score, "conformal method", "--score")
    fitting = reading.load(val, "calibration", split, last=False, show=results.show)
    rows = reading.load(
        test, "test", labels_needed=False, known_classes=fitting.class_names, show=results.show
    )
    note_shared(fitting, rows, test)
    found = conformal_p_values(
        fitting, rows, score=named.name, score_parameters=dict(named.options), per_class=per_class
    )
    answer = credible(found)
    numbers = _numbers(found, answer, rows)
    results.show(f"{score}: {len(rows):,} rows against {len(fitting):,} of {val.name}")
    for line in _lines(numbers):
        results.show(line)
    write_table(_table(found, answer, rows), output)
    results.show(f"saved: {output}")
    results.write_numbers({"calibration": str(val), "test": str(test), **numbers})


def _numbers(found: "FloatArray", answer: "Credible", rows: "Predictions") -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "n": len(rows),
        "credibility_at_most": {f"{a:g}": float((answer.credibility <= a).mean()) for a in LEVELS},
        "confidence_at_least": {
            f"{1 - a:g}": float((answer.confidence >= 1 - a).mean()) for a in LEVELS
        },
    }
    if rows.labelled:
        true = found[range(len(rows)), rows.labels]
        numbers["true_label_at_most"] = {f"{a:g}": float((true <= a).mean()) for a in LEVELS}
        numbers["accuracy"] = float((answer.predicted == rows.labels).mean())
    return numbers


def _lines(numbers: dict[str, Any]) -> list[str]:
    said = {
        "credibility_at_most": "credibility at most {} (no label fits)",
        "confidence_at_least": "confidence at least {} (one label is left)",
        "true_label_at_most": "p-value of the true label at most {} (so many are promised at most)",
    }
    lines = []
    for key, text in said.items():
        if key in numbers:
            levels, shares = zip(*numbers[key].items(), strict=True)
            lines.append(
                f"  {text.format(' / '.join(levels))}: "
                f"{' / '.join(f'{100 * share:.2f}' for share in shares)} % of the rows"
            )
    return lines


def _table(found: "FloatArray", answer: "Credible", rows: "Predictions") -> dict[str, Any]:
    names = rows.class_names
    columns: dict[str, Any] = {"id": rows.ids.tolist()}
    if rows.labelled:
        columns["label"] = [names[label] for label in rows.labels]
    columns["predicted"] = [names[label] for label in answer.predicted]
    columns["credibility"] = answer.credibility.tolist()
    columns["confidence"] = answer.confidence.tolist()
    return columns | {f"p_value {name}": found[:, k].tolist() for k, name in enumerate(names)}
