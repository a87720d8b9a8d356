"""Trained prompts of CoOp-family repositories as runs that predict, calibrate and report."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmcal.data.base import as_spec
from vlmcal.data.data_cards import find_card
from vlmcal.errors import BackboneError, DataError, SpecError
from vlmcal.experiment.dassl.checkpoints import read_checkpoint, tensors_of
from vlmcal.experiment.dassl.methods import find_trainer, learned_tensors
from vlmcal.experiment.dassl.outputs import Output, backbone_of
from vlmcal.experiment.engines.base import CellResult
from vlmcal.experiment.plan import Cell, plan
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.publishing import publish_given
from vlmcal.experiment.run import Workbench, build_learner
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.hashing import digest
from vlmcal.learners.base import Learner
from vlmcal.text_encoding import PromptLayout

_PROTOCOLS = {"base": "base-to-new", "new": "base-to-new", "all": "all-class"}
_HALF = 2e-3  # float16 keeps 11 bits; embeddings were stored after one rounding


@dataclass(frozen=True)
class Prompt:
    """A trained prompt, read and understood.

    Attributes:
        output: Where it was found.
        cell: What it was trained on.
        learned: Its tensors under the learner's names.
        fixed: Embeddings of the fixed tokens that the trainer stored beside them.
    """

    output: Output
    cell: Cell
    learned: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]


def read_prompt(output: Output, *, data: Mapping[str, Any] | None = None) -> Prompt:
    """The prompt of a checkpoint and the cell that it belongs to.

    Args:
        output: As :func:`~vlmcal.experiment.dassl.outputs.find_outputs` found it.
        data: The data set with its options, as in an experiment file; by default the one that the log names.

    Raises:
        SpecError: Trainer, data set or backbone are not known.
        DataError: The file is damaged or holds another method's tensors.
    """
    facts, where = output.facts.values, str(output.checkpoint)
    missing = [key for key in ("trainer",) if key not in facts]
    missing += [] if (data and ({"name", "path"} & set(data))) or "data" in facts else ["data"]
    if missing:
        flags = " and ".join({"trainer": "--method", "data": "--data"}[key] for key in missing)
        raise SpecError(
            f"{where}: no log and no folder name says the {' and the '.join(missing)}; say it with {flags}"
        )
    trainer = find_trainer(facts["trainer"])
    learned, fixed = learned_tensors(
        tensors_of(read_checkpoint(output.checkpoint), output.checkpoint), trainer, where
    )
    options = trainer.options(learned, output.settings)
    source: dict[str, Any] = dict(data or {})
    if not {"name", "path"} & set(source):
        card = find_card(facts["data"])
        source |= as_spec(facts["data"]) if card is None else {"name": card.name}
    classes = facts.get("classes", "all")
    if classes not in _PROTOCOLS:
        raise SpecError(f'{where}: classes "{classes}"; expected base, new or all')
    known: dict[str, Any] = {key: int(facts[key]) for key in ("shots", "seed") if key in facts}
    if known.get("shots", 1) < 1:  # Dassl writes -1 where all images were trained on
        del known["shots"]
    spec = parse_spec(
        {
            "data": [{**source, "protocol": _PROTOCOLS[classes]}],
            "backbone": backbone_of(output.facts),
            "method": [{"name": trainer.method, **options}],
            **known,
        },
        where,
    )
    (cell,) = plan(spec)
    # Where the draw is not known, the parts are those of methods without training.
    cell = replace(cell, shots=known.get("shots"), seed=known.get("seed"))
    return Prompt(output, cell, learned, fixed)


def import_prompt(prompt: Prompt, store: Store, bench: Workbench) -> CellResult:
    """Publish a trained prompt as a run; one that is there already is left as it is.

    Its id covers the cell, the data, the backbone and the learned tensors, and is none that training here
    could have.

    Raises:
        DataError: Class names, their order or the backbone are others than those that it was trained with.
        StoreError: The store cannot be written.
    """
    added = prompt.output.facts.values.get("objective")
    told = [added] if added else []
    run = digest([bench.run_id(prompt.cell), "imported", _content(prompt.learned), *told])[:16]
    if store.published(run):
        return CellResult(prompt.cell, run, reused=True)
    data, cell = bench.dataset(prompt.cell), prompt.cell
    if not np.isin(data.splits, ("calibration", "val")).any():
        # Which training images were drawn elsewhere is not known, so that none can be held out.
        cell = replace(cell, data={**cell.data, "calibration": "none"})
    protocol = make_protocol(data, cell.protocol, cell.shots, cell.seed)
    learner = build_learner(cell, bench.encoder(cell), protocol.train.class_names, data.templates)
    _set(learner, prompt)
    require_same_names(learner, prompt)
    path = prompt.output.checkpoint
    about = {"imported": {"file": path.name, "read": prompt.output.facts.text()}}
    made = {"imported": path.name, **({"objective": added} if added else {})}
    shown = replace(cell, train=made, objective=None)
    with store.lock(run, wait=True):
        if not store.published(run):
            publish_given(shown, learner, run, store, bench, about)
    return CellResult(cell, run)


def _content(learned: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(learned):
        found.update(name.encode())
        found.update(learned[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def _set(learner: Learner, prompt: Prompt) -> None:
    wanted = {name: tuple(value.shape) for name, value in learner.named_parameters()}
    found = {name: tuple(value.shape) for name, value in prompt.learned.items()}
    if wanted != found:
        wrong = [
            f"{name}: expected {wanted.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
            for name in sorted(set(wanted) | set(found))
            if wanted.get(name) != found.get(name)
        ]
        raise BackboneError(
            f"{prompt.output.checkpoint} does not fit {learner.name} on {learner.encoder.name} "
            f"with {len(learner.classes.class_names)} classes: {'; '.join(wrong[:4])}. Another backbone is "
            "named with --backbone, another data set with --data"
        )
    with torch.no_grad():
        for name, value in learner.named_parameters():
            value.copy_(prompt.learned[name])


def require_same_names(learner: Learner, prompt: Prompt) -> None:
    """Compare the stored embeddings of the class names, token by token, with those of the data here.

    A trainer keeps the embedded start token and everything behind the context: name, full stop and end.
    Where it did, other class names, another order or another backbone's vocabulary cannot go unseen.

    Raises:
        DataError: Names the first classes that differ.
    """
    layout = getattr(learner, "layout", None)
    if not isinstance(layout, PromptLayout) or set(prompt.fixed) != {
        "token_prefix",
        "token_suffix",
    }:
        return
    names = learner.classes.class_names
    stored = torch.cat([prompt.fixed["token_prefix"], prompt.fixed["token_suffix"]], 1).float()
    if len(stored) != len(names):
        raise DataError(
            f"{prompt.output.checkpoint} was trained on {len(stored)} classes, the data here have "
            f"{len(names)} ({', '.join(names[:3])}, ...); check the data set and --classes (base or all)"
        )
    different = []
    for k, name in enumerate(names):
        end = int(layout.ends[k]) + 1
        ids = layout.ids[k, :end][layout.slots[k, :end] < 0]
        ours = learner.encoder.embed_tokens(ids[None])[0].detach().float().cpu()
        theirs = stored[k, : len(ours)]
        if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > _HALF * float(
            ours.abs().max()
        ):
            different.append(name)
    if different:
        raise DataError(
            f"{prompt.output.checkpoint}: {len(different)} of {len(names)} class names (first: "
            f"{', '.join(different[:3])}) are not those that it was trained with, or stand in another order, "
            "or the backbone is another one; give the same data set (--data) and backbone (--backbone)"
        )
