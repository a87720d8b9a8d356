"""Everything in a store at once: its rows, what goes with miscalibration, and every single prediction."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vlmcal.errors import StoreError
from vlmcal.experiment.evaluate import Row, calibrated_rows, each_run, evaluate_run
from vlmcal.experiment.protocol import data_label
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Store
from vlmcal.io.json_files import remembered
from vlmcal.io.table_output import write_table
from vlmcal.metrics import evaluate


def rows_of(store: Store, spec: EvaluateSpec) -> list[Row]:
    """Rows of every published run; see :func:`vlmcal.experiment.evaluate.each_run`.

    Raises:
        StoreError: There is no run, or none that can be read.
    """
    if not store.runs():
        raise StoreError(f"{store.place} holds no finished run")
    found = list(each_run(store, lambda run: evaluate_run(store, run, spec)))
    if not found:
        raise StoreError(f"{store.place} holds no run that can be read; run the experiment again")
    return found


def analysis_of(store: Store) -> dict[tuple[str, str], dict[str, float]]:
    """(Run, classes) -> metrics of text features and margins, where the predictions carry them."""

    def of(run: str) -> Iterator[tuple[tuple[str, str], dict[str, float]]]:
        path = store.folder(run) / "evaluations" / "prompts.json"
        kept = remembered(
            path, partial(_prompt_metrics, store, run), lambda kept: kept, lambda made: made
        )
        for name, each in kept.items():
            yield (run, name), dict(each)

    return dict(each_run(store, of))


def _prompt_metrics(store: Store, run: str) -> dict[str, dict[str, float]]:
    return {
        name: {
            metric: each.value
            for metric, each in evaluate(rows, "prompts", intervals=False).estimates.items()
        }
        for name, _, rows in calibrated_rows(store, run, ["none"])
    }


def per_sample(store: Store, file: Path) -> int:
    """Write the top prediction of every row of every run, one line each; returns how many.

    Columns: run, data, backbone, method, shots, seed, classes, id, label, predicted, confidence, correct;
    labels by name.

    Raises:
        DataError: Not the name of a table.
        StoreError: The folder cannot be written to.
    """
    columns: dict[str, list[object]] = {}

    def of(run: str) -> Iterator[dict[str, list[object]]]:
        cell = store.status(run)["cell"]
        about = {
            "run": run,
            "data": data_label(cell["data"]),
            "backbone": cell["backbone"],
            "method": cell["method"]["name"],
            "shots": cell.get("shots"),
            "seed": cell.get("seed"),
        }
        for name, _, rows in calibrated_rows(store, run, ["none"]):
            predicted, top = rows.predicted(), rows.top_label()
            names = np.asarray(rows.class_names)
            yield {
                **{key: [value] * len(rows) for key, value in about.items()},
                "classes": [name] * len(rows),
                "id": rows.ids.tolist(),
                "label": names[rows.labels].tolist(),
                "predicted": names[predicted].tolist(),
                "confidence": top.confidence.tolist(),
                "correct": top.correct.tolist(),
            }

    for made in each_run(store, of):
        for key, values in made.items():
            columns.setdefault(key, []).extend(values)
    write_table(columns, file)
    return len(columns.get("id", []))
