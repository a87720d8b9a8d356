"""What one objective sees of one training step."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from vlmcal.errors import SpecError


@dataclass(kw_only=True)
class Outputs:
    """Tensors of one step; anything a learner or a run does not provide is None.

    Image and text features are L2-normalised unless their name says raw.

    Attributes:
        logits: (B, K) scaled logits s * cos(image, text).
        labels: (B,) int64.
        image_features: (B, D) of the tuned model.
        text_features: (K, D); (B, K, D) when prompts depend on the image; (K, P, D) for P prompts.
        raw_image_features, raw_text_features: Before normalisation.
        frozen_text_features: (K, D) zero-shot text features (mean over templates, normalised).
        frozen_template_features: (T, K, D), one per template, normalised.
        frozen_image_features: (B, D) of the frozen encoder on the same view.
        zero_shot_logits: (B, K) of the frozen model.
        second_image_features, frozen_second_image_features: (B, D) on another view.
        caption_features: (B, D) of each sample's own caption.
        teacher_image_features, teacher_caption_features, teacher_scale: (B, D), (B, D), () of a moving
            average of the student.
        outlier_text_features, frozen_outlier_text_features: (O, D), tuned and frozen.
        prompt_text_features: (P, D) of P contexts without any class name.
        sample_logits: (B, S, K) of S prompts drawn from a distribution.
        divergence: () that distribution's KL from its prior, as it enters the loss.
        prototypes, prototype_targets: (K, D) learned class prototypes and what they are held to, raw.
        class_multipliers: (K,) penalty factors of the prototypes.
        head_logits, head_labels: (R, K), (R,) of a linear head beside the similarities (dept).
        logit_scale: () the factor s.
        parameters, initial_parameters: Learned tensors by name, now and before training.
        sample_index: (B,) row of each sample in the training set.
        correctness: (B,) how often each sample was right in earlier epochs (0 .. epoch).
        validation_logits, validation_labels: Of the held-out split; given to ``on_epoch_end`` only.
        class_names: K names.
        epoch, step, total_steps: Counted from 0.
        generator: The run's own random stream for objectives.
        memory: Scratch space of the run that objectives may keep tensors in; saved in checkpoints.

    Example:
        >>> out = Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))
        >>> tuple(out.require("logits", by="ce").shape)
        (1, 2)
    """

    logits: Tensor | None = None
    labels: Tensor | None = None
    image_features: Tensor | None = None
    text_features: Tensor | None = None
    raw_image_features: Tensor | None = None
    raw_text_features: Tensor | None = None
    frozen_text_features: Tensor | None = None
    frozen_template_features: Tensor | None = None
    frozen_image_features: Tensor | None = None
    zero_shot_logits: Tensor | None = None
    second_image_features: Tensor | None = None
    frozen_second_image_features: Tensor | None = None
    caption_features: Tensor | None = None
    teacher_image_features: Tensor | None = None
    teacher_caption_features: Tensor | None = None
    teacher_scale: Tensor | None = None
    outlier_text_features: Tensor | None = None
    frozen_outlier_text_features: Tensor | None = None
    prompt_text_features: Tensor | None = None
    sample_logits: Tensor | None = None
    divergence: Tensor | None = None
    prototypes: Tensor | None = None
    prototype_targets: Tensor | None = None
    class_multipliers: Tensor | None = None
    head_logits: Tensor | None = None
    head_labels: Tensor | None = None
    logit_scale: Tensor | None = None
    parameters: Mapping[str, Tensor] | None = None
    initial_parameters: Mapping[str, Tensor] | None = None
    sample_index: Tensor | None = None
    correctness: Tensor | None = None
    validation_logits: Tensor | None = None
    validation_labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    epoch: int = 0
    step: int = 0
    total_steps: int = 1
    generator: torch.Generator | None = None
    memory: MutableMapping[str, Tensor] = field(default_factory=dict)

    def require(self, name: str, *, by: str) -> Tensor:
        """The tensor ``name``.

        Raises:
            SpecError: It was not provided; names the objective and the input.
        """
        value: Any = getattr(self, name)
        if value is None:
            raise SpecError(
                f'objective "{by}" needs "{name}", which this learner and run do not provide'
            )
        assert isinstance(value, Tensor)
        return value


OUTPUT_NAMES = frozenset(f.name for f in fields(Outputs))
