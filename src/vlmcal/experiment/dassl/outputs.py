"""What lies in an output folder of Dassl trainers: checkpoints, and what is known of each."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.experiment.dassl.logs import Log, TestLog, read_log
from vlmcal.experiment.dassl.methods import TRAINERS
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.presets import PRESETS

_CHECKPOINT = re.compile(r"model(?:-best)?\.pth\.tar(?:-(\d+))?")
_CONTEXT_FILE = re.compile(r"ctx_(.+?)_(?:s(\d+))\.pt")
# Dotted names of settings, by what they tell.
_SETTINGS = {
    "trainer": "TRAINER.NAME",
    "data": "DATASET.NAME",
    "shots": "DATASET.NUM_SHOTS",
    "classes": "DATASET.SUBSAMPLE_CLASSES",
    "seed": "SEED",
    "backbone": "MODEL.BACKBONE.NAME",
}
_FOLDERS = {
    "shots": re.compile(r"shots?_?(\d+)|(\d+)_?shots?"),
    "seed": re.compile(r"seed_?(\d+)"),
    "classes": re.compile(r"(?:train|test)_(base|new|all)"),
}
_BACKBONES = {
    "ViT-B/16": "clip-vit-b-16",
    "ViT-B/32": "clip-vit-b-32",
    "ViT-L/14": "clip-vit-l-14",
    "ViT-L/14@336px": "clip-vit-l-14-336",
    "RN50": "clip-rn50",
    "RN101": "clip-rn101",
}
LOG, NAMES, OPTION = "log", "folder names", "option"


@dataclass(frozen=True)
class Facts:
    """What is known of a training or a test, and from where.

    Attributes:
        values: Among trainer, data, shots, classes, seed, backbone and objective.
        sources: For each of them "log", "folder names" or "option".
    """

    values: Mapping[str, str]
    sources: Mapping[str, str]

    def given(self, **options: object) -> "Facts":
        """With options of the user in front of what was read."""
        said = {key: str(value) for key, value in options.items() if value is not None}
        return Facts({**self.values, **said}, {**self.sources, **dict.fromkeys(said, OPTION)})

    def text(self) -> str:
        """One line that says what was read, and from where."""
        return ", ".join(
            f"{key} {value} ({self.sources[key]})" for key, value in self.values.items()
        )


@dataclass(frozen=True)
class Output:
    """One trained prompt.

    Attributes:
        checkpoint: Its file.
        epoch: Of the file's name; None where it has none.
        facts: What is known of it.
        settings: Of the trainer, by their last name, such as "CTX_INIT".
    """

    checkpoint: Path
    epoch: int | None
    facts: Facts
    settings: Mapping[str, str]


def require_objective(name: str | None) -> None:
    """Refuse an objective that has no name here.

    No checkpoint or log says what was added to the loss, so that only who trained it can.

    Raises:
        SpecError: Unknown; names the nearest.
    """
    known = {*OBJECTIVES.names(), *PRESETS}
    if name is not None:
        require_known(name, known, "no objective")


def find_outputs(root: Path, *, epoch: int | None = None) -> list[Output]:
    """Trained prompts below a folder, or of one file; the last epoch of each training.

    Read are ``<model>/model.pth.tar-<epoch>`` of Dassl trainers, with the ``log.txt`` beside ``<model>``, and
    bare contexts ``ctx_<data>_s<seed>.pt``. Folder names such as ``shots_16`` and ``seed1`` tell what no
    log does.

    Args:
        root: Output folder, at any height, or a file.
        epoch: Take this epoch instead of the last.

    Raises:
        DataError: Nothing of the kind lies there.
    """
    files = [root] if root.is_file() else sorted(root.rglob("*"))
    last: dict[Path, tuple[int, Path]] = {}
    bare: list[Output] = []
    for path in files:
        if found := _CHECKPOINT.fullmatch(path.name):
            number = int(found[1] or -1)
            if epoch is not None and number != epoch:
                continue
            last[path.parent] = max(last.get(path.parent, (-2, path)), (number, path))
        elif found := _CONTEXT_FILE.fullmatch(path.name):
            model, _, data = found[1].partition("_")
            values = {"trainer": "CoOp", "data": data or model, "seed": found[2]}
            facts = Facts(values, dict.fromkeys(values, "file name"))
            bare.append(Output(path, None, facts, {}))
    outputs = [_described(path, number) for number, path in last.values()] + bare
    if not outputs:
        at = f" of epoch {epoch}" if epoch is not None else ""
        raise DataError(
            f"{root}: expected checkpoints{at} such as seed1/prompt_learner/model.pth.tar-50, or "
            "ctx_<data>_s1.pt; found none. Give the folder that the trainer wrote to (its --output-dir)"
        )
    return sorted(outputs, key=lambda each: str(each.checkpoint))


def find_tests(root: Path) -> Iterator[tuple[Facts, TestLog]]:
    """The last evaluation of every log below a folder, with what the log and its folder say of it."""
    for path in _logs([root] if root.is_file() else sorted(root.rglob("log.txt*"))):
        log = read_log(path)
        for test in log.tests[-1:]:
            yield facts_of(path.parent, log), test


def _logs(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.is_file())


def _described(checkpoint: Path, number: int) -> Output:
    folder = checkpoint.parent.parent
    log = None
    for path in _logs(sorted(folder.glob("log.txt*"))):  # a second start writes log.txt-<time>
        found = read_log(path)
        log = found if log is None or found.settings else log
    facts = facts_of(folder, log)
    return Output(checkpoint, None if number < 0 else number, facts, _own(log, facts))


def _own(log: Log | None, facts: Facts) -> dict[str, str]:
    """Settings of the trainer's own section by their last name."""
    name = facts.values.get("trainer", "").lower().partition("_")[0]
    if log is None or name not in TRAINERS:
        return {}
    start = f"TRAINER.{TRAINERS[name].section}."
    return {
        key.removeprefix(start): value
        for key, value in log.settings.items()
        if key.startswith(start)
    }


def facts_of(folder: Path, log: Log | None) -> Facts:
    """What the log says, and what only the names of the folders say."""
    facts = Facts({}, {})
    for part in folder.parts[-8:]:
        for key, pattern in _FOLDERS.items():
            if found := pattern.fullmatch(part):
                facts = _told(facts, key, next(each for each in found.groups() if each), NAMES)
        if part.lower().partition("_")[0] in TRAINERS:
            facts = _told(facts, "trainer", part, NAMES)
    if log is not None:
        for key, name in _SETTINGS.items():
            if value := log.settings.get(name):
                facts = _told(facts, key, value, LOG)
    return facts


def _told(facts: Facts, key: str, value: str, source: str) -> Facts:
    return replace(
        facts, values={**facts.values, key: value}, sources={**facts.sources, key: source}
    )


def backbone_of(facts: Facts) -> str:
    """The backbone's name here.

    Raises:
        SpecError: It is not known.
    """
    named = facts.values.get("backbone", "")
    if facts.sources.get("backbone") == OPTION or named in _BACKBONES:
        return _BACKBONES.get(named, named)
    raise SpecError(
        f"the backbone is not known{f': the log says {named!r}' if named else ''}; name it with "
        "--backbone, for example --backbone clip-vit-b-16"
    )
