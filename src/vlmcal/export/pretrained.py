"""A calibrated classifier as a folder for others, with a model card that says how well it is calibrated.

The folder holds ``learner/`` as a run does, ``calibrator.json``, what was measured on the test rows
(``measured.json``) and ``README.md``, the card, whose metadata repeat the measurements as ``model-index``.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmcal import __version__
from vlmcal.backbones.hub import hub_errors
from vlmcal.backbones.loading import load_backbone
from vlmcal.calibrators.base import Calibrator
from vlmcal.data.frames import KEYS
from vlmcal.errors import DataError, StoreError
from vlmcal.experiment.method_choice import chain
from vlmcal.experiment.plan import objective_label
from vlmcal.experiment.saved import load_learner, read_head, save_learner
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_files import read_sealed, write_sealed
from vlmcal.io.predictions import load_predictions
from vlmcal.io.run_predictions import read_status
from vlmcal.learners.base import Learner
from vlmcal.metrics.evaluation import evaluate
from vlmcal.metrics.measured import Evaluation

MEASURED = "measured.json"
CALIBRATOR = "calibrator.json"
PATTERNS = ("learner/*", "calibrator.*", MEASURED, "README.md")
METRICS = ("accuracy", "ece", "classwise_ece", "brier", "nll", "auroc")


@dataclass(frozen=True)
class Measured:
    """What is known about a classifier.

    Attributes:
        sets: Evaluation of the calibrated test rows by class set ("all", "base", "new").
        about: Data, method, objective, shots and seed, as plain data.
    """

    sets: Mapping[str, Evaluation] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, calibrator: Calibrator | None) -> "Measured":
        """Read from a saved classifier, or measure the test rows of a finished run.

        Class sets that the calibrator does not apply to are left out.
        """
        if (folder / MEASURED).is_file():
            data = read_sealed(folder / MEASURED)
            sets = {name: Evaluation.from_dict(part) for name, part in data["sets"].items()}
            return cls(sets, data["about"])
        status = read_status(folder)
        sets = {}
        for name in status["sets"]:
            if name == "calibration":
                continue
            rows = load_predictions(folder / "predictions" / f"{name}.safetensors")
            try:
                shown = rows if calibrator is None else calibrator.transform(rows)
            except DataError:
                continue
            sets[name.removeprefix("test_")] = evaluate(shown, METRICS)
        return cls(sets, _about(status["cell"]))


def save_pretrained(
    learner: Learner,
    calibrator: Calibrator | None,
    measured: Measured,
    folder: Path,
    *,
    name: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write the folder.

    Args:
        learner: The trained learner.
        calibrator: Fitted, or None.
        measured: What the card says.
        folder: Where it goes; other files in it stay.
        name: Of the model on the card; the folder's by default.
        metadata: More metadata of the card, such as ``{"license": "apache-2.0"}``.

    Raises:
        StoreError: The folder cannot be written to.
    """
    save_learner(learner, folder / "learner")
    if calibrator is not None:
        calibrator.save(folder / CALIBRATOR)
    else:
        for old in folder.glob("calibrator.*"):
            old.unlink()
    sets = {key: evaluation.to_dict() for key, evaluation in measured.sets.items()}
    write_sealed(folder / MEASURED, {"format": 1, "about": dict(measured.about), "sets": sets})
    card = model_card(learner, calibrator, measured, name or folder.resolve().name, metadata)
    atomic_write(folder / "README.md", card)


def load_pretrained(
    folder: Path, *, device: str = "cpu", backbone: str | None = None
) -> tuple[Learner, Calibrator | None]:
    """Read what :func:`save_pretrained` wrote.

    Args:
        folder: The folder.
        device: Torch device.
        backbone: Where its backbone is now; the recorded name by default.

    Raises:
        StoreError: The folder holds no classifier, or is damaged.
        BackboneError: The backbone is not here, or has other weights than in training.
    """
    if not (folder / "learner" / "learner.json").is_file():
        raise StoreError(
            f"{folder} holds no classifier (no learner/learner.json); expected a folder written by "
            "Classifier.save_pretrained, or the hub id of one"
        )
    recorded = read_head(folder / "learner").backbone
    learner = load_learner(folder / "learner", load_backbone(backbone or recorded, device=device))
    saved = folder / CALIBRATOR
    return learner, Calibrator.load(saved) if saved.is_file() else None


