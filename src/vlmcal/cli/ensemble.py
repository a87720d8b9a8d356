"""``vlmcal ensemble``: several runs as one model."""

from pathlib import Path
from typing import Annotated

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.errors import SpecError, StoreError


def ensemble(
    runs: Annotated[list[str], arg("Folders of runs, or ids with --store.")],
    output: Annotated[Path, written("Averaged rows: NPZ, safetensors, CSV or Parquet.")],
    part: Annotated[
        str, opt("all, base, new or calibration, as the runs have it.", "--set")
    ] = "all",
    store: Annotated[str, opt("Store, when RUNS are ids.")] = "runs",
) -> None:
    """Average the probabilities of runs, seeds above all, and say what they disagree about.

    For `vlmcal evaluate` and `vlmcal calibrate`; NPZ and safetensors keep the mutual information of each row.
    """
    import numpy as np

    from vlmcal.experiment.remote_store import run_folder
    from vlmcal.io.predictions import load_predictions, save_predictions
    from vlmcal.posthoc.ensembles import ensemble as averaged

    folders = [run_folder(run, store) for run in runs]
    if twice := next((f for n, f in enumerate(folders) if f in folders[:n]), None):
        raise SpecError(f"{twice} is named twice; every member counts once")
    arguments.require_output(output, arguments.ROWS, *folders)
    members = []
    for folder in folders:
        name = part if part == "calibration" else f"test_{part}"
        path = folder / "predictions" / f"{name}.safetensors"
        if not path.is_file():
            found = sorted(p.stem.removeprefix("test_") for p in path.parent.glob("*.safetensors"))
            raise StoreError(
                f'{folder} has no predictions of the set "{part}"; it has: {", ".join(found) or "none"}. '
                "Choose with --set"
            )
        members.append(load_predictions(path))
    rows = averaged(members)
    save_predictions(rows, output)
    show = arguments.telling_beside(output)
    information = rows.extras["mutual_information"]
    each = [float((member.predicted() == member.labels).mean()) for member in members]
    right = rows.predicted() == rows.labels
    show(
        f"accuracy {right.mean():.1%}; of the {len(members)} members alone {min(each):.1%} to {max(each):.1%}"
    )
    parts = [("right", right), ("wrong", ~right)]
    said = [f"{np.mean(information[rows]):.4f} where {name}" for name, rows in parts if rows.any()]
    show(f"mutual information, in nats: {', '.join(said)}")
    show(f"saved: {output}")
