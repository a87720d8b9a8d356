"""What can be trained with which learner: decided, with a reason, before the first step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import normalize

from vlmcal.errors import SpecError
from vlmcal.learners.averaging import EpochAverage
from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner, Side
from vlmcal.objectives.base import OBJECTIVES, Objective, weighted_sum
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.seeding import numpy_generator, torch_generator
from vlmcal.training.config import TrainConfig
from vlmcal.training.data import TrainingData
from vlmcal.training.step import learner_outputs
from vlmcal.types.features import Features
from vlmcal.types.outputs import OUTPUT_NAMES, Outputs

# What a field of Outputs moves with; all others are constants of a run.
MOVES: Mapping[str, frozenset[Side]] = {
    "logits": frozenset({"text", "image", "head"}),
    "parameters": frozenset({"text", "image", "head"}),
    "head_logits": frozenset({"head"}),
    "text_features": frozenset({"text"}),
    "raw_text_features": frozenset({"text"}),
    "prompt_text_features": frozenset({"text"}),
    "sample_logits": frozenset({"text"}),
    "divergence": frozenset({"text"}),
    "outlier_text_features": frozenset({"text"}),
    "prototypes": frozenset({"text"}),
    "image_features": frozenset({"image"}),
    "raw_image_features": frozenset({"image"}),
    "second_image_features": frozenset({"image"}),
}


def require_effect(learner: Learner, objective: Sum) -> None:
    """Refuse an objective that this learner's training cannot change.

    Raises:
        SpecError: A part of the objective reads only what stays frozen, so that its loss is a constant
            and the run would look like one without it; or no part trains the head that the learner
            predicts with.
    """
    heads = needed_parts(learner.provides)
    if heads and not heads & {part.name for part in objective.objectives}:
        name = " or ".join(sorted(heads))
        raise SpecError(
            f'"{learner.name}" predicts with a head that only the objective "{name}" trains: it would '
            f'stay random; add "{name}" to the objective'
        )
    for part in objective.objectives:
        sides = {side for name in part.required for side in MOVES.get(name, frozenset())}
        if not sides & learner.tunes:
            raise SpecError(
                f'objective "{part.name}" reads only {", ".join(part.required)}, which '
                f'"{learner.name}" leaves frozen: it would be a constant; drop it or choose another '
                "method"
            )


def require_run(learner: Learner, data: TrainingData, config: TrainConfig) -> None:
    """Refuse a recipe that this learner, or these data, cannot follow.

    Raises:
        SpecError: No pixels for a learner that trains on them, another precision than that of its encoder,
            or a best epoch to be chosen where there is none or nothing to choose it on.
    """
    if learner.consumes == "pixels" and data.pixels is None:
        raise SpecError(
            f'"{learner.name}" changes the image tower and trains on pixels; give a pixel source '
            "(vlmcal.training.pixels)"
        )
    given = learner.encoder.precision
    if given != config.precision:
        raise SpecError(
            f'train.precision is "{config.precision}", but the learner stands on an encoder with '
            f'precision "{given}"; build it on encoder.with_precision("{config.precision}")'
        )
    if config.stop == "last":
        return
    if any(isinstance(part, EpochAverage) for part in learner.modules()):
        raise SpecError(
            f'"{learner.name}" averages its tensors over all epochs, so that it has no best one; leave '
            "train.stop at last"
        )
    if data.validation is None or not len(data.validation):
        raise SpecError(
            f"train.stop: {config.stop} chooses the epoch on held-out rows, and this run has none; hold some "
            "out (calibration: all) or end with the last epoch (stop: last)"
        )


def needed_parts(provides: frozenset[str]) -> frozenset[str]:
    """Names of the objectives of which a learner that fills ``provides`` needs one."""
    if "head_logits" not in provides:
        return frozenset()
    kinds = OBJECTIVES.items()
    return frozenset(name for name, kind in kinds if "head_logits" in kind().required)


@dataclass(frozen=True)
class Example:
    """A learner with outputs of one step on random features, to try objectives on.

    Attributes:
        learner: Ready for its first step.
        inputs: Of that step.
        outputs: Of a run with everything on offer: views, held-out images, outlier words.
    """

    learner: Learner
    inputs: Batch
    outputs: Outputs

    @classmethod
    def make(cls, learner: Learner, *, batch: int = 6) -> "Example":
        """Outputs of ``learner`` on random inputs, the same each time."""
        classes, encoder = learner.classes, learner.encoder
        draw = numpy_generator(0, "compatibility", learner.name)
        labels = np.arange(batch) % len(classes.class_names)
        features = Features(
            image_features=draw.normal(size=(batch, 2, encoder.embed_dim)).astype(np.float32),
            labels=labels,
            ids=np.arange(batch).astype(str),
            views=np.zeros((batch, 2, 5)),
        )
        learner.begin(features, features)
        bank = torch.from_numpy(features.image_features).to(encoder.device)
        inputs = Batch(
            image_features=bank[:, 0],
            labels=torch.from_numpy(labels).to(encoder.device),
            sample_index=torch.arange(batch),
            second_image_features=bank[:, 1],
            seed=0,
        )
        if learner.consumes == "pixels":
            size = encoder.preprocess.size
            pixels = draw.normal(size=(2, batch, 3, size, size)).astype(np.float32)
            views = torch.from_numpy(pixels).to(encoder.device, encoder.dtype)
            inputs.pixels, inputs.second_pixels = views[0], views[1]
        return cls(learner, inputs, complete_outputs(learner, inputs))

    @property
    def provided(self) -> frozenset[str]:
        """Names of the fields that such a run fills."""
        filled = {name for name in OUTPUT_NAMES if getattr(self.outputs, name) is not None}
        return frozenset(filled | {"validation_logits", "validation_labels"})

    def refusal(self, objective: Sum) -> str | None:
        """Why the pair cannot be trained, or None."""
        if not self.learner.trainable:
            return f'"{self.learner.name}" has no training step'
        outputs = replace(self.outputs, memory={}, generator=torch_generator(0, "objective"))
        assert outputs.labels is not None
        try:
            k, b = len(self.learner.classes.class_names), len(outputs.labels)
            objective.check(self.provided, k, b)
            require_effect(self.learner, objective)
            total = weighted_sum(objective.terms(outputs))
        except SpecError as error:
            return str(error)
        return None if bool(torch.isfinite(total)) else "the loss is not finite on random features"


def completed(part: Objective, learner: Learner) -> Sum:
    """``part`` alone if that can train ``learner``, else with cross-entropy and what its head needs."""
    parts: list[Objective | str] = [part] if part.stands_alone else ["ce", part]
    heads = needed_parts(learner.provides)
    if heads and part.name not in heads:
        parts.append(min(heads))
    return parse_objective(parts)


def decisions(classes: ClassContext) -> dict[str, dict[str, str | None]]:
    """Refusal (or None) of every registered objective with every registered learner, by their names."""
    table: dict[str, dict[str, str | None]] = {}
    for name, kind in LEARNERS.items():
        example = Example.make(kind(classes, kind.Config(), torch_generator(0, "init")))
        table[name] = {
            objective: example.refusal(completed(loss(), example.learner))
            for objective, loss in OBJECTIVES.items()
        }
    return table


def complete_outputs(learner: Learner, batch: Batch) -> Outputs:
    """Outputs of the first step of a run that offers everything."""
    outputs = learner_outputs(learner.train(), batch, parse_objective(["ce", "co_prompt"]))
    outputs.initial_parameters = {n: p.detach().clone() for n, p in learner.named_parameters()}
    outputs.correctness = torch.zeros(len(batch.labels), device=batch.labels.device)
    outputs.generator = torch_generator(0, "objective")
    outputs.total_steps = 2
    if learner.encodes_other_names:
        outliers = normalize(learner.outlier_features(("sky", "river")), dim=-1)
        outputs.outlier_text_features = outliers.to(learner.parameter_dtype)
        outputs.frozen_outlier_text_features = outputs.outlier_text_features.detach()
    return outputs