def find_pretrained(name: str, *, revision: str | None = None, offline: bool = False) -> Path:
    """The folder called ``name``, or that of a hub model in the hub's cache.

    Raises:
        StoreError: No such folder.
        BackboneError: No such model on the hub, or it cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith((".", "/", "~")) or path.is_absolute() or name.count("/") != 1:
        raise StoreError(
            f"there is no folder {path.absolute()}; expected a folder written by "
            'Classifier.save_pretrained, or a hub id such as "owner/name"'
        )
    from huggingface_hub import snapshot_download

    told = {"why": "the hub cannot be reached", "instead": "give the folder of a copy"}
    kept = list(PATTERNS)
    with hub_errors(f'classifier "{name}"', name, revision=revision, **told):
        return Path(
            snapshot_download(
                repo_id=name, revision=revision, allow_patterns=kept, local_files_only=offline
            )
        )


def push_folder(
    folder: Path, repo: str, *, private: bool = False, token: str | None = None, message: str
) -> str:
    """Upload a saved classifier to the hub, in one commit; the repository is made where it is missing.

    Returns:
        Its address.

    Raises:
        StoreError: The hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=folder, allow_patterns=list(PATTERNS), commit_message=message
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise StoreError(
            f'the classifier was not pushed to "{repo}" ({error}); log in with `hf auth login` or give a '
            "token with write access"
        ) from error
    return str(address)


def model_card(
    learner: Learner,
    calibrator: Calibrator | None,
    measured: Measured,
    name: str,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """The card: metadata with the measured calibration, and the same in words."""
    from huggingface_hub import EvalResult, ModelCardData

    data = str(measured.about.get("data", "unknown"))
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=re.sub(r"[^a-z0-9]+", "-", data.lower()).strip("-") or "unknown",
            dataset_name=data,
            dataset_config=f"{part} classes",
            dataset_split="test",
            metric_type=metric,
            metric_name=metric,
            metric_value=round(estimate.value, 6),
        )
        for part, evaluation in measured.sets.items()
        for metric, estimate in evaluation.estimates.items()
        if not math.isnan(estimate.value)
    ]
    backbone = learner.encoder.name
    head = ModelCardData(
        library_name="vlmcal",
        pipeline_tag="image-classification",
        tags=["calibration", learner.name],
        base_model=backbone if re.fullmatch(r"[\w.-]+/[\w.-]+", backbone) else None,
        model_name=name if results else None,
        eval_results=results or None,
        **(metadata or {}),
    )
    about = {
        "method": learner.name,
        "backbone": backbone,
        "classes": len(learner.classes.class_names),
        "calibrator": "none" if calibrator is None else calibrator.name,
        **measured.about,
        "vlmcal": __version__,
    }
    lines = [f"| {key} | {value} |" for key, value in about.items()]
    return "\n".join(
        [
            *("---", head.to_yaml(), "---", "", f"# {name}", ""),
            "A calibrated image classifier on a frozen vision-language model.",
            *("", "```python", "from vlmcal import Classifier", ""),
            f'model = Classifier.from_pretrained("{name}")',
            'answer = model.predict(["image.png"])[0]',
            "print(answer.label, answer.confidence)",
            *("```", "", "| | |", "|---|---|", *lines, ""),
            *(line for part in measured.sets.items() for line in _measurements(*part)),
        ]
    )


def _measurements(part: str, evaluation: Evaluation) -> list[str]:
    title, (head, *rows) = evaluation.shown()
    table = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    definitions = [f"- {name}: {text}" for name, text in evaluation.definitions.items()]
    head_line = f"## Measured on the test rows, {part} classes"
    return [head_line, "", title, "", *table, "", *definitions, ""]


def _about(cell: Mapping[str, Any]) -> dict[str, Any]:
    data = cell["data"]
    return {
        "data": str(data.get("name") or Path(str(data.get("path", "unknown"))).name),
        "objective": objective_label(cell["objective"], str(chain(cell["method"])[-1]["name"])),
        "shots": cell["shots"],
        "seed": cell["seed"],
        **{key: data[key] for key in KEYS if key in data},
    }
