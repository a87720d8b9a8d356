"""Examples of every verb, shown by its ``--help``; a test runs them, in this order.

They use the files that ``examples/inputs.py`` writes.
RUN stands for the id that `train` or `run` prints, OTHER for the one before.
"""

from collections.abc import Iterator
from typing import Any

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("vlmcal demo --seeds 1 --epochs 2",),
    "evaluate": (
        "vlmcal evaluate predictions.csv --probs --labels diagnosis --unit patient -o report.html",
        "vlmcal evaluate predictions.csv --probs --labels diagnosis --by sex --metrics ece,smooth_ece,brier",
        "vlmcal evaluate hospital.csv --probs --labels sepsis --positive risk --preset clinical",
        'vlmcal evaluate predictions.csv --probs --fail-if "ece>0.2" --json numbers.json',
    ),
    "compare": (
        "vlmcal compare test.csv other.csv --probs --labels diagnosis --unit patient -o pair.html",
    ),
    "calibrate compare": (
        "vlmcal calibrate compare validation.csv test.csv --probs -m temperature,isotonic -o methods.html",
    ),
    "calibrate fit": (
        "vlmcal calibrate fit validation.csv --probs -m temperature -o calibrator.json",
    ),
    "calibrate apply": (
        "vlmcal calibrate apply calibrator.json test.csv --probs -o calibrated.csv",
    ),
    "calibrate cross-fit": (
        "vlmcal calibrate cross-fit test.csv --probs --unit patient -m temperature -o every_row.csv",
    ),
    "conformal compare": (
        "vlmcal conformal compare validation.csv test.csv --probs --alpha 0.1 -m lac,aps",
        'vlmcal conformal compare validation.csv test.csv --probs -m "cross_conformal(calibrator=isotonic)"',
    ),
    "conformal fit": (
        "vlmcal conformal fit validation.csv --probs -m aps --alpha 0.1 -o sets.json",
        """vlmcal conformal fit validation.csv --probs -m 'learn_then_test(limits={"deferral": 0.7})' """
        "--alpha 0.2 -o limits.json",
    ),
    "conformal apply": ("vlmcal conformal apply sets.json test.csv --probs -o sets.npz",),
    "conformal p-values": (
        "vlmcal conformal p-values validation.csv test.csv --probs -o p_values.csv",
    ),
    "conformal stream": (
        "vlmcal conformal stream validation.csv test.csv --probs --alpha 0.1 -o sets_in_time.csv",
    ),
    "ood": ("vlmcal ood test.csv other.csv --probs",),
    "expect": ("vlmcal expect unlabelled.csv --probs",),
    "review start": (
        "vlmcal review start test.csv --probs --labels diagnosis --held-out validation.csv "
        "--calibrator temperature --conformal lac --db review.sqlite --no-page",
    ),
    "review outcomes": (
        "vlmcal review outcomes review.sqlite outcomes.csv --labels diagnosis --source biopsy",
    ),
    "review verify": ("vlmcal review verify review.sqlite",),
    "review export": (
        "vlmcal review export review.sqlite -o decisions.csv",
        "vlmcal review export review.sqlite -o log.jsonl",
    ),
    "review agreement": ("vlmcal review agreement review.sqlite",),
    "monitor": (
        "vlmcal monitor stream.csv --probs --labels correct",
        "vlmcal monitor review.sqlite --html watched.html --prometheus watched.prom",
    ),
    "plot reliability": (
        "vlmcal plot reliability predictions.csv --probs --labels diagnosis -o reliability.png",
        "vlmcal plot reliability calibrated.csv --probs --smooth -o calibrated.svg",
    ),
    "plot risk-coverage": ("vlmcal plot risk-coverage predictions.csv --probs -o risk.pdf",),
    "plot decision-curve": (
        "vlmcal plot decision-curve hospital.csv --probs --labels sepsis --positive risk -o benefit.svg",
        "vlmcal plot decision-curve predictions.csv --probs --condition melanoma -o melanoma.svg",
    ),
    "plot sets": ("vlmcal plot sets sets.npz -o sizes.svg",),
    "plot margins": ("vlmcal plot margins predictions.csv --probs -o margins.pdf",),
    "data check": ("vlmcal data check my_images",),
    "data audit": ("vlmcal data audit my_images --report audit.html",),
    "data list": ("vlmcal data list",),
    "data show": ("vlmcal data show eurosat",),
    "data fetch": ("vlmcal data fetch eurosat",),
    "train": (
        "vlmcal train my_images --method kgcoop --protocol base-to-new --shots 2 --epochs 2",
        "vlmcal train my_images --objective ce+tcpt --shots 4 --epochs 2 -o report.html",
        "vlmcal train my_images --objective ce+tcpt --shots 4 --epochs 2 --seed 2",
    ),
    "predict": (
        "vlmcal predict runs/runs/RUN new_image.png",
        "vlmcal predict runs/runs/RUN my_images --conformal aps --defer-below 0.8 -o rows.csv",
        'vlmcal predict runs/runs/RUN new_image.png --classes "five,six"',
    ),
    "ensemble": ("vlmcal ensemble runs/runs/RUN runs/runs/OTHER -o ensemble.npz",),
    "export predictions": ("vlmcal export predictions runs/runs/RUN --set all -o scores.csv",),
    "export head": ("vlmcal export head runs/runs/RUN -o head",),
    "run": (
        "vlmcal run grid.yaml --plan",
        "vlmcal run grid.yaml seed=1 method=zero_shot -o grid.html",
    ),
    "status": ("vlmcal status runs", "vlmcal status runs --json status.json"),
    "report": ("vlmcal report runs -o leaderboard.html --predictions rows.parquet",),
    "published list": ("vlmcal published list",),
    "published show": (
        "vlmcal published show --paper tcpt --learner coop --dataset eurosat --metric ece",
    ),
    "published compare": ("vlmcal published compare runs -o published.html",),
    "import dassl": ("vlmcal import dassl output --logs-only --csv logs.csv",),
    "findings": (
        "vlmcal findings chest.csv --findings even,large --resamples 50 -o probabilities",
    ),
    "cluster": ("vlmcal cluster my_images --k 4 --epochs 2 -o clusters.csv",),
    "propensity": (
        "vlmcal propensity treatments.csv --treatment treated --outcome outcome --covariates age,weight",
    ),
    "vqa elicit": (
        "vlmcal vqa elicit questions.csv --model scripted:replies.jsonl -e verbalized -o answers",
        "vlmcal vqa elicit questions.csv --model scripted:replies.jsonl -e p_true -o answers --dry-run",
    ),
    "vqa import": ("vlmcal vqa import table.csv --confidence stated --scale percent -o imported",),
    "vqa judge": ("vlmcal vqa judge answers",),
    "vqa evaluate": ("vlmcal vqa evaluate answers --by kind -o answers.html",),
    "vqa calibrate": (
        "vlmcal vqa calibrate answers",
        "vlmcal vqa calibrate answers -m platt -o calibrated_answers.csv",
    ),
    "vqa compare": ("vlmcal vqa compare imported answers -o changes.html",),
    "list": ("vlmcal list", "vlmcal list objectives"),
    "describe": ("vlmcal describe tcpt",),
    "doctor": ("vlmcal doctor",),
}


def show_examples(app: Any, words: tuple[str, ...] = ()) -> None:
    """Put the examples of each verb below its help.

    Args:
        app: A ``typer.Typer`` with its verbs.
        words: Names of the groups that it is part of.
    """
    for verb in app.registered_commands:
        name = verb.name or verb.callback.__name__.replace("_", "-")  # as typer names it
        lines = EXAMPLES.get(" ".join((*words, name)))
        if lines:
            verb.epilog = "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines)))
    for group in app.registered_groups:
        show_examples(group.typer_instance, (*words, group.name))


def verbs(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The name and the click command of every verb, in the order of the help."""
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from verbs(each, (*words, name))
        else:
            yield " ".join((*words, name)), each
