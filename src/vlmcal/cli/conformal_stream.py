"""``vlmcal conformal stream``: label sets that learn from every outcome, and when the stream changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.conformal_p_values import Score
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.reports import Reports

if TYPE_CHECKING:
    from vlmcal.conformal.online import Streamed


def stream(
    val: arguments.Val,
    test: Annotated[Path, arg("Labelled rows in the order in which they came in.")],
    output: Annotated[
        Path | None, written("Table of the rows; - is standard output (CSV).")
    ] = None,
    score: Score = "lac",
    alpha: Annotated[float, opt("Target miscoverage; 0.1 asks for 90 %.")] = 0.1,
    rate: Annotated[
        float, opt("How fast the level follows what is missed; 0: not at all.")
    ] = 0.005,
    false_alarms: Annotated[
        float, opt("Chance that a stream like VAL ever raises an alarm.")
    ] = 0.01,
    *,
    reading: Reading,
    split: arguments.SplitName = None,
    seed: arguments.Seed = 0,
    json: arguments.Numbers = None,
) -> None:
    """Sets of a stream, each made before its outcome is learned, and a test of when the stream changed.

    The sets hold the truth in a share 1 - alpha of any long stream; the test may be looked at at any time.
    """
    from vlmcal.conformal.online import stream_sets
    from vlmcal.io.table_output import write_table
    from vlmcal.options import read

    results = Reports(json=json).beside(output, arguments.TABLES)
    named = read(score, "conformal method", "--score")
    start = reading.load(val, "calibration", split, last=False, show=results.show)
    rows = reading.load(test, "test", known_classes=start.class_names, show=results.show)
    found = stream_sets(
        start,
        rows,
        alpha,
        score=named.name,
        score_parameters=dict(named.options),
        rate=rate,
        false_alarms=false_alarms,
        seed=seed,
    )
    numbers = _numbers(found)
    results.show(
        f"{len(rows):,} rows after {len(start):,} of {val.name}: {100 * numbers['coverage']:.2f} % hold "
        f"their label (target {100 * (1 - alpha):g} %), {numbers['mean_set_size']:.3f} labels on average, "
        f"level now {numbers['last_level']:.4g}"
    )
    results.show(found.sentence())
    if output is not None:
        write_table(_table(found), output)
        results.show(f"saved: {output}")
    results.write_numbers({"calibration": str(val), "stream": str(test), **numbers})


def _numbers(found: "Streamed") -> dict[str, Any]:
    return {
        "n": len(found.sets),
        "alpha": found.sets.alpha,
        "coverage": float(found.sets.covered().mean()),
        "mean_set_size": float(found.sets.sizes().mean()),
        "last_level": float(found.levels[-1]),
        "alarm": found.alarm,
        "false_alarms": found.false_alarms,
        "log_evidence": found.log_evidence.tolist(),
    }


def _table(found: "Streamed") -> dict[str, Any]:
    sets, names = found.sets, found.sets.class_names
    held = [
        " | ".join(name for name, inside in zip(names, row, strict=True) if inside)
        for row in sets.sets
    ]
    return {
        "id": sets.ids.tolist(),
        "label": [names[label] for label in sets.labels],
        "set": held,
        "covered": sets.covered().astype(int).tolist(),
        "level": found.levels.tolist(),
        "p_value": found.p_values.tolist(),
        "log_evidence": found.log_evidence.tolist(),
    }
